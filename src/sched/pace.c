#include "sched/pace.h"

#include <stdbool.h>

#include "base/ckd.h"
#include "base/limits.h"

enum { ROWS_UNKNOWN = 8 }; /* the first step of a model */

static size_t size_of(size_t rows)
{
    size_t size = 0;
    while (size + 1 < PACE_SIZES && rows >> (size + 1))
        size++;
    return size;
}

/* Many rows take less time each than few.  A size of which the opposite is known may
 * have been slow for another reason, and nobody would try it again: so that is
 * forgotten bit by bit. */
static void forget(struct pace *p, size_t size)
{
    for (size_t larger = size + 1; larger < PACE_SIZES; larger++)
        if (p->row_ns[larger] > p->row_ns[size])
            p->row_ns[larger] *= 0.998;
}

void pace_note(struct pace *p, size_t rows, uint64_t ns)
{
    size_t size = size_of(rows);
    double now = (double)(ns ? ns : 1) / (double)rows, before = p->row_ns[size];
    /* A process that was stopped for a while tells nothing about the model. */
    now = before > 0 && now > 4 * before ? 4 * before : now;
    p->row_ns[size] = before == 0 ? now : before + (now - before) / 4;
    forget(p, size);
}

/* Time per row for each size, guessed where none was measured: from the next
 * smaller one, as if twice the rows took the same time; below all that is known,
 * as the smallest known.  false when nothing is known. */
static bool estimate(const struct pace *p, double row_ns[PACE_SIZES])
{
    size_t known = 0;
    while (known < PACE_SIZES && p->row_ns[known] == 0)
        known++;
    if (known == PACE_SIZES)
        return false;
    for (size_t size = 0; size < PACE_SIZES; size++) {
        if (size <= known)
            row_ns[size] = p->row_ns[known];
        else
            row_ns[size] = p->row_ns[size] > 0 ? p->row_ns[size] : row_ns[size - 1] / 2;
    }
    return true;
}

uint64_t pace_ns(const struct pace *p, size_t rows)
{
    double row_ns[PACE_SIZES];
    return estimate(p, row_ns) ? (uint64_t)(row_ns[size_of(rows)] * (double)rows) : 0;
}

size_t pace_rows(const struct pace *p, uint64_t ns)
{
    double row_ns[PACE_SIZES];
    if (!estimate(p, row_ns))
        return ROWS_UNKNOWN;
    size_t best = 1;
    for (size_t size = 0; size < PACE_SIZES; size++) {
        double fit = (double)ns / row_ns[size];
        size_t least = (size_t)1 << size, most = 2 * least - 1;
        if (fit < (double)least)
            continue;
        /* Beyond what was tried, one doubling at a time. */
        bool tried = p->row_ns[size] > 0;
        best = !tried ? least : fit < (double)most ? (size_t)fit : most;
        if (!tried && size && p->row_ns[size - 1] > 0)
            break;
    }
    return min_size(best, BATCH_ROWS_MAX);
}
