#include "base/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "base/assert.h"
#include "realm/status.h"

/* Nice levels: each leaves four fifths of a thread's part of a processor that it shares. */
enum { LOWER_BY = 10 };

int mutex_init(struct mutex *m)
{
    return pthread_mutex_init(&m->m, NULL) ? REALM_E_SYS : 0;
}

void mutex_destroy(struct mutex *m)
{
    pthread_mutex_destroy(&m->m);
}

void mutex_lock(struct mutex *m)
{
    ASSERT(pthread_mutex_lock(&m->m) == 0);
}

void mutex_unlock(struct mutex *m)
{
    ASSERT(pthread_mutex_unlock(&m->m) == 0);
}

int cond_init(struct cond *c)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr))
        return REALM_E_SYS;
    int failed =
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) || pthread_cond_init(&c->c, &attr);
    pthread_condattr_destroy(&attr);
    return failed ? REALM_E_SYS : 0;
}

void cond_destroy(struct cond *c)
{
    pthread_cond_destroy(&c->c);
}

void cond_wait(struct cond *c, struct mutex *m)
{
    ASSERT(pthread_cond_wait(&c->c, &m->m) == 0);
}

bool cond_wait_until(struct cond *c, struct mutex *m, uint64_t deadline_ns)
{
    struct timespec at = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                          .tv_nsec = (long)(deadline_ns % 1000000000u)};
    int failed = pthread_cond_timedwait(&c->c, &m->m, &at);
    ASSERT(failed == 0 || failed == ETIMEDOUT);
    return failed == 0;
}

void cond_signal(struct cond *c)
{
    pthread_cond_signal(&c->c);
}

void cond_broadcast(struct cond *c)
{
    pthread_cond_broadcast(&c->c);
}

static void *trampoline(void *p)
{
    const struct thread *t = p;
    t->run(t->arg);
    return NULL;
}

/* Threads of ours take no signals: the main thread decides about them. */
static int create_blocked(struct thread *t, const pthread_attr_t *attr)
{
    sigset_t all, before;
    sigfillset(&all);
    /* Faults must reach the thread that caused them. */
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGTRAP);
    sigdelset(&all, SIGABRT);
    sigdelset(&all, SIGPROF);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&t->t, attr, trampoline, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

int thread_start(struct thread *t, const char *name, size_t stack_bytes, void (*run)(void *arg),
                 void *arg)
{
    t->run = run;
    t->arg = arg;
    pthread_attr_t attr;
    if (pthread_attr_init(&attr))
        return REALM_E_SYS;
    int failed =
        (stack_bytes && pthread_attr_setstacksize(&attr, stack_bytes)) || create_blocked(t, &attr);
    pthread_attr_destroy(&attr);
    if (failed)
        return REALM_E_SYS;
    char shown[16] = {0};
    for (int i = 0; i < 15 && name[i]; i++)
        shown[i] = name[i];
    pthread_setname_np(t->t, shown);
    return 0;
}

void thread_join(struct thread *t)
{
    ASSERT(pthread_join(t->t, NULL) == 0);
}

/* To Linux a thread is what POSIX means by a process here, and 0 the calling one. */
void thread_lower_priority(void)
{
    int now = getpriority(PRIO_PROCESS, 0);
    (void)setpriority(PRIO_PROCESS, 0, now + LOWER_BY);
}

void thread_yield(void)
{
    (void)sched_yield();
}

unsigned thread_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set))
        return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? (unsigned)n : 1;
}
