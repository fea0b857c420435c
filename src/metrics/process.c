/* metrics/process.c - this process as /proc has it; read anew at each call, any thread. */
#include "metrics/process.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "realm/status.h"

/* Fields of /proc/PID/stat after the program's name, the state being 0 (man 5 proc). */
enum { UTIME = 11, STIME = 12, THREADS = 17, START = 19, VSIZE = 20, RSS = 21, FIELDS = 22 };

/* /proc/stat has a number for each interrupt of the machine before the one that we want. */
enum { PROC_FILE_MAX = 256 << 10, STAT_MAX = 4096 };

int process_stat_parse(const char *line, struct process_stat *out)
{
    uint64_t fields[FIELDS] = {0};
    /* The name may hold blanks and parentheses; nothing after it does. */
    const char *p = strrchr(line, ')');
    if (!p || p[1] != ' ' || !p[2] || p[3] != ' ')
        return REALM_E_FORMAT;
    p += 3;
    for (size_t i = 1; i < FIELDS; i++) {
        char *end;
        bool ours = i == UTIME || i == STIME || i == THREADS || i >= START;
        errno = 0;
        long long value = strtoll(p, &end, 10);
        if (end == p || (*end != ' ' && *end != '\n' && *end != '\0') || errno)
            return REALM_E_FORMAT;
        if (ours && value < 0)
            return REALM_E_FORMAT;
        fields[i] = (uint64_t)value;
        p = end;
    }
    *out = (struct process_stat){
        .cpu_ticks = fields[UTIME] + fields[STIME],
        .threads = fields[THREADS],
        .start_ticks = fields[START],
        .virtual_bytes = fields[VSIZE],
        .resident_pages = fields[RSS],
    };
    return 0;
}

/* A file of /proc, whose size is not known before; as much as fits.  NULL on failure. */
static char *read_proc(const char *path, size_t max)
{
    const struct io *io = io_system();
    int fd;
    uint64_t size;
    char *text = mem_alloc(max + 1);
    if (!text || io->open(io->ctx, path, 0, &fd, &size)) {
        mem_free(text);
        return NULL;
    }
    size_t n = 0;
    int64_t got;
    while (n < max && (got = io->pread(io->ctx, fd, text + n, max - n, n)) > 0)
        n += (size_t)got;
    io->close(io->ctx, fd);
    text[n] = '\0';
    return text;
}

static bool read_stat(struct process_stat *out)
{
    char *line = read_proc("/proc/self/stat", STAT_MAX);
    bool good = line && !process_stat_parse(line, out);
    mem_free(line);
    return good;
}

/* When the machine started, in seconds since 1970; 0: not told. */
static uint64_t boot_s(void)
{
    char *text = read_proc("/proc/stat", PROC_FILE_MAX);
    const char *at = text ? strstr(text, "\nbtime ") : NULL;
    uint64_t seconds = at ? strtoull(at + 7, NULL, 10) : 0;
    mem_free(text);
    return seconds;
}

/* -1: not told. */
static int64_t open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int64_t n = 0;
    if (!dir)
        return -1;
    for (const struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n - 1; // not the folder's own
}

static void add_fds(struct metrics_out *o)
{
    struct rlimit limit;
    int64_t n = open_fds();
    if (n >= 0)
        metrics_one(o, "process_open_fds", METRICS_GAUGE, "Open file descriptors.", (double)n);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        metrics_one(o, "process_max_fds", METRICS_GAUGE, "File descriptors that may be open.",
                    (double)limit.rlim_cur);
}

void metrics_process(struct metrics_out *o)
{
    struct process_stat s;
    double hz = (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);
    add_fds(o);
    if (hz <= 0 || page <= 0 || !read_stat(&s))
        return;
    metrics_one(o, "process_cpu_seconds_total", METRICS_COUNTER,
                "Processor time spent, user and system, in seconds.", (double)s.cpu_ticks / hz);
    metrics_one(o, "process_resident_memory_bytes", METRICS_GAUGE, "Memory that is resident.",
                (double)s.resident_pages * page);
    metrics_one(o, "process_virtual_memory_bytes", METRICS_GAUGE, "Addresses that are mapped.",
                (double)s.virtual_bytes);
    metrics_one(o, "process_threads", METRICS_GAUGE, "Threads.", (double)s.threads);
    uint64_t boot = boot_s();
    if (boot)
        metrics_one(o, "process_start_time_seconds", METRICS_GAUGE,
                    "Start of the process in seconds since 1970.",
                    (double)boot + (double)s.start_ticks / hz);
}
