/* What the writer writes is what the parser reads; what fails leaves nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/io.h"
#include "base/mem.h"
#include "gguf/file.h"
#include "gguf/write.h"

static const char *fixtures;
static char folder[] = "/tmp/gguf-write-XXXXXX";
static char target[64];

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(target, sizeof(target), "%s/out.gguf", folder);
    return 0;
}

static unsigned files_in_folder(void)
{
    unsigned n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(target);
    return rmdir(folder);
}

static uint8_t *read_all(const char *path, size_t *n)
{
    uint8_t *p;
    struct realm_error err;
    if (io_read_file(io_system(), path, 64 << 20, &p, n, &err))
        fail_msg("%s", err.message);
    return p;
}

/* Writes all of f's values, tensors and data, in pieces of `piece` bytes. */
static int copy(const struct gguf_file *f, size_t piece, struct realm_error *err)
{
    const struct gguf *g = gguf_file_header(f);
    struct gguf_writer *w;
    int status = gguf_writer_open(&w, target, gguf_values(g), gguf_file_tensors(f), err);
    if (status)
        return status;
    for (size_t i = 0; i < gguf_values(g) && !status; i++)
        status = gguf_writer_value(w, gguf_value(g, i));
    for (size_t i = 0; i < gguf_file_tensors(f) && !status; i++)
        status = gguf_writer_tensor(w, gguf_file_tensor(f, i));
    for (size_t i = 0; i < gguf_file_tensors(f); i++) {
        const struct gguf_tensor *t = gguf_file_tensor(f, i);
        for (uint64_t at = 0; at < t->bytes && !status; at += piece) {
            uint8_t data[64];
            size_t n = t->bytes - at < piece ? (size_t)(t->bytes - at) : piece;
            assert_int_equal(gguf_file_read(f, t, at, data, n, err), 0);
            status = gguf_writer_data(w, data, n);
        }
    }
    return gguf_writer_close(w, err);
}

static struct gguf_file *open_fixture(const char *name)
{
    char path[4096];
    struct gguf_file *f;
    struct realm_error err;
    snprintf(path, sizeof(path), "%s/%s", fixtures, name);
    if (gguf_file_open(&f, io_system(), path, 0, &err))
        fail_msg("%s", err.message);
    return f;
}

/* A file whose tensors lie in the order of their records comes out the same,
 * byte for byte (the fixture's end is padded by the writer). */
static void a_copy_is_the_same(void **state)
{
    (void)state;
    struct gguf_file *f = open_fixture("v3.gguf");
    char path[4096];
    snprintf(path, sizeof(path), "%s/v3.gguf", fixtures);
    size_t n, m;
    uint8_t *want = read_all(path, &n);
    for (size_t piece = 1; piece <= 64; piece += 21) {
        struct realm_error err;
        if (copy(f, piece, &err))
            fail_msg("%s", err.message);
        uint8_t *got = read_all(target, &m);
        assert_int_equal(m, (n + 31) / 32 * 32);
        assert_memory_equal(got, want, n);
        assert_int_equal(files_in_folder(), 1);
        mem_free(got);
    }
    mem_free(want);
    gguf_file_close(f);
}

static void the_alignment_is_kept(void **state)
{
    (void)state;
    struct gguf_file *f = open_fixture("align64.gguf");
    struct realm_error err;
    if (copy(f, 16, &err))
        fail_msg("%s", err.message);
    struct gguf_file *again;
    assert_int_equal(gguf_file_open(&again, io_system(), target, 0, &err), 0);
    assert_int_equal(gguf_alignment(gguf_file_header(again)), 64);
    uint8_t a[4];
    assert_int_equal(gguf_file_read(again, gguf_file_find(again, "a"), 0, a, 4, &err), 0);
    assert_int_equal(a[0], 7);
    gguf_file_close(again);
    gguf_file_close(f);
}

static void values_of_our_own(void **state)
{
    (void)state;
    struct gguf_writer *w;
    struct realm_error err;
    struct gguf_tensor t = {
        .name = slice_of("t"), .dtype = 0, .n_dims = 2, .dims = {600, 600, 9, 9}};
    static float data[600 * 600];
    for (size_t i = 0; i < ARRAY_LEN(data); i++)
        data[i] = (float)i;
    assert_int_equal(gguf_writer_open(&w, target, 2, 1, &err), 0);
    assert_int_equal(gguf_writer_u32(w, "number", 5), 0);
    assert_int_equal(gguf_writer_string(w, "text", "abc"), 0);
    assert_int_equal(gguf_writer_tensor(w, &t), 0);
    assert_int_equal(gguf_writer_data(w, data, sizeof(data)), 0); // more than the buffer
    assert_int_equal(gguf_writer_close(w, &err), 0);
    struct gguf_file *f;
    assert_int_equal(gguf_file_open(&f, io_system(), target, 0, &err), 0);
    uint32_t number;
    struct slice text;
    float last;
    assert_int_equal(gguf_get_u32(gguf_file_header(f), "number", &number, &err), 0);
    assert_int_equal(gguf_get_string(gguf_file_header(f), "text", &text, &err), 0);
    assert_true(number == 5 && slice_is(text, "abc"));
    assert_int_equal(gguf_file_read(f, gguf_file_tensor(f, 0), sizeof(data) - 4, &last, 4, &err),
                     0);
    assert_true(last == 359999);
    gguf_file_close(f);
}

/* What was announced must come, in order, and no more; else no file appears and
 * the one that was there stays. */
static void misuse_leaves_the_old_file(void **state)
{
    (void)state;
    struct gguf_tensor t = {.name = slice_of("t"), .n_dims = 1, .dims = {4}};
    struct gguf_tensor odd = {.name = slice_of("t"), .dtype = 8, .n_dims = 1, .dims = {33}};
    size_t n, m;
    uint8_t *before = read_all(target, &n);
    for (int misuse = 0; misuse < 8; misuse++) {
        struct gguf_writer *w;
        struct realm_error err = {0};
        float data[5] = {0};
        int last = 0;
        assert_int_equal(gguf_writer_open(&w, target, misuse == 0, 1, &err), 0);
        if (misuse == 1)
            last = gguf_writer_u32(w, "more", 1);
        if (misuse == 2)
            last = gguf_writer_data(w, data, 4); // before its record
        if (misuse == 3)
            last = gguf_writer_tensor(w, &odd);
        if (misuse != 3)
            last = gguf_writer_tensor(w, &t);
        if (misuse == 4)
            last = gguf_writer_tensor(w, &t);
        if (misuse == 5)
            last = gguf_writer_data(w, data, 20);
        if (misuse == 6)
            last = gguf_writer_data(w, data, 12);
        if (misuse == 7)
            assert_int_equal(gguf_writer_data(w, data, 16), 0);
        if (misuse == 7)
            last = gguf_writer_data(w, data, 1);
        assert_true(last == (misuse == 6 ? 0 : REALM_E_ARG));
        assert_int_equal(gguf_writer_close(w, &err), REALM_E_ARG);
        assert_non_null(strstr(err.message, "out.gguf"));
        assert_int_equal(files_in_folder(), 1);
        uint8_t *after = read_all(target, &m);
        assert_int_equal(m, n);
        assert_memory_equal(before, after, n);
        mem_free(after);
    }
    mem_free(before);
}

/* The file may grow to 1 KiB only: as good as a full disk. */
static void a_write_that_fails_is_told(void **state)
{
    (void)state;
    struct gguf_file *f = open_fixture("v3.gguf");
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 1024;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct realm_error err = {0};
    int status = copy(f, 64, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(status, REALM_E_IO);
    assert_non_null(strstr(err.message, "writing failed"));
    assert_int_equal(files_in_folder(), 1);
    gguf_file_close(f);
    struct gguf_writer *w;
    assert_int_equal(gguf_writer_open(&w, "/nonexistent/x.gguf", 0, 0, &err), REALM_E_IO);
    assert_null(w);
}

static void only_a_file_is_replaced(void **state)
{
    (void)state;
    struct gguf_writer *w;
    struct realm_error err = {0};
    assert_int_equal(gguf_writer_open(&w, "/tmp", 0, 0, &err), REALM_E_ARG);
    assert_null(w);
    assert_string_equal(err.message, "/tmp is a folder");
    char pipe[PATH_MAX];
    snprintf(pipe, sizeof(pipe), "%s.pipe", target);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(gguf_writer_open(&w, pipe, 0, 0, &err), REALM_E_ARG);
    assert_non_null(strstr(err.message, "no regular file"));
    struct stat there;
    assert_true(stat(pipe, &there) == 0 && S_ISFIFO(there.st_mode));
    unlink(pipe);
}

static void every_failing_allocation(void **state)
{
    (void)state;
    struct gguf_file *f = open_fixture("v3.gguf");
    for (uint64_t at = 1;; at++) {
        struct realm_error err = {0};
        uint64_t live = mem_live();
        mem_fail_at(at, 0);
        int status = copy(f, 64, &err);
        mem_fail_at(0, 0);
        assert_int_equal(mem_live(), live);
        assert_int_equal(files_in_folder(), 1);
        if (status == 0) {
            assert_true(at > 4);
            break;
        }
        assert_true(status == REALM_E_NOMEM || status == REALM_E_IO);
    }
    gguf_file_close(f);
}

int main(int argc, char **argv)
{
    fixtures = argc > 1 ? argv[1] : ".";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_the_same),         cmocka_unit_test(the_alignment_is_kept),
        cmocka_unit_test(values_of_our_own),          cmocka_unit_test(misuse_leaves_the_old_file),
        cmocka_unit_test(a_write_that_fails_is_told), cmocka_unit_test(every_failing_allocation),
        cmocka_unit_test(only_a_file_is_replaced),
    };
    return cmocka_run_group_tests_name("gguf/write", tests, set_up, tear_down);
}
