/* metrics/process.h - what Prometheus' own clients tell of a process: process_*. */
#ifndef METRICS_PROCESS_H
#define METRICS_PROCESS_H

#include <stdint.h>

#include "base/compiler.h"
#include "metrics/metrics.h"

struct process_stat {
    uint64_t cpu_ticks; /* user and system */
    uint64_t threads;
    uint64_t start_ticks; /* after the machine's start */
    uint64_t virtual_bytes, resident_pages;
};

/* Reads the one line of /proc/PID/stat.  0 or REALM_E_FORMAT; out is then unchanged. */
MUST_USE int process_stat_parse(const char *line, struct process_stat *out);

/* This process now: CPU seconds, memory, threads, descriptors and their limit, its start.
 * What /proc does not tell is left out. */
void metrics_process(struct metrics_out *o);

#endif
