#include "base/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/limits.h"
#include "base/thread.h"

enum { PATH_BYTES = 4096, TEXT_BYTES = 8192 };

/* The beginning of a small file of the kernel's; "" and false when there is none. */
static bool read_text(const char *root, const char *path, char *out, size_t max)
{
    char full[PATH_BYTES];
    out[0] = '\0';
    if (snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full))
        return false;
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, out, max - 1);
    close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* The whole number that a file begins with; false when it says "max" or cannot be read. */
static bool read_number(const char *root, const char *folder, const char *name, int64_t *out)
{
    char path[PATH_BYTES], text[64], *end;
    if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path) ||
        !read_text(root, path, text, sizeof(text)))
        return false;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    *out = value;
    return end != text && !errno;
}

/* ---- control groups ---- */

struct limits {
    uint64_t memory_bytes;
    double quota;
};

static void note_memory(const char *root, const char *folder, struct limits *l)
{
    static const char *const names[] = {"memory.max", "memory.limit_in_bytes"};
    int64_t value;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (read_number(root, folder, names[i], &value) && value >= 0 &&
            (uint64_t)value < l->memory_bytes)
            l->memory_bytes = (uint64_t)value;
}

/* "QUOTA PERIOD" in version 2, a file for each in version 1. */
static void note_quota(const char *root, const char *folder, struct limits *l)
{
    char path[PATH_BYTES], text[64];
    int64_t quota, period;
    bool known = false;
    if (snprintf(path, sizeof(path), "%s/cpu.max", folder) < (int)sizeof(path) &&
        read_text(root, path, text, sizeof(text))) {
        char *end, *last;
        quota = strtoll(text, &end, 10);
        period = strtoll(end, &last, 10);
        known = end != text && last != end;
    } else if (read_number(root, folder, "cpu.cfs_quota_us", &quota)) {
        known = read_number(root, folder, "cpu.cfs_period_us", &period);
    }
    if (!known || quota <= 0 || period <= 0)
        return;
    double share = (double)quota / (double)period;
    if (l->quota == 0 || share < l->quota)
        l->quota = share;
}

/* This process's group under a controller of version 1, or with "" of version 2, from a line
 * "NUMBER:CONTROLLER,CONTROLLER:/GROUP".  "" where there is none, or where it lies outside
 * of what this process sees. */
static void find_group(const char *text, const char *controller, char *out, size_t max)
{
    out[0] = '\0';
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *names = strchr(line, ':');
        const char *group = names ? strchr(names + 1, ':') : NULL;
        if (!group)
            return;
        size_t n = strlen(controller);
        const char *at = names + 1;
        while (at < group && (strncmp(at, controller, n) != 0 || (at[n] != ',' && at[n] != ':')))
            at += strcspn(at, ",:") + 1;
        if (at > group || (at == group && n > 0))
            continue;
        snprintf(out, max, "%.*s", (int)strcspn(group + 1, "\n"), group + 1);
        break;
    }
    if (strstr(out, ".."))
        out[0] = '\0';
}

/* A limit holds for all groups below: from this process's own up to the first. */
static void note_groups(const char *root, const char *text, const char *controller,
                        const char *mount,
                        void (*note)(const char *, const char *, struct limits *), struct limits *l)
{
    char group[1024], folder[PATH_BYTES];
    find_group(text, controller, group, sizeof(group));
    for (;;) {
        snprintf(folder, sizeof(folder), "%s%s", mount, group);
        note(root, folder, l);
        char *slash = strrchr(group, '/');
        if (!slash)
            break;
        *slash = '\0';
    }
}

static struct limits read_limits(const char *root)
{
    struct limits l = {.memory_bytes = UINT64_MAX};
    char text[TEXT_BYTES];
    read_text(root, "/proc/self/cgroup", text, sizeof(text));
    note_groups(root, text, "", "/sys/fs/cgroup", note_memory, &l);
    note_groups(root, text, "memory", "/sys/fs/cgroup/memory", note_memory, &l);
    note_groups(root, text, "", "/sys/fs/cgroup", note_quota, &l);
    note_groups(root, text, "cpu", "/sys/fs/cgroup/cpu", note_quota, &l);
    return l;
}

/* ---- the rest ---- */

/* The bytes of a line "NAME:  N kB"; 0 when there is none. */
static uint64_t meminfo_bytes(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? strtoull(at + strlen(name), NULL, 10) * KiB : 0;
}

static void read_memory(const char *root, struct machine *out)
{
    char text[TEXT_BYTES];
    read_text(root, "/proc/meminfo", text, sizeof(text));
    out->memory_bytes = meminfo_bytes(text, "MemTotal:");
    if (!out->memory_bytes) // no /proc
        out->memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    out->available_bytes = meminfo_bytes(text, "MemAvailable:");
    out->swap_bytes = meminfo_bytes(text, "SwapTotal:");
    out->swap_used_bytes = out->swap_bytes - meminfo_bytes(text, "SwapFree:");
}

static void read_cpu_name(const char *root, char out[MACHINE_NAME_MAX])
{
    char text[TEXT_BYTES];
    read_text(root, "/proc/cpuinfo", text, sizeof(text));
    const char *at = strstr(text, "model name");
    at = at ? strchr(at, ':') : NULL;
    if (!at)
        return;
    at += 1 + strspn(at + 1, " \t");
    snprintf(out, MACHINE_NAME_MAX, "%.*s", (int)strcspn(at, "\n"), at);
}

/* How many of the processors that this process may use are the first of them on their core. */
static unsigned count_cores(const char *root)
{
    cpu_set_t mine, seen;
    CPU_ZERO(&seen);
    if (sched_getaffinity(0, sizeof(mine), &mine))
        return 1;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        char folder[64];
        int64_t first;
        if (!CPU_ISSET(cpu, &mine))
            continue;
        snprintf(folder, sizeof(folder), "/sys/devices/system/cpu/cpu%u/topology", cpu);
        if (!read_number(root, folder, "thread_siblings_list", &first) || first < 0 ||
            first >= CPU_SETSIZE)
            first = cpu;
        CPU_SET((unsigned)first, &seen);
    }
    return (unsigned)CPU_COUNT(&seen);
}

static enum machine_pages read_huge_pages(const char *root)
{
    static const char *const marks[] = {
        [MACHINE_PAGES_NEVER] = "[never]",
        [MACHINE_PAGES_MADVISE] = "[madvise]",
        [MACHINE_PAGES_ALWAYS] = "[always]",
    };
    char text[128];
    read_text(root, "/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof(text));
    for (size_t i = MACHINE_PAGES_NEVER; i < ARRAY_LEN(marks); i++)
        if (strstr(text, marks[i]))
            return (enum machine_pages)i;
    return MACHINE_PAGES_UNKNOWN;
}

void machine_read(const char *root, struct machine *out)
{
    char text[128];
    const struct limits l = read_limits(root);
    *out = (struct machine){.processors = thread_cpus(), .limit_bytes = l.memory_bytes};
    out->cores = count_cores(root);
    out->quota = l.quota;
    read_memory(root, out);
    if (out->limit_bytes >= out->memory_bytes) // how version 1 says that there is none
        out->limit_bytes = UINT64_MAX;
    read_cpu_name(root, out->cpu);
    if (read_text(root, "/proc/loadavg", text, sizeof(text)))
        out->load = strtod(text, NULL);
    out->huge_pages = read_huge_pages(root);
}

unsigned machine_threads(const char *root)
{
    const double quota = read_limits(root).quota;
    unsigned n = thread_cpus() < POOL_THREADS_MAX ? thread_cpus() : POOL_THREADS_MAX;
    if (quota > 0 && quota < n)
        n = quota < 1 ? 1 : (unsigned)quota;
    return n;
}

uint64_t machine_memory_max(const char *root)
{
    struct machine m = {0};
    read_memory(root, &m);
    const uint64_t limit = read_limits(root).memory_bytes;
    return limit < m.memory_bytes ? limit : m.memory_bytes;
}
