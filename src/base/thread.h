/* base/thread.h - threads, mutexes and conditions that wait on the monotonic clock. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct mutex {
    pthread_mutex_t m;
};

struct cond {
    pthread_cond_t c;
};

/* Stays where it is from thread_start to thread_join: the thread looks into it. */
struct thread {
    pthread_t t;
    void (*run)(void *arg);
    void *arg;
};

MUST_USE int mutex_init(struct mutex *m);
void mutex_destroy(struct mutex *m);
void mutex_lock(struct mutex *m);
void mutex_unlock(struct mutex *m);

MUST_USE int cond_init(struct cond *c);
void cond_destroy(struct cond *c);
void cond_wait(struct cond *c, struct mutex *m);
/* Waits until the monotonic time deadline_ns at most; false when it passed. */
bool cond_wait_until(struct cond *c, struct mutex *m, uint64_t deadline_ns);
void cond_signal(struct cond *c);
void cond_broadcast(struct cond *c);

/* Starts a thread named name (15 characters show) with stack_bytes of stack
 * (0: the system's default), all signals blocked.  REALM_E_SYS on failure. */
MUST_USE int thread_start(struct thread *t, const char *name, size_t stack_bytes,
                          void (*run)(void *arg), void *arg);
void thread_join(struct thread *t);

/* From here on the calling thread gives way to those of ordinary priority, as far as the system
 * lets it.  There is no way back. */
void thread_lower_priority(void);

/* Lets others run that wait for the calling thread's processor. */
void thread_yield(void);

/* Processors this process may run on, at least 1. */
unsigned thread_cpus(void);

#endif
