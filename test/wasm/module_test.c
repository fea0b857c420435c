/* What is refused, imports that are unknown, the closed WASI, the cache. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "util.h"

#define GENERATE "(func (export \"generate\") (param i32 i32 i32 i32) (result i32) "
#define WORKING "(module (memory (export \"memory\") 1) " GENERATE "(i32.const 8)))"

static void expect_refused(struct rig *rig, const void *wasm, size_t n, const char *sentence)
{
    struct realm_error err = {0};
    struct wasm_guest *g;
    int status = wasm_guest_open(&g, rig->host, wasm, n, &err);
    if (status != REALM_E_GUEST || !strstr(err.message, sentence))
        fail_msg("%d %s, not: %s", status, err.message, sentence);
    assert_null(g);
}

/* W05: modules that are no guests. */
static void test_refused(void **state)
{
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"(module " GENERATE "(i32.const 8)))", "no memory"},
        {"(module (memory (export \"mem\") 1) " GENERATE "(i32.const 8)))", "no memory"},
        {"(module (memory (export \"memory\") 1) (memory 1) " GENERATE "(i32.const 8)))",
         "memories"},
        {"(module (memory (export \"memory\") i64 1) " GENERATE "(i32.const 8)))", "memory64"},
        {"(module (memory (export \"memory\") 1 1 shared) " GENERATE "(i32.const 8)))", "threads"},
        {"(module (import \"env\" \"g\" (global i32)) (memory (export \"memory\") 1) " GENERATE
         "(i32.const 8)))",
         "env.g, which is no function"},
        {"(module (import \"env\" \"memory\" (memory 1)) (export \"memory\" (memory 0)) " GENERATE
         "(i32.const 8)))",
         "env.memory, which is no function"},
        {"(module (import \"env\" \"t\" (table 1 funcref)) (memory (export \"memory\") 1) " GENERATE
         "(i32.const 8)))",
         "env.t, which is no function"},
        {"(module (memory (export \"memory\") 1))", "neither generate"},
        {"(module (memory (export \"memory\") 1) (func (export \"generate\") (param i32)))",
         "neither generate"},
        {"(module (memory (export \"memory\") 1) (func (export \"generate\")"
         " (param i32 i32 i32 v128) (result i32) (i32.const 8)))",
         "neither generate"},
        {"(module (import \"env\" \"realm_chat\" (func (param i64) (result i32)))"
         "(memory (export \"memory\") 1) " GENERATE "(i32.const 8)))",
         "realm_chat"},
        {"(module (memory (export \"memory\") 1) (tag (param i32)) " GENERATE "(i32.const 8)))",
         "exceptions"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t n;
        uint8_t *wasm = text_to_wasm(cases[i].text, &n);
        expect_refused(*state, wasm, n, cases[i].sentence);
        free(wasm);
    }
}

/* W08: bytes that are no module, compiled code among them. */
static void test_refused_bytes(void **state)
{
    size_t n;
    uint8_t *wasm = text_to_wasm(WORKING, &n);
    expect_refused(*state, "", 0, "no WebAssembly");
    expect_refused(*state, WORKING, strlen(WORKING), "no WebAssembly");
    expect_refused(*state, "\177ELF\2\1\1\0", 8, "compiled code");
    expect_refused(*state, "\0asm\r\0\1\0", 8, "no core module");
    expect_refused(*state, "\0asm\2\0\0\0", 8, "no core module");
    uint8_t *large = calloc(1, GUEST_MODULE_BYTES_MAX + 1);
    assert_non_null(large);
    memcpy(large, wasm, n);
    expect_refused(*state, large, GUEST_MODULE_BYTES_MAX + 1, "at most");
    free(large);
    /* Cut anywhere it is refused, or is a smaller module that lacks something. */
    for (size_t cut = 0; cut < n; cut++)
        expect_refused(*state, wasm, cut, "");
    free(wasm);
}

/* An export of a kind that has no letter in the C API must not end the process. */
static void test_odd_types(void **state)
{
    struct rig *rig = *state;
    struct realm_error err;
    struct wasm_guest *g;
    assert_int_equal(
        guest_from_text(rig->host,
                        "(module (import \"x\" \"y\" (func (param v128 f64) (result v128)))"
                        "(memory (export \"memory\") 1)"
                        "(func (export \"alloc\") (param v128) (result v128) (local.get 0))"
                        "(func (export \"handle\") (param i32 i32) (result v128) (unreachable))"
                        "(table (export \"t\") 2 funcref)" GENERATE "(i32.const 8)))",
                        &g, &err),
        0);
    struct wasm_request r = request_of(rig, "x");
    struct outcome out = {0};
    run_guest(g, &r, &out);
    assert_int_equal(out.status, 0);
    outcome_free(&out);
    wasm_guest_close(g);
}

/* What the log says while fn runs; for free(). */
static char *logged(struct rig *rig, void (*fn)(struct rig *rig))
{
    char path[] = "/tmp/realm-log-XXXXXX";
    size_t n;
    fflush(stderr);
    int to = mkstemp(path), before = dup(STDERR_FILENO);
    assert_true(to >= 0 && before >= 0);
    dup2(to, STDERR_FILENO);
    fn(rig);
    fflush(stderr);
    dup2(before, STDERR_FILENO);
    close(before);
    close(to);
    char *text = (char *)read_bytes(path, &n);
    text[n] = '\0';
    unlink(path);
    return text;
}

static void expect_trap(struct rig *rig, const char *module, const char *name, const char *sentence)
{
    char text[512];
    struct wasm_guest *g;
    struct outcome out = {0};
    struct wasm_request r = request_of(rig, "x");
    for (int called = 0; called < 2; called++) {
        snprintf(text, sizeof(text),
                 "(module (import \"%s\" \"%s\" (func $f (param i64 f32) (result f64)))"
                 "(memory (export \"memory\") 1) " GENERATE "%s (i32.const 8)))",
                 module, name, called ? "(drop (call $f (i64.const 1) (f32.const 2)))" : "");
        assert_int_equal(guest_from_text(rig->host, text, &g, &out.err), 0);
        run_guest(g, &r, &out);
        assert_int_equal(out.status, called ? REALM_E_GUEST : 0);
        if (called && (!strstr(out.err.message, name) || !strstr(out.err.message, sentence)))
            fail_msg("%s", out.err.message);
        outcome_free(&out);
        wasm_guest_close(g);
    }
}

static void unknown_imports(struct rig *rig)
{
    static const char *const later[] = {
        "realm_set_lora_adapter", "realm_store_draft_model",  "realm_get_tensor",
        "realm_embed_tokens",     "realm_forward_layer",      "realm_compute_logits",
        "candle_matmul",          "candle_matmul_transposed", "memory64_read",
    };
    for (size_t i = 0; i < ARRAY_LEN(later); i++)
        expect_trap(rig, "env", later[i], "not offered yet");
    expect_trap(rig, "env", "realm_nonsense", "env.realm_nonsense, which is not known");
    expect_trap(rig, "__wbindgen_placeholder__", "__wbindgen_throw", "not known");
    expect_trap(rig, "wasi_snapshot_preview1", "fd_teleport", "not known");
    expect_trap(rig, "wasi_unstable", "fd_write", "not known");
}

/* W05: imports that nobody offers. */
static void test_unknown_imports(void **state)
{
    char *log = logged(*state, unknown_imports);
    assert_non_null(strstr(log, "env.realm_nonsense"));
    assert_non_null(strstr(log, "__wbindgen_placeholder__.__wbindgen_throw"));
    free(log);
}

/* What administration is shown of a module. */
static void test_about(void **state)
{
    struct rig *rig = *state;
    struct realm_error err = {0};
    struct wasm_guest *g;
    static const char text[] =
        "(module (import \"env\" \"realm_chat\" (func (param i32 i32 i32 i32) (result i32)))"
        "(memory (export \"memory\") 1) (global (export \"a\\nb\") i32 (i32.const 1))" GENERATE
        "(i32.const 8)))";
    assert_int_equal(guest_from_text(rig->host, text, &g, &err), 0);
    json_t *about = wasm_guest_about(g);
    json_t *want = json_pack("{s:[s,s,s],s:[s]}", "exports", "memory", "a?b", "generate", "imports",
                             "env.realm_chat");
    assert_true(json_equal(about, want));
    json_decref(about);
    json_decref(want);
    wasm_guest_close(g);
}

static void test_about_is_bounded(void **state)
{
    struct rig *rig = *state;
    struct realm_error err = {0};
    struct wasm_guest *g;
    struct buf text;
    buf_init(&text, 1 << 20);
    assert_int_equal(buf_addf(&text, "(module (memory (export \"memory\") 1) (global $g i32 "
                                     "(i32.const 1))" GENERATE "(i32.const 8))"),
                     0);
    for (int i = 0; i < 2 * GUEST_NAMES_MAX; i++)
        assert_int_equal(buf_addf(&text, "(export \"e%0200d\" (global $g))", i), 0);
    assert_int_equal(buf_addf(&text, ")"), 0);
    assert_int_equal(guest_from_text(rig->host, buf_cstr(&text), &g, &err), 0);
    json_t *about = wasm_guest_about(g);
    const json_t *exports = json_object_get(about, "exports");
    assert_int_equal(json_array_size(exports), GUEST_NAMES_MAX);
    assert_true(json_string_length(json_array_get(exports, 2)) < 200);
    json_decref(about);
    wasm_guest_close(g);
    buf_free(&text);
}

#define WASI(name, type) \
    "(import \"wasi_snapshot_preview1\" \"" name "\" (func $" name " " type " (result i32)))"

static int32_t wasi_code(struct rig *rig, const char *import, const char *body)
{
    struct wasm_request r = request_of(rig, "x");
    struct outcome out;
    /* Imports must come before all else, so the guest's own come first. */
    char *text = guest_text("", body), *joined = NULL;
    size_t n = strlen(text) + strlen(import) + 2;
    joined = malloc(n);
    assert_non_null(joined);
    snprintf(joined, n, "(module %s%s", import, text + strlen("(module"));
    struct wasm_guest *g;
    if (guest_from_text(rig->host, joined, &g, &out.err))
        fail_msg("%s", out.err.message);
    out.deaf = false;
    run_guest(g, &r, &out);
    if (out.status)
        fail_msg("%s", out.err.message);
    int32_t code = (int32_t)strtoul(out.result.text, NULL, 16);
    outcome_free(&out);
    wasm_guest_close(g);
    free(joined);
    free(text);
    return code;
}

enum { BADF = 8, NOTSUP = 58 };

static void test_wasi_closed(void **state)
{
    struct rig *rig = *state;
    for (int fd = 3; fd < 6; fd++) {
        char body[200];
        snprintf(body, sizeof(body), "(call $fd_prestat_get (i32.const %d) (i32.const 4096))", fd);
        assert_int_equal(wasi_code(rig, WASI("fd_prestat_get", "(param i32 i32)"), body), BADF);
        snprintf(body, sizeof(body),
                 "(call $path_open (i32.const %d) (i32.const 0) (i32.const 256) (i32.const 1)"
                 " (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 4096))",
                 fd);
        assert_int_equal(
            wasi_code(rig, WASI("path_open", "(param i32 i32 i32 i32 i32 i64 i64 i32 i32)"), body),
            BADF);
    }
    assert_int_not_equal(wasi_code(rig, WASI("sock_accept", "(param i32 i32 i32)"),
                                   "(call $sock_accept (i32.const 3) (i32.const 0)"
                                   " (i32.const 4096))"),
                         0);
    assert_int_not_equal(wasi_code(rig, WASI("sock_send", "(param i32 i32 i32 i32 i32)"),
                                   "(call $sock_send (i32.const 1) (i32.const 4096) (i32.const 0)"
                                   " (i32.const 0) (i32.const 4096))"),
                         0);
    assert_int_equal(wasi_code(rig, WASI("poll_oneoff", "(param i32 i32 i32 i32)"),
                               "(call $poll_oneoff (i32.const 4096) (i32.const 8192) (i32.const 1)"
                               " (i32.const 4096))"),
                     NOTSUP);
    /* The environment is empty, and there is one argument. */
    assert_int_equal(wasi_code(rig, WASI("environ_sizes_get", "(param i32 i32)"),
                               "(call $environ_sizes_get (i32.const 4096) (i32.const 4100))"
                               "(i32.add (i32.load (i32.const 4096)) (i32.load (i32.const 4100)))"
                               "(i32.add)"),
                     0);
    assert_int_equal(wasi_code(rig, WASI("args_sizes_get", "(param i32 i32)"),
                               "(drop (call $args_sizes_get (i32.const 4096) (i32.const 4100)))"
                               "(i32.load (i32.const 4096))"),
                     1);
}

static void write_to_stdout(struct rig *rig)
{
    /* 200 lines of "hi\1" at most a hundred of which are logged in a second. */
    assert_int_equal(wasi_code(rig, WASI("fd_write", "(param i32 i32 i32 i32)"),
                               "(i32.store (i32.const 4096) (i32.const 8192))"
                               "(i32.store (i32.const 4100) (i32.const 4))"
                               "(i32.store (i32.const 8192) (i32.const 0x0a016968))"
                               "(loop $l (local.set $c (call $fd_write (i32.const 2)"
                               " (i32.const 4096) (i32.const 1) (i32.const 4104)))"
                               "(local.set $i (i32.add (local.get $i) (i32.const 1)))"
                               "(br_if $l (i32.lt_u (local.get $i) (i32.const 300))))"
                               "(local.get $c)"),
                     0);
}

static void test_wasi_stdout(void **state)
{
    char *log = logged(*state, write_to_stdout);
    size_t lines = 0;
    for (const char *p = log; (p = strstr(p, "guest of tester: hi\\x01\n")); p++)
        lines++;
    assert_in_range(lines, 100, 200); // two seconds may be touched
    free(log);
}

static void test_wasi_exit(void **state)
{
    struct rig *rig = *state;
    struct wasm_request r = request_of(rig, "x");
    struct outcome out = {0};
    struct wasm_guest *g;
    assert_int_equal(
        guest_from_text(rig->host,
                        "(module (import \"wasi_snapshot_preview1\" \"proc_exit\""
                        " (func $exit (param i32))) (memory (export \"memory\") 1) " GENERATE
                        "(call $exit (i32.const 7)) (i32.const 8)))",
                        &g, &out.err),
        0);
    run_guest(g, &r, &out);
    assert_int_equal(out.status, REALM_E_GUEST);
    assert_non_null(strstr(out.err.message, "exit status 7"));
    wasm_guest_close(g);
}

/* ---- the cache ---- */

struct cached {
    char dir[64];
    struct rig *rig;
};

/* Opens and closes the working guest in a host of its own over the cache. */
static struct wasm_stats open_cached(const struct cached *c)
{
    const struct wasm_host_options options = {.cache_dir = c->dir, .chat = c->rig->chat};
    struct wasm_stats stats;
    struct wasm_host *h;
    struct wasm_guest *g;
    struct realm_error err;
    assert_int_equal(wasm_host_open(&h, &options, &err), 0);
    if (guest_from_text(h, WORKING, &g, &err))
        fail_msg("%s", err.message);
    wasm_guest_close(g);
    wasm_stats(h, &stats);
    wasm_host_close(h);
    assert_int_equal(stats.compiled + stats.from_cache, 1);
    return stats;
}

static void find_artefact(const struct cached *c, char *path, size_t n)
{
    DIR *dir = opendir(c->dir);
    struct dirent *entry;
    assert_non_null(dir);
    path[0] = '\0';
    while ((entry = readdir(dir)))
        if (strstr(entry->d_name, ".cwasm"))
            snprintf(path, n, "%s/%s", c->dir, entry->d_name);
        else if (entry->d_name[0] != '.')
            assert_string_equal(entry->d_name, "key");
    closedir(dir);
    assert_int_not_equal(path[0], '\0');
}

static void write_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

/* W08: what is not our own is compiled anew. */
static void test_cache(void **state)
{
    struct cached c = {.rig = *state};
    char path[512], key[96];
    size_t n, m;
    char top[] = "/tmp/realm-cache-XXXXXX";
    assert_non_null(mkdtemp(top));
    snprintf(c.dir, sizeof(c.dir), "%s/a/b", top);
    snprintf(key, sizeof(key), "%s/key", c.dir);
    assert_int_equal(open_cached(&c).compiled, 1);
    assert_int_equal(open_cached(&c).from_cache, 1);
    assert_int_equal(mode_of(c.dir), 0700);
    assert_int_equal(mode_of(key), 0600);
    find_artefact(&c, path, sizeof(path));
    assert_int_equal(mode_of(path), 0600);
    assert_non_null(strstr(path, "48.0"));
    uint8_t *good = read_bytes(path, &n);
    /* A byte other than it was, at the front and all along, is never loaded. */
    for (size_t at = 0; at < n; at += at < 48 ? 3 : n / 24) {
        good[at] ^= 0x10;
        write_bytes(path, good, n);
        good[at] ^= 0x10;
        assert_int_equal(open_cached(&c).compiled, 1);
        uint8_t *again = read_bytes(path, &m);
        assert_int_equal(m, n);
        free(again);
        assert_int_equal(open_cached(&c).from_cache, 1);
    }
    for (size_t cut = 0; cut < n; cut += cut < 50 ? 10 : n / 3) {
        write_bytes(path, good, cut);
        assert_int_equal(open_cached(&c).compiled, 1);
    }
    good = realloc(good, n + 1);
    good[n] = 0;
    write_bytes(path, good, n + 1);
    assert_int_equal(open_cached(&c).compiled, 1);
    free(good);
    /* Under another key it is nobody's. */
    unlink(key);
    assert_int_equal(open_cached(&c).compiled, 1);
    assert_int_equal(open_cached(&c).from_cache, 1);
    /* A key that others can read is not used, nor is a folder that they can write. */
    assert_int_equal(chmod(key, 0644), 0);
    assert_int_equal(open_cached(&c).compiled, 1);
    assert_int_equal(chmod(key, 0600), 0);
    assert_int_equal(chmod(c.dir, 0777), 0);
    assert_int_equal(open_cached(&c).compiled, 1);
    assert_int_equal(chmod(c.dir, 0700), 0);
    assert_int_equal(open_cached(&c).from_cache, 1);
    unlink(path);
    unlink(key);
    for (int up = 0; up < 3; up++) {
        assert_int_equal(rmdir(c.dir), 0);
        *strrchr(c.dir, '/') = '\0';
    }
}

/* W08: an artefact under the name of another guest is not that guest. */
static void test_cache_swapped(void **state)
{
    struct cached c = {.rig = *state};
    char path[512], other[520];
    struct realm_error err;
    struct wasm_host *h;
    struct wasm_guest *g;
    struct wasm_stats stats;
    snprintf(c.dir, sizeof(c.dir), "/tmp/realm-cache-XXXXXX");
    assert_non_null(mkdtemp(c.dir));
    const struct wasm_host_options options = {.cache_dir = c.dir, .chat = c.rig->chat};
    assert_int_equal(open_cached(&c).compiled, 1);
    find_artefact(&c, path, sizeof(path));
    snprintf(other, sizeof(other), "%s.kept", path);
    assert_int_equal(rename(path, other), 0);
    static const char another[] =
        "(module (memory (export \"memory\") 1) " GENERATE "(i32.const 9)))";
    for (int round = 0; round < 2; round++) {
        assert_int_equal(wasm_host_open(&h, &options, &err), 0);
        assert_int_equal(guest_from_text(h, another, &g, &err), 0);
        wasm_guest_close(g);
        wasm_stats(h, &stats);
        assert_int_equal(stats.compiled, 1);
        wasm_host_close(h);
        if (round == 0) {
            char name[512];
            size_t n;
            uint8_t *bytes = read_bytes(other, &n);
            unlink(other);
            find_artefact(&c, name, sizeof(name));
            write_bytes(name, bytes, n);
            free(bytes);
        }
    }
    find_artefact(&c, path, sizeof(path));
    unlink(path);
    snprintf(path, sizeof(path), "%s/key", c.dir);
    unlink(path);
    assert_int_equal(rmdir(c.dir), 0);
}

int wasm_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),          cmocka_unit_test(test_refused_bytes),
        cmocka_unit_test(test_odd_types),        cmocka_unit_test(test_unknown_imports),
        cmocka_unit_test(test_wasi_closed),      cmocka_unit_test(test_wasi_stdout),
        cmocka_unit_test(test_wasi_exit),        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_cache_swapped),    cmocka_unit_test(test_about),
        cmocka_unit_test(test_about_is_bounded),
    };
    return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
