/* requests.c - what requests cost beside their tokens: one pass over the figures
 * that bench/run prints, each on a line "NAME VALUE UNIT".
 *
 *     requests MODEL STARTED_NS [REALM DIR/default.wasm DIR/noop.wasm DIR/calls.wasm]
 *
 * STARTED_NS is the monotonic clock when the caller started this process.  REALM is
 * the program that compiles guests; without it guests are left out. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/limits.h"
#include "base/mem.h"
#include "chat/chat.h"
#include "realm/realm.h"
#include "wasm/wasm.h"

enum {
    LATER = 30,       /* later requests */
    OPENS = 2000,     /* of a model that is there */
    PAIRS = 400,      /* of requests with and without a guest */
    INSTANCES = 2000, /* of a guest that does nothing */
    CALL_PASSES = 20, /* of so many host calls: */
    CALLS = 100000,
};

struct bench {
    const char *model_path;
    uint64_t started_ns;
    struct realm *engine;
    struct chat *chat;
    struct wasm_host *host;
    struct wasm_tenant *tenant;
};

static const char prompt[] = "Once upon a time";

static uint64_t now_ns(void)
{
    return clock_ns(clock_system());
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v, size_t n)
{
    qsort(v, n, sizeof(*v), by_size);
    return v[n / 2];
}

static void put(const char *name, double value, const char *unit)
{
    printf("%s %.6g %s\n", name, value, unit);
    fflush(stdout);
}

static int fail(const struct realm_error *err)
{
    fprintf(stderr, "requests: %s\n", err->message);
    return 1;
}

static struct realm_sampling greedy(uint32_t max_tokens)
{
    struct realm_sampling s;
    realm_sampling_init(&s, REALM_DOOR_GUEST);
    s.temperature = 0;
    s.max_tokens = max_tokens;
    return s;
}

/* A request as a caller makes it: the model by its file, and one token. */
static int one_token(struct bench *b, struct realm_error *err)
{
    struct realm_request request;
    struct realm_model *m;
    struct realm_gen *g;
    struct realm_event e;
    int status = realm_model_open(&m, b->engine, b->model_path, NULL, err);
    if (status)
        return status;
    realm_request_init(&request, REALM_DOOR_GUEST);
    request.text = prompt;
    request.text_bytes = strlen(prompt);
    request.text_flags = REALM_TEXT_BOS;
    request.sampling = greedy(1);
    status = realm_gen_start(&g, m, &request, err);
    realm_model_close(m);
    if (status)
        return status;
    do
        status = realm_gen_next(g, &e, NULL);
    while (!status && e.kind != REALM_EVENT_END);
    realm_gen_close(g);
    return status;
}

static int measure_first_and_later(struct bench *b, struct realm_error *err)
{
    double v[LATER];
    int status = one_token(b, err);
    if (status)
        return status;
    const double first = (double)(now_ns() - b->started_ns);
    for (size_t i = 0; i < LATER; i++) {
        const uint64_t start = now_ns();
        status = one_token(b, err);
        if (status)
            return status;
        v[i] = (double)(now_ns() - start);
    }
    const double later = median(v, LATER);
    put("first", first / 1e6, "ms");
    put("later", later / 1e6, "ms");
    put("ratio", first / later, "x");
    return 0;
}

static int measure_store(struct bench *b, struct realm_error *err)
{
    static double v[OPENS];
    for (size_t i = 0; i < OPENS; i++) {
        struct realm_model *m;
        const uint64_t start = now_ns();
        int status = realm_model_open(&m, b->engine, b->model_path, NULL, err);
        if (status)
            return status;
        realm_model_close(m);
        v[i] = (double)(now_ns() - start);
    }
    put("store", median(v, OPENS) / 1e3, "us");
    return 0;
}

static int open_guest(struct bench *b, const char *path, struct wasm_guest **out,
                      struct realm_error *err)
{
    uint8_t *wasm;
    size_t n;
    *out = NULL;
    int status = io_read_file(io_system(), path, GUEST_MODULE_BYTES_MAX, &wasm, &n, err);
    if (status)
        return status;
    status = wasm_guest_open(out, b->host, wasm, n, err);
    mem_free(wasm);
    return status;
}

/* Nanoseconds of one request through a guest, whose caller names the model's file
 * as in one_token; below 0 when it failed. */
static double guest_ns(struct bench *b, struct wasm_guest *g, const char *text,
                       struct realm_error *err)
{
    const struct realm_sampling sampling = greedy(1);
    struct wasm_request request = {
        .tenant = b->tenant, .prompt = text, .prompt_bytes = strlen(text), .sampling = &sampling};
    struct wasm_result result;
    const uint64_t start = now_ns();
    if (realm_model_open(&request.model, b->engine, b->model_path, NULL, err))
        return -1;
    int status = wasm_run(g, &request, &result, err);
    realm_model_close(request.model);
    mem_free(result.text);
    return status ? -1 : (double)(now_ns() - start);
}

/* The same request with a guest and without, in turns. */
static int measure_guest(struct bench *b, struct wasm_guest *g, struct realm_error *err)
{
    static double with[PAIRS], without[PAIRS], more[PAIRS];
    for (size_t i = 0; i < PAIRS; i++) {
        const uint64_t start = now_ns();
        int status = one_token(b, err);
        if (status)
            return status;
        without[i] = (double)(now_ns() - start);
        with[i] = guest_ns(b, g, prompt, err);
        if (with[i] < 0)
            return err->status;
        more[i] = with[i] - without[i];
    }
    put("guest", median(with, PAIRS) / 1e3, "us");
    put("no_guest", median(without, PAIRS) / 1e3, "us");
    put("guest_more", median(more, PAIRS) / 1e3, "us");
    return 0;
}

static int measure_instance(struct bench *b, struct wasm_guest *g, struct realm_error *err)
{
    static double v[INSTANCES];
    for (size_t i = 0; i < INSTANCES; i++) {
        v[i] = guest_ns(b, g, prompt, err);
        if (v[i] < 0)
            return err->status;
    }
    put("instance", median(v, INSTANCES) / 1e3, "us");
    return 0;
}

static int measure_call(struct bench *b, struct wasm_guest *g, struct realm_error *err)
{
    double v[CALL_PASSES];
    char many[16];
    snprintf(many, sizeof(many), "%d", CALLS);
    for (size_t i = 0; i < CALL_PASSES; i++) {
        const double none = guest_ns(b, g, "0", err), all = guest_ns(b, g, many, err);
        if (none < 0 || all < 0)
            return err->status;
        v[i] = (all - none) / CALLS;
    }
    put("call", median(v, CALL_PASSES), "ns");
    return 0;
}

static int open_host(struct bench *b, const char *realm, struct realm_error *err)
{
    struct wasm_host_options options = {.helper_exe = realm, .limits = {.host_calls = CALLS + 1}};
    int status = chat_open(&b->chat, realm);
    options.chat = b->chat;
    if (!status)
        status = wasm_host_open(&b->host, &options, err);
    if (!status)
        status = wasm_tenant_open(&b->tenant, b->host, b->engine, "bench", 0);
    return status;
}

static int measure_guests(struct bench *b, char **paths, struct realm_error *err)
{
    static int (*const measure[])(struct bench *, struct wasm_guest *, struct realm_error *) = {
        measure_guest, measure_instance, measure_call};
    int status = open_host(b, paths[0], err);
    for (size_t i = 0; !status && i < ARRAY_LEN(measure); i++) {
        struct wasm_guest *g;
        status = open_guest(b, paths[i + 1], &g, err);
        if (!status)
            status = measure[i](b, g, err);
        wasm_guest_close(g);
    }
    return status;
}

int main(int argc, char **argv)
{
    struct realm_error err = {.message = "out of memory"};
    if (argc != 3 && argc != 7) {
        fprintf(stderr, "usage: requests MODEL STARTED_NS [REALM DEFAULT NOOP CALLS]\n");
        return 2;
    }
    struct bench b = {.model_path = argv[1], .started_ns = strtoull(argv[2], NULL, 10)};
    int status = realm_open(&b.engine, NULL, &err);
    if (!status)
        status = measure_first_and_later(&b, &err);
    if (!status)
        status = measure_store(&b, &err);
    if (!status && argc == 7)
        status = measure_guests(&b, argv + 3, &err);
    wasm_tenant_close(b.tenant);
    wasm_host_close(b.host);
    chat_close(b.chat);
    realm_close(b.engine);
    return status ? fail(&err) : 0;
}
