#include "footprint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <time.h>

#include "base/mem.h"
#include "realm/status.h"

static unsigned entries(const char *path)
{
    unsigned n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void wait_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

struct footprint footprint_now(void)
{
    return (struct footprint){mem_live(), entries("/proc/self/fd"), entries("/proc/self/task")};
}

void assert_same_footprint(struct footprint before, uint64_t n)
{
    struct footprint now = footprint_now();
    /* The kernel lists a thread for a moment after it was joined. */
    for (int ms = 0; ms < 30000 && now.threads != before.threads; ms++) {
        wait_ms(1);
        now = footprint_now();
    }
    if (now.allocations != before.allocations || now.files != before.files ||
        now.threads != before.threads)
        fail_msg("allocation %llu: %lld allocations, %d files and %d threads more than before",
                 (unsigned long long)n, (long long)(now.allocations - before.allocations),
                 (int)(now.files - before.files), (int)(now.threads - before.threads));
}

unsigned torture(int (*life)(void *ctx), void *ctx, int for_good, int other)
{
    enum { ENOUGH = 20 };
    unsigned failures = 0, successes = 0;
    wait_ms(50);
    struct footprint before = footprint_now();
    for (uint64_t n = 1; successes < ENOUGH; n++) {
        mem_fail_at(n, for_good);
        int status = life(ctx);
        mem_fail_at(0, 0);
        if (status && status != REALM_E_NOMEM && status != other)
            fail_msg("allocation %llu: status %d", (unsigned long long)n, status);
        assert_same_footprint(before, n);
        failures += status != 0;
        successes = status ? 0 : successes + 1;
    }
    return failures;
}
