/* api/workers.h - threads for what may block: loading, rendering, tokenising, guests.
 *
 * Work stands in lines, one for each tenant, which are served in turn; within a line, in the
 * order it comes.  A line never has more threads at work than are left to all others
 * (base/fair.h).  A thread is started when all are busy, up to a limit, and leaves when it has
 * had nothing to do for a while; so one slow load keeps nobody else waiting, and an idle server
 * has one thread.
 *
 * Threads: any. */
#ifndef API_WORKERS_H
#define API_WORKERS_H

#include <stdbool.h>

#include "base/compiler.h"
#include "base/list.h"

struct workers;
struct work_line;

/* Part of whatever is to be worked on; in use from workers_run until run is called. */
struct work {
    struct list link;
    void (*run)(struct work *w);
};

struct workers_options {
    const char *name;     /* of the threads: a literal of up to 15 bytes */
    unsigned threads_max; /* 1 or more; one is started at once */
    bool give_way;        /* to the program's other threads, when processors are short */
};

/* REALM_E_NOMEM, REALM_E_SYS. */
MUST_USE int workers_open(struct workers **out, const struct workers_options *options);
/* Waits for all work that was given. */
void workers_close(struct workers *w);

MUST_USE int workers_line_open(struct work_line **out); /* REALM_E_NOMEM */
/* When nothing waits in it; what was taken out may still be at work.  w is NULL once it was
 * closed. */
void workers_line_close(struct workers *w, struct work_line *line);

void workers_run(struct workers *w, struct work_line *line, struct work *work);

#endif
