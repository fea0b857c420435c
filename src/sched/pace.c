#include "sched/pace.h"

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

void pace_note(struct pace *p, size_t rows, uint64_t ns)
{
    double *row_ns = &p->row_ns[size_of(rows)];
    double now = (double)(ns ? ns : 1) / (double)rows;
    *row_ns = *row_ns == 0 ? now : *row_ns + (now - *row_ns) / 4;
}

/* The time per row of the smallest size that was measured; 0: none was. */
static double first_known(const struct pace *p)
{
    for (size_t size = 0; size < PACE_SIZES; size++)
        if (p->row_ns[size] > 0)
            return p->row_ns[size];
    return 0;
}

size_t pace_rows(const struct pace *p, uint64_t ns)
{
    double row_ns = first_known(p);
    if (row_ns == 0)
        return ROWS_UNKNOWN;
    size_t best = 1;
    for (size_t size = 0; size < PACE_SIZES; size++) {
        if (p->row_ns[size] > 0)
            row_ns = p->row_ns[size]; // else as that of the next smaller size
        double fit = (double)ns / row_ns;
        if (fit < (double)((size_t)1 << size))
            continue;
        size_t most = ((size_t)2 << size) - 1;
        best = fit < (double)most ? (size_t)fit : most;
    }
    return min_size(best, BATCH_ROWS_MAX);
}
