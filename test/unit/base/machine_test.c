/* What is read of the kernel's files, from folders that are made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <ftw.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/machine.h"
#include "base/thread.h"

static char root[] = "/tmp/realm-machine-XXXXXX";

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    return at->level ? remove(path) : 0;
}

/* An empty folder for each test. */
static int clear(void **state)
{
    (void)state;
    return nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state)
{
    clear(state);
    return rmdir(root);
}

/* Writes a file, with the folders above it. */
static void put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        mkdir(full, 0700);
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static const char meminfo[] = "MemTotal:       16384000 kB\n"
                              "MemFree:          200000 kB\n"
                              "MemAvailable:    8192000 kB\n"
                              "SwapTotal:       1024000 kB\n"
                              "SwapFree:         924000 kB\n";

static void all_is_read(void **state)
{
    (void)state;
    struct machine m;
    put("/proc/meminfo", meminfo);
    put("/proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nflags\t\t: avx2\n");
    put("/proc/loadavg", "1.25 0.80 0.70 2/200 4242\n");
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    machine_read(root, &m);
    assert_string_equal(m.cpu, "Some CPU @ 3 GHz");
    assert_true(m.load == 1.25);
    assert_true(m.memory_bytes == 16384000 * KiB && m.available_bytes == 8192000 * KiB);
    assert_true(m.swap_bytes == 1024000 * KiB && m.swap_used_bytes == 100000 * KiB);
    assert_int_equal(m.huge_pages, MACHINE_PAGES_MADVISE);
    assert_true(m.processors >= 1 && m.cores == m.processors);
    assert_true(m.limit_bytes == UINT64_MAX && m.quota == 0);
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    machine_read(root, &m);
    assert_int_equal(m.huge_pages, MACHINE_PAGES_NEVER);
}

static void nothing_known_is_no_failure(void **state)
{
    (void)state;
    struct machine m;
    machine_read(root, &m);
    assert_string_equal(m.cpu, "");
    assert_true(m.memory_bytes > 0); // as the C library knows it
    assert_true(m.limit_bytes == UINT64_MAX && m.quota == 0 && m.load == 0);
    assert_int_equal(m.huge_pages, MACHINE_PAGES_UNKNOWN);
    put("/proc/cpuinfo", "model name\t:");
    put("/proc/self/cgroup", "7\n0:\n::\n");
    machine_read(root, &m);
    assert_string_equal(m.cpu, "");
}

static void hyperthreads_share_a_core(void **state)
{
    (void)state;
    struct machine m;
    machine_read(root, &m);
    if (m.processors < 2)
        skip();
    /* All of them name the same first one. */
    for (long cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF); cpu++) {
        char path[96];
        snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%ld/topology/thread_siblings_list",
                 cpu);
        put(path, "0,512\n");
    }
    machine_read(root, &m);
    assert_int_equal(m.cores, 1);
}

/* Version 2: each group's limit holds for those below it. */
static void the_least_limit_counts(void **state)
{
    (void)state;
    struct machine m;
    put("/proc/meminfo", meminfo);
    put("/proc/self/cgroup", "0::/outer/inner\n");
    put("/sys/fs/cgroup/outer/inner/memory.max", "max\n");
    put("/sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
    machine_read(root, &m);
    assert_true(m.limit_bytes == UINT64_MAX && m.quota == 0);
    put("/sys/fs/cgroup/outer/memory.max", "4294967296\n");
    put("/sys/fs/cgroup/outer/cpu.max", "150000 100000\n");
    machine_read(root, &m);
    assert_true(m.limit_bytes == 4 * GiB && m.quota == 1.5);
    assert_true(machine_memory_max(root) == 4 * GiB);
    put("/sys/fs/cgroup/outer/inner/memory.max", "1073741824\n");
    machine_read(root, &m);
    assert_true(m.limit_bytes == 1 * GiB);
    put("/sys/fs/cgroup/outer/memory.max", "max\n");
    put("/sys/fs/cgroup/outer/inner/memory.max", "17179869184\n");
    assert_true(machine_memory_max(root) == 16384000 * KiB);
}

/* A container sees its own limits at the top, whatever its group is called outside. */
static void a_container_sees_its_own(void **state)
{
    (void)state;
    struct machine m;
    put("/proc/meminfo", meminfo);
    put("/proc/self/cgroup", "0::/../../elsewhere\n");
    put("/sys/fs/cgroup/memory.max", "2147483648\n");
    put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    machine_read(root, &m);
    assert_true(m.limit_bytes == 2 * GiB && m.quota == 0.5);
}

static void version_1_has_a_folder_for_each_controller(void **state)
{
    (void)state;
    struct machine m;
    put("/proc/meminfo", meminfo);
    put("/proc/self/cgroup", "9:cpuset:/wrong\n4:memory:/box/a\n3:cpu,cpuacct:/box/b\n0::/\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/cpu/box/b/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu/box/b/cpu.cfs_period_us", "100000\n");
    machine_read(root, &m);
    assert_true(m.limit_bytes == UINT64_MAX && m.quota == 0);
    put("/sys/fs/cgroup/memory/box/a/memory.limit_in_bytes", "3221225472\n");
    put("/sys/fs/cgroup/cpu/box/b/cpu.cfs_quota_us", "250000\n");
    machine_read(root, &m);
    assert_true(m.limit_bytes == 3 * GiB && m.quota == 2.5);
}

static unsigned at_most(unsigned n)
{
    unsigned all = thread_cpus() < POOL_THREADS_MAX ? thread_cpus() : POOL_THREADS_MAX;
    return n < all ? n : all;
}

/* Whole processors, for threads that are stopped in the middle of a step hold up the others. */
static void threads_keep_within_the_quota(void **state)
{
    (void)state;
    static const struct {
        const char *cpu_max;
        unsigned threads;
    } cases[] = {
        {"max 100000\n", UINT_MAX}, {"50000 100000\n", 1},
        {"100000 100000\n", 1},     {"199999 100000\n", 1},
        {"200000 100000\n", 2},     {"350000 100000\n", 3},
        {"99900000 100000\n", 999}, {"1 100000\n", 1},
        {"0 100000\n", UINT_MAX},   {"9223372036854775807 1\n", UINT_MAX},
        {"rubbish\n", UINT_MAX},
    };
    assert_int_equal(machine_threads(root), at_most(UINT_MAX));
    put("/proc/self/cgroup", "0::/box\n");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put("/sys/fs/cgroup/box/cpu.max", cases[i].cpu_max);
        assert_int_equal(machine_threads(root), at_most(cases[i].threads));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(all_is_read, clear),
        cmocka_unit_test_teardown(nothing_known_is_no_failure, clear),
        cmocka_unit_test_teardown(hyperthreads_share_a_core, clear),
        cmocka_unit_test_teardown(the_least_limit_counts, clear),
        cmocka_unit_test_teardown(a_container_sees_its_own, clear),
        cmocka_unit_test_teardown(version_1_has_a_folder_for_each_controller, clear),
        cmocka_unit_test_teardown(threads_keep_within_the_quota, clear),
    };
    return cmocka_run_group_tests_name("base/machine", tests, set_up, tear_down);
}
