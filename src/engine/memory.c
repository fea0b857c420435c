#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine_impl.h"

/* The text of a small file of the kernel's; false when there is none. */
static bool read_text(const char *path, char *out, size_t max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, out, max - 1);
    close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* A limit in a file; UINT64_MAX when it says "max" or cannot be read. */
static uint64_t read_limit(const char *path)
{
    char text[64], *end;
    if (!read_text(path, text, sizeof(text)))
        return UINT64_MAX;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    return end == text || errno ? UINT64_MAX : value;
}

/* The limit of this process's own group (version 2 of cgroups). */
static uint64_t own_group_limit(void)
{
    char text[1024], path[1200];
    if (!read_text("/proc/self/cgroup", text, sizeof(text)))
        return UINT64_MAX;
    const char *group = strstr(text, "0::/");
    if (!group)
        return UINT64_MAX;
    group += strlen("0::");
    int n = (int)strcspn(group, "\n");
    snprintf(path, sizeof(path), "/sys/fs/cgroup%.*s/memory.max", n, group);
    return read_limit(path);
}

uint64_t memory_total(void)
{
    uint64_t least = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    const uint64_t limits[] = {
        own_group_limit(),
        read_limit("/sys/fs/cgroup/memory.max"), // as a container sees its own
        read_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    };
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        if (limits[i] < least)
            least = limits[i];
    return least;
}
