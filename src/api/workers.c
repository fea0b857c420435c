#include "api/workers.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "wasm/wasm.h"

static const uint64_t IDLE_NS = 10ull * 1000 * 1000 * 1000;

struct worker {
    struct list link; /* in workers.left once it is over */
    struct workers *workers;
    struct thread thread;
};

struct workers {
    unsigned threads_max;
    struct mutex lock; /* guards all below */
    struct cond wake;  /* workers: there is work, or it is time to go */
    struct cond over;  /* workers_close: a thread left */
    struct list work;
    struct list left; /* threads that must be joined */
    unsigned threads, idle;
    size_t waiting; /* length of work */
    bool closing;
};

/* With the lock.  false: this thread is to leave. */
static bool await(struct workers *w)
{
    uint64_t until = clock_ns(clock_system()) + IDLE_NS;
    while (list_empty(&w->work)) {
        if (w->closing)
            return false;
        w->idle++;
        bool woken = cond_wait_until(&w->wake, &w->lock, until);
        w->idle--;
        /* The last one stays. */
        if (!woken && list_empty(&w->work) && w->threads > 1)
            return false;
        if (!woken)
            until = clock_ns(clock_system()) + IDLE_NS;
    }
    return true;
}

static void serve(void *arg)
{
    struct worker *self = arg;
    struct workers *w = self->workers;
    mutex_lock(&w->lock);
    while (await(w)) {
        struct work *work = CONTAINER_OF(w->work.next, struct work, link);
        list_remove(&work->link);
        w->waiting--;
        mutex_unlock(&w->lock);
        work->run(work);
        mutex_lock(&w->lock);
    }
    w->threads--;
    list_add_tail(&w->left, &self->link);
    cond_signal(&w->over);
    mutex_unlock(&w->lock);
}

/* Takes the threads that left off the list, for joining without the lock. */
static void take_left(struct workers *w, struct list *out)
{
    list_init(out);
    while (!list_empty(&w->left)) {
        struct list *link = w->left.next;
        list_remove(link);
        list_add_tail(out, link);
    }
}

static void join(struct list *left)
{
    while (!list_empty(left)) {
        struct worker *worker = CONTAINER_OF(left->next, struct worker, link);
        list_remove(&worker->link);
        thread_join(&worker->thread);
        mem_free(worker);
    }
}

/* Without the lock, for a thread that is counted already. */
static int start(struct workers *w)
{
    struct worker *worker = mem_zalloc(sizeof(*worker));
    if (!worker)
        return REALM_E_NOMEM;
    list_init(&worker->link);
    worker->workers = w;
    int status =
        thread_start(&worker->thread, "realm-worker", WASM_THREAD_STACK_BYTES, serve, worker);
    if (status)
        mem_free(worker);
    return status;
}

int workers_open(struct workers **out, unsigned threads_max)
{
    *out = NULL;
    struct workers *w = mem_zalloc(sizeof(*w));
    if (!w)
        return REALM_E_NOMEM;
    w->threads_max = threads_max;
    list_init(&w->work);
    list_init(&w->left);
    int status = mutex_init(&w->lock);
    if (status)
        goto no_lock;
    status = cond_init(&w->wake);
    if (status)
        goto no_wake;
    status = cond_init(&w->over);
    if (status)
        goto no_over;
    w->threads = 1;
    status = start(w);
    if (status)
        goto no_thread;
    *out = w;
    return 0;

no_thread:
    cond_destroy(&w->over);
no_over:
    cond_destroy(&w->wake);
no_wake:
    mutex_destroy(&w->lock);
no_lock:
    mem_free(w);
    return status;
}

void workers_close(struct workers *w)
{
    if (!w)
        return;
    struct list left;
    mutex_lock(&w->lock);
    w->closing = true;
    cond_broadcast(&w->wake);
    while (w->threads)
        cond_wait(&w->over, &w->lock);
    take_left(w, &left);
    mutex_unlock(&w->lock);
    join(&left);
    cond_destroy(&w->over);
    cond_destroy(&w->wake);
    mutex_destroy(&w->lock);
    mem_free(w);
}

void workers_run(struct workers *w, struct work *work)
{
    struct list left;
    mutex_lock(&w->lock);
    list_add_tail(&w->work, &work->link);
    w->waiting++;
    bool more = w->waiting > w->idle && w->threads < w->threads_max;
    w->threads += more;
    cond_signal(&w->wake);
    take_left(w, &left);
    mutex_unlock(&w->lock);
    join(&left);
    if (more && start(w)) {
        /* Those that there are will come to it. */
        mutex_lock(&w->lock);
        w->threads--;
        mutex_unlock(&w->lock);
    }
}
