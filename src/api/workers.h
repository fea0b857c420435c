/* api/workers.h - threads for what may block: loading, rendering, tokenising, guests.
 *
 * Work is taken up in the order it comes.  A thread is started when all are busy, up to a
 * limit, and leaves when it has had nothing to do for a while; so one slow load keeps
 * nobody else waiting, and an idle server has one thread.
 *
 * Threads: any. */
#ifndef API_WORKERS_H
#define API_WORKERS_H

#include "base/compiler.h"
#include "base/list.h"

struct workers;

/* Part of whatever is to be worked on; in use from workers_run until run is called. */
struct work {
    struct list link;
    void (*run)(struct work *w);
};

/* threads_max: 1 or more; one is started at once.  REALM_E_NOMEM, REALM_E_SYS. */
MUST_USE int workers_open(struct workers **out, unsigned threads_max);
/* Waits for all work that was given. */
void workers_close(struct workers *w);

void workers_run(struct workers *w, struct work *work);

#endif
