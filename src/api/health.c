/* api/health.c - whether the process works, and whether it takes requests. */
#include "api/api_impl.h"
#include "base/clock.h"

json_t *health_json(struct api *a)
{
    bool stuck = atomic_load(&a->stuck);
    uint64_t up_s = (clock_ns(clock_system()) - a->started_ns) / 1000000000u;
    return json_pack("{s:s,s:s,s:I}", "status", stuck ? "stuck" : "ok", "version", realm_version(),
                     "uptime_seconds", (json_int_t)up_s);
}

void health_answer(struct api *a, struct http_exchange *x)
{
    api_answer_json(x, atomic_load(&a->stuck) ? 503 : 200, health_json(a));
}

void ready_answer(struct api *a, struct http_exchange *x)
{
    bool ready = !a->draining && !atomic_load(&a->stuck);
    const char *status = a->draining ? "draining" : ready ? "ready" : "stuck";
    api_answer_json(x, ready ? 200 : 503, json_pack("{s:s}", "status", status));
}
