/* base/clock.h - time as an argument, so that tests own it. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

struct clock {
    uint64_t (*now_ns)(void *ctx); /* monotonic */
    void *ctx;
};

/* The system's monotonic clock. */
const struct clock *clock_system(void);

/* Processor time that the calling thread has had. */
const struct clock *clock_thread(void);

/* Seconds since 1970, for what people read as a date. */
int64_t clock_wall_s(void);

static inline uint64_t clock_ns(const struct clock *c)
{
    return c->now_ns(c->ctx);
}

static inline uint64_t clock_ms(const struct clock *c)
{
    return clock_ns(c) / 1000000u;
}

#endif
