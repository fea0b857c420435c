/* helper/serve.c - the child's side. */
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/limits.h"
#include "base/mem.h"
#include "helper/frame.h"

/* A call larger than this is no call of ours. */
static const uint64_t PART_BYTES_MAX = 64 * MiB;

static void limit(int what, rlim_t soft)
{
    struct rlimit r;
    if (getrlimit(what, &r))
        return;
    r.rlim_cur = r.rlim_max != RLIM_INFINITY && soft > r.rlim_max ? r.rlim_max : soft;
    (void)setrlimit(what, &r);
}

/* Limits for the whole life of the child.  Sanitizers map terabytes. */
static void confine(void)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0);
#ifndef SANITIZED
    limit(RLIMIT_AS, HELPER_MEMORY_BYTES_MAX);
#endif
}

/* Allows seconds more of processor time than were used up to now. */
static void allow_cpu(uint32_t seconds)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    limit(RLIMIT_CPU, (rlim_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + 1 + seconds);
}

static int receive_parts(int fd, const struct frame_call *call, struct slice *parts)
{
    for (uint32_t i = 0; i < call->parts; i++) {
        if (call->bytes[i] > PART_BYTES_MAX)
            return REALM_E_LIMIT;
        uint8_t *p = mem_alloc((size_t)call->bytes[i]);
        if (!p)
            return REALM_E_NOMEM;
        parts[i] = (struct slice){p, (size_t)call->bytes[i]};
        int status = frame_recv(fd, p, parts[i].n, NULL);
        if (status)
            return status;
    }
    return 0;
}

static int send_answer(int fd, int status, struct slice body)
{
    struct frame_answer answer = {.status = status, .bytes = body.n};
    int failed = frame_send(fd, &answer, sizeof(answer), NULL);
    return failed ? failed : frame_send(fd, body.p, body.n, NULL);
}

static int serve_one(int fd, const struct helper_work *work, const struct frame_call *call)
{
    struct slice parts[HELPER_PARTS_MAX] = {{0}};
    struct realm_error err = {0};
    struct buf out;
    buf_init(&out, HELPER_ANSWER_BYTES_MAX);
    int status = REALM_E_ARG;
    if (call->op < HELPER_OPS && call->parts <= HELPER_PARTS_MAX && work->fn[call->op])
        status = receive_parts(fd, call, parts);
    if (!status) {
        allow_cpu(work->cpu_s[call->op]);
        int result = work->fn[call->op](parts, call->parts, &out, &err);
        status = send_answer(fd, result, result ? slice_of(err.message) : buf_slice(&out));
    }
    for (size_t i = 0; i < HELPER_PARTS_MAX; i++)
        mem_free((void *)parts[i].p);
    buf_free(&out);
    return status;
}

int helper_serve(int fd, const struct helper_work *work)
{
    struct frame_call call;
    confine();
    int status = 0;
    while (!status && frame_recv(fd, &call, sizeof(call), NULL) == 0)
        status = serve_one(fd, work, &call);
    return status ? 1 : 0;
}
