#include "api/workers.h"

#include "base/clock.h"
#include "base/fair.h"
#include "base/mem.h"
#include "base/thread.h"
#include "wasm/wasm.h"

static const uint64_t IDLE_NS = 10ull * 1000 * 1000 * 1000;

struct worker {
    struct list link; /* in workers.left once it is over */
    struct workers *workers;
    struct thread thread;
};

struct work_line {
    struct list link; /* in workers.lines while work waits in it */
    struct list work;
    unsigned running;
    bool closed; /* to be freed when nothing of it is at work */
};

struct workers {
    struct workers_options options;
    struct mutex lock; /* guards all below, and the lines */
    struct cond wake;  /* workers: there is work, or it is time to go */
    struct cond over;  /* workers_close: a thread left */
    struct list lines; /* with work that waits; the next to be served first */
    struct list left;  /* threads that must be joined */
    unsigned threads, idle, running;
    size_t waiting; /* work in all lines */
    bool closing;
};

/* With the lock: the line whose turn it is, or NULL. */
static struct work_line *next_line(const struct workers *w)
{
    for (struct list *i = w->lines.next; i != &w->lines; i = i->next) {
        struct work_line *line = CONTAINER_OF(i, struct work_line, link);
        if (w->closing || fair_fits(line->running, 1, w->options.threads_max - w->running))
            return line;
    }
    return NULL;
}

/* With the lock.  NULL: this thread is to leave. */
static struct work_line *await(struct workers *w)
{
    uint64_t until = clock_ns(clock_system()) + IDLE_NS;
    struct work_line *line;
    while (!(line = next_line(w))) {
        if (w->closing)
            return NULL;
        w->idle++;
        bool woken = cond_wait_until(&w->wake, &w->lock, until);
        w->idle--;
        /* The last one stays. */
        if (!woken && !next_line(w) && w->threads > 1)
            return NULL;
        if (!woken)
            until = clock_ns(clock_system()) + IDLE_NS;
    }
    return line;
}

/* With the lock: the first of the line, which goes behind the others. */
static struct work *take(struct workers *w, struct work_line *line)
{
    struct work *work = CONTAINER_OF(line->work.next, struct work, link);
    list_remove(&work->link);
    w->waiting--;
    list_remove(&line->link);
    if (!list_empty(&line->work))
        list_add_tail(&w->lines, &line->link);
    line->running++;
    w->running++;
    return work;
}

/* With the lock. */
static void took(struct workers *w, struct work_line *line)
{
    line->running--;
    w->running--;
    if (line->closed && line->running == 0)
        mem_free(line);
}

/* With the lock: has somebody come to what waits.  true: all are busy, and a thread, which is
 * counted already, is to be started. */
static bool call_up(struct workers *w)
{
    if (!next_line(w))
        return false;
    cond_signal(&w->wake);
    bool more = w->waiting > w->idle && w->threads < w->options.threads_max;
    w->threads += more;
    return more;
}

static void start_more(struct workers *w);

static void serve(void *arg)
{
    struct worker *self = arg;
    struct workers *w = self->workers;
    struct work_line *line;
    if (w->options.give_way)
        thread_lower_priority();
    mutex_lock(&w->lock);
    while ((line = await(w))) {
        struct work *work = take(w, line);
        bool more = call_up(w);
        mutex_unlock(&w->lock);
        if (more)
            start_more(w);
        work->run(work);
        mutex_lock(&w->lock);
        took(w, line);
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
        thread_start(&worker->thread, w->options.name, WASM_THREAD_STACK_BYTES, serve, worker);
    if (status)
        mem_free(worker);
    return status;
}

/* Without the lock, as start.  Without another thread those that there are will come to it. */
static void start_more(struct workers *w)
{
    if (start(w) == 0)
        return;
    mutex_lock(&w->lock);
    w->threads--;
    mutex_unlock(&w->lock);
}

int workers_open(struct workers **out, const struct workers_options *options)
{
    *out = NULL;
    struct workers *w = mem_zalloc(sizeof(*w));
    if (!w)
        return REALM_E_NOMEM;
    w->options = *options;
    list_init(&w->lines);
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

int workers_line_open(struct work_line **out)
{
    struct work_line *line = mem_zalloc(sizeof(*line));
    *out = line;
    if (!line)
        return REALM_E_NOMEM;
    list_init(&line->link);
    list_init(&line->work);
    return 0;
}

void workers_line_close(struct workers *w, struct work_line *line)
{
    if (w)
        mutex_lock(&w->lock);
    line->closed = true;
    bool idle = line->running == 0;
    if (w)
        mutex_unlock(&w->lock);
    if (idle)
        mem_free(line);
}

void workers_run(struct workers *w, struct work_line *line, struct work *work)
{
    struct list left;
    mutex_lock(&w->lock);
    if (list_empty(&line->work))
        list_add_tail(&w->lines, &line->link);
    list_add_tail(&line->work, &work->link);
    w->waiting++;
    bool more = call_up(w);
    take_left(w, &left);
    mutex_unlock(&w->lock);
    join(&left);
    if (more)
        start_more(w);
}
