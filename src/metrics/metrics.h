/* metrics/metrics.h - counters, gauges and histograms, and the one Prometheus formatter.
 *
 * A histogram is plain counters that any thread adds to; readers see each of them whole,
 * though not all of one moment.  Formatting appends to a buffer, family by family; a family
 * is opened with its help and type and then gets its samples, so that promtool finds nothing
 * to complain about. */
#ifndef METRICS_METRICS_H
#define METRICS_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/compiler.h"

enum { METRICS_BUCKETS_MAX = 20 };

struct histogram {
    const double *bounds; /* (n) ascending upper bounds in the metric's unit; static */
    size_t n;
    _Atomic uint64_t
        counts[METRICS_BUCKETS_MAX + 1]; /* not cumulative; the last: over all bounds */
    _Atomic uint64_t sum_ns;             /* of times in ns */
};

/* Bounds for times from 1 ms to 10 min, in seconds. */
void histogram_init_seconds(struct histogram *h);
void histogram_add_ns(struct histogram *h, uint64_t ns);

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics_label {
    const char *name, *value;
};

struct metrics_out {
    struct buf *text;
    int status; /* the first failure; later calls do nothing */
};

/* # HELP and # TYPE. */
void metrics_family(struct metrics_out *o, const char *name, enum metrics_type type,
                    const char *help);
/* A sample; labels' values are escaped. */
void metrics_sample(struct metrics_out *o, const char *name, const struct metrics_label *labels,
                    size_t n_labels, double value);
/* _bucket (cumulative, with +Inf), _sum and _count. */
void metrics_histogram(struct metrics_out *o, const char *name, const struct metrics_label *labels,
                       size_t n_labels, const struct histogram *h);
/* Family and single sample in one. */
void metrics_one(struct metrics_out *o, const char *name, enum metrics_type type, const char *help,
                 double value);

#endif
