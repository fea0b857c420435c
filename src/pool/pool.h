/* pool/pool.h - the team of compute threads.
 *
 * Worker 0 is the thread that calls pool_run, one thread at a time; the team has
 * threads - 1 more.  Nothing else in the program makes threads for arithmetic.
 * Between phases workers spin for some microseconds, then sleep: an idle team
 * costs nothing. */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include <stddef.h>

#include "base/compiler.h"

struct pool;

/* What a phase does with item i; worker is 0 to threads - 1. */
typedef void (*pool_fn)(void *ctx, size_t item, unsigned worker);

/* threads: 1 to POOL_THREADS_MAX, with the caller.  REALM_E_NOMEM, REALM_E_SYS. */
MUST_USE int pool_open(struct pool **out, unsigned threads);
void pool_close(struct pool *p);
unsigned pool_threads(const struct pool *p);

/* Calls fn for each item 0 to n - 1, in no order, each exactly once, and returns
 * when all are done.  Items are handed out one by one from a counter. */
void pool_run(struct pool *p, pool_fn fn, void *ctx, size_t n);

#endif
