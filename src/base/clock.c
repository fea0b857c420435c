#include "base/clock.h"

#include <time.h>

static uint64_t read_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t monotonic_ns(void *ctx)
{
    (void)ctx;
    return read_ns(CLOCK_MONOTONIC);
}

static uint64_t thread_ns(void *ctx)
{
    (void)ctx;
    return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

const struct clock *clock_system(void)
{
    static const struct clock system = {monotonic_ns, 0};
    return &system;
}

const struct clock *clock_thread(void)
{
    static const struct clock thread = {thread_ns, 0};
    return &thread;
}

int64_t clock_wall_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec;
}
