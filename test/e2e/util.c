#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/limits.h"
#include "base/mem.h"
#include "util.h"

enum { FILE_BYTES_MAX = 64 << 20, SCRIPT_BYTES_MAX = 16 << 20 };

const char *tiny_path;
static const char *const *guest_dirs; // two

static int helper(void)
{
    const struct helper_work work = {
        .fn = {[HELPER_RENDER] = chat_render_work, [HELPER_COMPILE] = wasm_compile_work},
        .cpu_s = {[HELPER_RENDER] = HELPER_RENDER_CPU_S, [HELPER_COMPILE] = HELPER_COMPILE_CPU_S},
    };
    return helper_serve(HELPER_FD, &work);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "helper") == 0)
        return helper();
    if (argc != 4) {
        fprintf(stderr, "usage: %s TINY.gguf GUESTS_DIR GUESTS_DIR\n", argv[0]);
        return 2;
    }
    tiny_path = argv[1];
    guest_dirs = (const char *const *)argv + 2;
    return e2e_tests();
}

unsigned scaled(unsigned count)
{
    const char *full = getenv("REALM_E2E_FULL");
    return full && strcmp(full, "1") == 0 ? count : count / 10;
}

uint64_t now_ns(void)
{
    return clock_ns(clock_system());
}

static int by_size(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

void sort_ns(uint64_t *ns, size_t n)
{
    qsort(ns, n, sizeof(*ns), by_size);
}

uint64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*u %llu", &pages), 1);
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A guest's trap is a signal, which the WebAssembly engine handles from its start
 * on.  cmocka puts handlers of its own in place before each test, so the engine's
 * are kept here and put back before a guest runs. */
static const int trap_signals[] = {SIGILL, SIGSEGV, SIGBUS, SIGFPE};
static struct sigaction trap_handlers[ARRAY_LEN(trap_signals)];
static bool handlers_kept;

static void keep_trap_handlers(void)
{
    for (size_t i = 0; !handlers_kept && i < ARRAY_LEN(trap_signals); i++)
        assert_int_equal(sigaction(trap_signals[i], NULL, &trap_handlers[i]), 0);
    handlers_kept = true;
}

static void use_trap_handlers(void)
{
    for (size_t i = 0; i < ARRAY_LEN(trap_signals); i++)
        sigaction(trap_signals[i], &trap_handlers[i], NULL);
}

/* ---- the world ---- */

void world_open(struct world *w, const struct realm_options *options,
                const struct wasm_limits *limits, const char *model_path)
{
    struct realm_error err = {0};
    *w = (struct world){0};
    if (realm_open(&w->engine, options, &err))
        fail_msg("realm_open: %s", err.message);
    assert_int_equal(chat_open(&w->chat, NULL), 0);
    const struct wasm_host_options host = {.chat = w->chat,
                                           .limits = limits ? *limits : (struct wasm_limits){0}};
    if (wasm_host_open(&w->host, &host, &err))
        fail_msg("wasm_host_open: %s", err.message);
    keep_trap_handlers();
    if (model_path)
        w->model = world_model(w, model_path);
}

void world_open_endless(struct world *w, const struct realm_options *options,
                        const struct wasm_limits *limits)
{
    char dir[sizeof(w->dir)], path[sizeof(w->endless)];
    make_dir(dir);
    snprintf(path, sizeof(path), "%s/endless.gguf", dir);
    copy_endless(path);
    world_open(w, options, limits, path);
    memcpy(w->dir, dir, sizeof(dir));
    memcpy(w->endless, path, sizeof(path));
}

void world_people(struct world *w, const char *guest, unsigned tenants)
{
    assert_in_range(tenants, 1, WORLD_TENANTS_MAX);
    w->guest = world_guest(w, guest);
    for (; w->n_tenants < tenants; w->n_tenants++) {
        char name[24];
        snprintf(name, sizeof(name), "tenant-%u", w->n_tenants);
        w->tenants[w->n_tenants] = world_tenant(w, name);
    }
}

void world_close(struct world *w)
{
    for (unsigned i = 0; i < w->n_tenants; i++)
        wasm_tenant_close(w->tenants[i]);
    wasm_guest_close(w->guest);
    realm_model_close(w->model);
    wasm_host_close(w->host);
    chat_close(w->chat);
    realm_close(w->engine);
    if (w->dir[0])
        remove_dir(w->dir);
}

int world_teardown(void **state)
{
    world_close(*state);
    return 0;
}

struct wasm_guest *world_guest(const struct world *w, const char *name)
{
    char path[512];
    size_t n;
    struct wasm_guest *g;
    struct realm_error err = {0};
    for (unsigned i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s.wasm", guest_dirs[i], name);
        if (access(path, R_OK) == 0)
            break;
    }
    uint8_t *wasm = read_file(path, &n);
    if (wasm_guest_open(&g, w->host, wasm, n, &err))
        fail_msg("%s: %s", path, err.message);
    mem_free(wasm);
    return g;
}

struct wasm_tenant *world_tenant(const struct world *w, const char *name)
{
    struct wasm_tenant *t;
    assert_int_equal(wasm_tenant_open(&t, w->host, w->engine, name, 0), 0);
    return t;
}

struct realm_model *world_model(const struct world *w, const char *path)
{
    struct realm_model *m;
    struct realm_error err = {0};
    if (realm_model_open(&m, w->engine, path, NULL, &err))
        fail_msg("%s", err.message);
    return m;
}

struct realm_stats world_stats(const struct world *w)
{
    struct realm_stats s;
    realm_stats(w->engine, &s);
    return s;
}

void world_hold(struct held *h, const struct world *w)
{
    struct realm_request request;
    struct realm_error err = {0};
    realm_request_init(&request, REALM_DOOR_OPENAI);
    request.text = "A";
    request.text_bytes = 1;
    request.text_flags = REALM_TEXT_BOS;
    request.sampling.max_tokens = 2; // with the last it would be over
    request.ignore_end = true;
    *h = (struct held){0};
    gate_hold(&request, &h->gate);
    if (realm_gen_start(&h->gen, w->model, &request, &err))
        fail_msg("%s", err.message);
    gate_await(&h->gate);
}

bool world_await(const struct world *w, unsigned others)
{
    const uint64_t end = now_ns() + 300000000000;
    for (;;) {
        const struct realm_stats s = world_stats(w);
        if (s.running + s.waiting >= others + 1 || now_ns() >= end)
            return now_ns() < end;
        gate_nap();
    }
}

void world_let_go(struct held *h)
{
    gate_let_go(&h->gate);
    realm_gen_close(h->gen);
    h->gen = NULL;
}

/* ---- files ---- */

void make_dir(char out[256])
{
    const char *tmp = getenv("TMPDIR");
    snprintf(out, 256, "%s/realm-e2e-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(out));
}

void remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            assert_int_equal(unlinkat(dirfd(d), e->d_name, 0), 0);
    closedir(d);
    assert_int_equal(rmdir(dir), 0);
}

uint8_t *read_file(const char *path, size_t *n)
{
    uint8_t *bytes;
    struct realm_error err = {0};
    if (io_read_file(io_system(), path, FILE_BYTES_MAX, &bytes, n, &err))
        fail_msg("%s", err.message);
    return bytes;
}

static void write_file(const char *path, const uint8_t *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

void copy_tiny(const char *path)
{
    size_t n;
    uint8_t *bytes = read_file(tiny_path, &n);
    write_file(path, bytes, n);
    mem_free(bytes);
}

/* Every `from` in the bytes becomes `to`, which is as long. */
static unsigned replace(uint8_t *bytes, size_t n, const char *from, const char *to)
{
    size_t len = strlen(from);
    unsigned done = 0;
    for (uint8_t *at = bytes, *hit; (hit = memmem(at, (size_t)(bytes + n - at), from, len));
         at = hit + len, done++)
        memcpy(hit, to, len);
    return done;
}

/* Its end tokens lose the names by which they would be known, and the keys that
 * name their ids are renamed. */
void copy_endless(const char *path)
{
    size_t n;
    uint8_t *bytes = read_file(tiny_path, &n);
    assert_true(replace(bytes, n, "tokenizer.ggml.eos_token_id", "tokenizer.ggml.no__token_id"));
    replace(bytes, n, "tokenizer.ggml.eot_token_id", "tokenizer.ggml.no2_token_id");
    replace(bytes, n, "<|im_end|>", "<|im_enx|>");
    replace(bytes, n, "<|endoftext|>", "<|endoftexx|>");
    write_file(path, bytes, n);
    mem_free(bytes);
}

/* ---- requests ---- */

struct wasm_request request_of(struct wasm_tenant *t, struct realm_model *m, const char *prompt)
{
    return (struct wasm_request){
        .tenant = t, .model = m, .prompt = prompt, .prompt_bytes = strlen(prompt)};
}

void ask(struct wasm_guest *g, const struct wasm_request *request, struct reply *out)
{
    *out = (struct reply){0};
    use_trap_handlers();
    out->status = wasm_run(g, request, &out->result, &out->err);
}

void reply_free(struct reply *r)
{
    mem_free(r->result.text);
    r->result.text = NULL;
}

/* ---- scripts ---- */

void script_init(struct script *s)
{
    buf_init(&s->text, SCRIPT_BYTES_MAX);
}

void script_free(struct script *s)
{
    buf_free(&s->text);
}

void script_add(struct script *s, const char *fmt, ...)
{
    char line[4096];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    assert_in_range(n, 1, sizeof(line) - 1);
    assert_int_equal(buf_addf(&s->text, "%s\n", line), 0);
}

void script_hex(struct script *s, const char *at, const void *bytes, size_t n)
{
    assert_int_equal(buf_addf(&s->text, "w %s ", at), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(buf_addf(&s->text, "%02x", ((const uint8_t *)bytes)[i]), 0);
    assert_int_equal(buf_addch(&s->text, '\n'), 0);
}

void script_ask(struct script *s, struct wasm_guest *g, struct wasm_tenant *t,
                struct realm_model *m, struct reply *out)
{
    const struct wasm_request request = {
        .tenant = t, .model = m, .prompt = buf_cstr(&s->text), .prompt_bytes = s->text.n};
    ask(g, &request, out);
}

char *script_run(struct script *s, struct wasm_guest *g, struct wasm_tenant *t,
                 struct realm_model *m)
{
    struct reply reply;
    script_ask(s, g, t, m, &reply);
    if (reply.status)
        fail_msg("%s: %s\n%s", realm_status_name(reply.status), reply.err.message,
                 buf_cstr(&s->text));
    char *text = mem_strndup(reply.result.text, reply.result.bytes);
    assert_non_null(text);
    reply_free(&reply);
    return text;
}
