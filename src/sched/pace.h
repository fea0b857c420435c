/* sched/pace.h - how many rows of a model fit a span of time.
 *
 * A step's time is no multiple of its rows: few rows wait for memory, many for
 * arithmetic.  So the time per row is kept, smoothed, for each power of two of
 * rows on its own.  A size that was never tried is taken to cost what the next
 * smaller one does, so that it is tried once that one fits. */
#ifndef SCHED_PACE_H
#define SCHED_PACE_H

#include <stddef.h>
#include <stdint.h>

enum { PACE_SIZES = 10 }; /* 1, 2 to 3, 4 to 7, ... 512 rows */

struct pace {
    double row_ns[PACE_SIZES]; /* of steps of that many rows; 0: none yet */
};

/* A step of so many rows took ns. */
void pace_note(struct pace *p, size_t rows, uint64_t ns);

/* What a step of so many rows should take; 0 when nothing is known. */
uint64_t pace_ns(const struct pace *p, size_t rows);

/* Rows of the largest step that should take ns at most; 1 at least. */
size_t pace_rows(const struct pace *p, uint64_t ns);

#endif
