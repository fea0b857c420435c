/* Good files, typed reads, split models and files that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/mem.h"
#include "gguf/file.h"

static const char *fixtures;

/* Processor time, so that a busy machine does not count. */
static uint64_t cpu_ms(void)
{
    return (uint64_t)clock() * 1000 / CLOCKS_PER_SEC;
}

static const char *path_of(const char *name)
{
    static char path[2][4096];
    static int turn;
    turn ^= 1;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", fixtures, name);
    return path[turn];
}

static struct gguf_file *open_good(const char *name)
{
    struct gguf_file *f;
    struct realm_error err = {0};
    if (gguf_file_open(&f, io_system(), path_of(name), 0, &err))
        fail_msg("%s", err.message);
    return f;
}

static void must_fail(const char *path, unsigned flags, int want, const char *needle)
{
    struct gguf_file *f = (struct gguf_file *)&f;
    struct realm_error err = {0};
    uint64_t live = mem_live();
    assert_int_equal(gguf_file_open(&f, io_system(), path, flags, &err), want);
    assert_null(f);
    assert_int_equal(err.status, want);
    if (!strstr(err.message, needle))
        fail_msg("\"%s\" does not say \"%s\"", err.message, needle);
    if (strchr(err.message, '/'))
        fail_msg("\"%s\" shows a folder", err.message);
    assert_int_equal(mem_live(), live);
}

/* The bytes (start + i) % 251 that mkgguf.py writes. */
static void check_pattern(const struct gguf_file *f, const char *name, unsigned start)
{
    const struct gguf_tensor *t = gguf_file_find(f, name);
    assert_non_null(t);
    uint8_t data[512];
    struct realm_error err;
    assert_true(t->bytes <= sizeof(data));
    assert_int_equal(gguf_file_read(f, t, 0, data, t->bytes, &err), 0);
    for (uint64_t i = 0; i < t->bytes; i++)
        assert_int_equal(data[i], (start + i) % 251);
    assert_int_equal(gguf_file_read(f, t, t->bytes - 3, data, 3, &err), 0);
    assert_int_equal(data[0], (start + t->bytes - 3) % 251);
}

static void check_numbers(const struct gguf *g)
{
    static const struct {
        const char *key;
        uint32_t value;
    } fits[] = {{"k.u8", 200},       {"k.u16", 60000},    {"k.u32", 4000000000},
                {"k.u64.small", 77}, {"k.i64.small", 78}, {"k.i32.small", 79}};
    static const struct {
        const char *key, *shown;
    } wide[] = {{"k.i8", "is -100,"},
                {"k.i16", "is -30000,"},
                {"k.i32", "is -2000000000,"},
                {"k.u64", "is 9223372036854775808,"},
                {"k.i64", "is -4611686018427387904,"},
                {"k.i8.min", "is -128,"},
                {"k.i64.min", "is -9223372036854775808,"}};
    struct realm_error err;
    uint32_t v;
    for (size_t i = 0; i < ARRAY_LEN(fits); i++) {
        assert_int_equal(gguf_get_u32(g, fits[i].key, &v, &err), 0);
        assert_int_equal(v, fits[i].value);
    }
    for (size_t i = 0; i < ARRAY_LEN(wide); i++) {
        v = 1234;
        assert_int_equal(gguf_get_u32(g, wide[i].key, &v, &err), REALM_E_FORMAT);
        assert_non_null(strstr(err.message, wide[i].shown));
        assert_non_null(strstr(err.message, wide[i].key));
        assert_int_equal(v, 1234);
    }
}

static void check_others(const struct gguf *g)
{
    struct realm_error err;
    float f;
    bool b;
    struct slice s;
    assert_int_equal(gguf_get_f32(g, "k.f32", &f, &err), 0);
    assert_true(f == 1.5f);
    assert_int_equal(gguf_get_bool(g, "k.bool", &b, &err), 0);
    assert_true(b);
    assert_int_equal(gguf_get_bool(g, "k.false", &b, &err), 0);
    assert_false(b);
    assert_int_equal(gguf_get_string(g, "k.string", &s, &err), 0);
    assert_true(slice_is(s, "h\xc3\xa9llo"));
    assert_int_equal(gguf_get_string(g, "k.empty", &s, &err), 0);
    assert_int_equal(s.n, 0);
    double d;
    memcpy(&d, gguf_find(g, "k.f64")->data.p, 8);
    assert_true(d == 0.1);
}

static void check_arrays(const struct gguf *g)
{
    static const struct {
        const char *key;
        enum gguf_type type;
        uint64_t count;
        const char *data;
    } arrays[] = {
        {"a.u8", GGUF_U8, 3, "\1\2\xff"},
        {"a.i8", GGUF_I8, 2, "\xff\2"},
        {"a.u16", GGUF_U16, 2, "\1\0\xff\xff"},
        {"a.i16", GGUF_I16, 2, "\xff\xff\1\0"},
        {"a.u32", GGUF_U32, 4, "\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0"},
        {"a.i32", GGUF_I32, 2, "\xfb\xff\xff\xff\6\0\0\0"},
        {"a.f32", GGUF_F32, 2, "\0\0\0\x3f\0\0\x80\xbe"},
        {"a.bool", GGUF_BOOL, 3, "\0\1\1"},
        {"a.u64", GGUF_U64, 1, "\0\0\0\0\0\0\0\x10"},
        {"a.i64", GGUF_I64, 1, "\xff\xff\xff\xff\xff\xff\xff\xff"},
        {"a.f64", GGUF_F64, 1, "\0\0\0\0\0\0\4\x40"},
        {"a.none", GGUF_STRING, 0, ""},
        {"a.no.u32", GGUF_U32, 0, ""},
    };
    struct realm_error err;
    const struct gguf_value *v;
    for (size_t i = 0; i < ARRAY_LEN(arrays); i++) {
        assert_int_equal(gguf_get_array(g, arrays[i].key, arrays[i].type, &v, &err), 0);
        assert_int_equal(v->count, arrays[i].count);
        assert_memory_equal(v->data.p, arrays[i].data, v->data.n);
    }
    assert_int_equal(gguf_get_array(g, "a.u32", GGUF_U32, &v, &err), 0);
    assert_int_equal(v->data.n, 16);
    assert_int_equal(gguf_get_array(g, "a.string", GGUF_STRING, &v, &err), 0);
    static const char *const texts[] = {"a", "", "\xe4\xb8\x96\xe7\x95\x8c", "\xff raw"};
    struct bytes it = bytes_from(v->data.p, v->data.n);
    assert_int_equal(v->count, ARRAY_LEN(texts));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_true(slice_is(gguf_next_string(&it), texts[i]));
    assert_int_equal(bytes_left(&it), 0);
}

static void check_tensors(const struct gguf_file *f)
{
    static const struct {
        const char *name;
        uint32_t dtype, n_dims;
        uint64_t dims[4], bytes;
        unsigned start;
    } want[] = {{"tok", 0, 2, {32, 2, 1, 1}, 256, 1},
                {"half", 1, 1, {5, 1, 1, 1}, 10, 2},
                {"quant", 8, 4, {64, 3, 1, 2}, 408, 3},
                {"named", 9, 2, {32, 2, 1, 1}, 72, 4}};
    assert_int_equal(gguf_file_tensors(f), ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        const struct gguf_tensor *t = gguf_file_tensor(f, i);
        assert_true(slice_is(t->name, want[i].name));
        assert_int_equal(t->dtype, want[i].dtype);
        assert_int_equal(t->n_dims, want[i].n_dims);
        assert_memory_equal(t->dims, want[i].dims, sizeof(t->dims));
        assert_int_equal(t->bytes, want[i].bytes);
        assert_int_equal(t->part, 0);
        check_pattern(f, want[i].name, want[i].start);
    }
}

static void both_versions_are_read_whole(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        struct gguf_file *f = open_good(version == 2 ? "v2.gguf" : "v3.gguf");
        const struct gguf *g = gguf_file_header(f);
        assert_int_equal(gguf_version(g), version);
        assert_int_equal(gguf_alignment(g), 32);
        assert_int_equal(gguf_values(g), 34);
        assert_true(slice_is(gguf_value(g, 0)->key, "general.architecture"));
        check_numbers(g);
        check_others(g);
        check_arrays(g);
        check_tensors(f);
        assert_null(gguf_find(g, "k.u3"));
        assert_null(gguf_file_find(f, "toke"));
        assert_int_equal(gguf_file_parts(f), 1);
        assert_true(gguf_file_bytes(f) == gguf_data_offset(g) + 776);
        gguf_file_close(f);
    }
}

static void other_layouts_are_read(void **state)
{
    (void)state;
    struct gguf_file *f = open_good("align64.gguf");
    assert_int_equal(gguf_alignment(gguf_file_header(f)), 64);
    check_pattern(f, "a", 7);
    check_pattern(f, "b", 9);
    gguf_file_close(f);
    f = open_good("vocab.gguf");
    assert_int_equal(gguf_file_tensors(f), 0);
    gguf_file_close(f);
}

/* Every getter against a value of every type, scalar and array. */
static void wrong_types_are_told(void **state)
{
    (void)state;
    static const char *const names[] = {"u8",  "i8",   "u16",    "i16", "u32", "i32",
                                        "f32", "bool", "string", "u64", "i64", "f64"};
    struct gguf_file *f = open_good("v3.gguf");
    const struct gguf *g = gguf_file_header(f);
    unsigned refused = 0;
    for (size_t i = 0; i < 2 * ARRAY_LEN(names); i++) {
        bool array = i >= ARRAY_LEN(names);
        const char *name = names[i % ARRAY_LEN(names)];
        char key[16], has[64];
        snprintf(key, sizeof(key), "%s.%s", array ? "a" : "k", name);
        snprintf(has, sizeof(has), "key %s has type %s%s, want ", key, array ? "array of " : "",
                 name);
        for (int getter = 0; getter < 5; getter++) {
            struct realm_error err = {0};
            uint32_t u = 1;
            float fl = 2;
            bool b = true;
            struct slice s = {NULL, 4};
            const struct gguf_value *v = NULL;
            int status = getter == 0   ? gguf_get_u32(g, key, &u, &err)
                         : getter == 1 ? gguf_get_f32(g, key, &fl, &err)
                         : getter == 2 ? gguf_get_bool(g, key, &b, &err)
                         : getter == 3 ? gguf_get_string(g, key, &s, &err)
                                       : gguf_get_array(g, key, GGUF_STRING, &v, &err);
            static const char *const takes[] = {"", "f32", "bool", "string", "string"};
            if (getter == 0 && !array && (name[0] == 'u' || name[0] == 'i'))
                continue; // every integer may do
            if (array == (getter == 4) && strcmp(name, takes[getter]) == 0) {
                assert_int_equal(status, 0);
                continue;
            }
            assert_int_equal(status, REALM_E_FORMAT);
            if (strncmp(err.message, has, strlen(has)) != 0)
                fail_msg("\"%s\" does not begin with \"%s\"", err.message, has);
            assert_true(u == 1 && fl == 2 && b && s.n == 4 && !v);
            refused++;
        }
    }
    assert_int_equal(refused, 24 * 5 - 8 - 4);
    gguf_file_close(f);
}

static void absent_keys_leave_defaults(void **state)
{
    (void)state;
    struct gguf_file *f = open_good("v3.gguf");
    const struct gguf *g = gguf_file_header(f);
    struct realm_error err = {.status = 5};
    uint32_t u = 7;
    float fl = 8;
    bool b = true;
    struct slice s = slice_of("s");
    const struct gguf_value *v = NULL;
    assert_int_equal(gguf_get_u32(g, "none", &u, &err), REALM_E_NOT_FOUND);
    assert_int_equal(gguf_get_f32(g, "none", &fl, &err), REALM_E_NOT_FOUND);
    assert_int_equal(gguf_get_bool(g, "none", &b, &err), REALM_E_NOT_FOUND);
    assert_int_equal(gguf_get_string(g, "none", &s, &err), REALM_E_NOT_FOUND);
    assert_int_equal(gguf_get_array(g, "none", GGUF_U8, &v, &err), REALM_E_NOT_FOUND);
    assert_true(u == 7 && fl == 8 && b && slice_is(s, "s") && !v && err.status == 5);
    gguf_file_close(f);
}

static void parts_make_one_model(void **state)
{
    (void)state;
    struct gguf_file *f = open_good("part-00001-of-00003.gguf");
    assert_int_equal(gguf_file_parts(f), 3);
    assert_int_equal(gguf_file_tensors(f), 3);
    check_pattern(f, "one", 10);
    check_pattern(f, "two", 20);
    check_pattern(f, "three", 30);
    assert_int_equal(gguf_file_find(f, "three")->part, 2);
    gguf_file_close(f);
    f = open_good("one-00001-of-00001.gguf");
    assert_int_equal(gguf_file_parts(f), 1);
    assert_int_equal(gguf_file_tensors(f), 3);
    gguf_file_close(f);
}

static void parts_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *folder;
        int status;
        const char *needle;
    } bad[] = {
        {"missing", REALM_E_NOT_FOUND, "part-00002-of-00003.gguf: no such file"},
        {"keys", REALM_E_FORMAT, "part-00002-of-00003.gguf: key k.u32 is not as in the first"},
        {"new", REALM_E_FORMAT, "part-00002-of-00003.gguf: key k.new is not as in the first"},
        {"number", REALM_E_FORMAT, "it says that it is part 3 of 3, want 2 of 3"},
        {"count", REALM_E_FORMAT, "it says that it is part 2 of 2, want 2 of 3"},
        {"twice", REALM_E_FORMAT, "tensor \"one\" is in two parts"},
        {"total", REALM_E_FORMAT, "split.tensors.count is 3, the parts have 4"},
        {"sum", REALM_E_FORMAT, "split.tensors.count is 4, in the first part it is 3"},
        {"cut", REALM_E_FORMAT,
         "part-00002-of-00003.gguf: the file is cut short or damaged: it ends at "},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char name[128];
        snprintf(name, sizeof(name), "bad-split-%s/part-00001-of-00003.gguf", bad[i].folder);
        must_fail(path_of(name), 0, bad[i].status, bad[i].needle);
    }
    must_fail(path_of("part-00002-of-00003.gguf"), 0, REALM_E_FORMAT, "open the first");
    must_fail(path_of("bad-split-name.gguf"), 0, REALM_E_FORMAT, "must be named");
    must_fail(path_of("bad-split-zero.gguf"), 0, REALM_E_FORMAT, "split.count is 0, want 1 to 256");
    must_fail(path_of("bad-split-many.gguf"), 0, REALM_E_FORMAT, "split.count is 257");
    must_fail(path_of("bad-split-type.gguf"), 0, REALM_E_FORMAT, "has type string, want u32");
    must_fail(path_of("bad-split-beyond.gguf"), 0, REALM_E_FORMAT, "but split.count is 1");
    size_t n;
    uint8_t *p;
    struct realm_error err;
    struct gguf_file *f;
    assert_int_equal(
        io_read_file(io_system(), path_of("part-00001-of-00003.gguf"), 1 << 20, &p, &n, &err), 0);
    assert_int_equal(gguf_file_from_memory(&f, p, n, &err), REALM_E_FORMAT);
    assert_non_null(strstr(err.message, "cannot be read from memory"));
    assert_null(f);
    mem_free(p);
}

static void memory_is_copied(void **state)
{
    (void)state;
    size_t n;
    uint8_t *p;
    struct realm_error err;
    struct gguf_file *f;
    assert_int_equal(io_read_file(io_system(), path_of("v3.gguf"), 1 << 20, &p, &n, &err), 0);
    assert_int_equal(gguf_file_from_memory(&f, p, n, &err), 0);
    memset(p, 0xa5, n);
    mem_free(p);
    check_arrays(gguf_file_header(f));
    check_tensors(f);
    assert_true(gguf_file_bytes(f) == n);
    gguf_file_close(f);
    assert_int_equal(gguf_file_from_memory(&f, NULL, 0, &err), REALM_E_FORMAT);
}

static void what_is_no_model_is_refused(void **state)
{
    (void)state;
    must_fail(path_of("nothing.gguf"), 0, REALM_E_NOT_FOUND, "nothing.gguf: no such file");
    must_fail(path_of("bad-empty.gguf"), 0, REALM_E_FORMAT, "bad-empty.gguf: the file is empty");
    must_fail(path_of("bad-magic-alone.gguf"), 0, REALM_E_FORMAT, "it ends at offset 4");
    must_fail(path_of("bad-lora.gguf"), 0, REALM_E_FORMAT, "does not begin with GGUF");
    must_fail(path_of("bad-v1.gguf"), 0, REALM_E_FORMAT, "version 1 is too old");
    must_fail(path_of("bad-v4.gguf"), 0, REALM_E_FORMAT, "version 4 is unknown");
    must_fail(path_of("bad-swapped.gguf"), 0, REALM_E_FORMAT, "big endian");
    must_fail(fixtures, 0, REALM_E_IO, "a folder, not a file");
    must_fail("/dev/zero", 0, REALM_E_IO, "zero: not a regular file");
    char fifo[4096];
    snprintf(fifo, sizeof(fifo), "%s", path_of("fifo.gguf"));
    unlink(fifo);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    must_fail(fifo, 0, REALM_E_IO, "not a regular file"); // and does not wait for a writer
    unlink(fifo);
}

/* A link named by the operator is followed, one named by anybody else is not. */
static void links_do_not_lead_out(void **state)
{
    (void)state;
    char link[4096], folder[4096], name[128];
    snprintf(link, sizeof(link), "%s", path_of("link.gguf"));
    unlink(link);
    assert_int_equal(symlink("v3.gguf", link), 0);
    struct gguf_file *f = open_good("link.gguf");
    gguf_file_close(f);
    must_fail(link, IO_BENEATH, REALM_E_NOT_FOUND, "link.gguf");
    unlink(link);

    /* A sibling that is a link; then the whole folder under a link's name. */
    snprintf(folder, sizeof(folder), "%s", path_of("linked"));
    mkdir(folder, 0700);
    for (int i = 1; i <= 3; i++) {
        char target[128];
        snprintf(name, sizeof(name), "linked/part-0000%d-of-00003.gguf", i);
        snprintf(target, sizeof(target), "../part-0000%d-of-00003.gguf", i);
        unlink(path_of(name));
        assert_int_equal(symlink(target, path_of(name)), 0);
    }
    must_fail(path_of("linked/part-00001-of-00003.gguf"), 0, REALM_E_NOT_FOUND,
              "part-00002-of-00003.gguf: a link that leads nowhere, or that is not followed here");
    unlink(path_of("alias"));
    assert_int_equal(symlink(".", path_of("alias")), 0);
    f = open_good("alias/part-00001-of-00003.gguf");
    gguf_file_close(f);
    unlink(path_of("alias"));
}

/* A header that the first read does not hold, then one that claims far more
 * than a machine has: no memory is taken for either's data. */
static void long_and_sparse_files(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof(path), "%s", path_of("sparse.gguf"));
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    uint64_t text_n = 5 << 20, rows = 10ull << 30 >> 5, type_and_n[2] = {0, text_n};
    uint8_t head[] = "GGUF\3\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0k\10\0\0\0";
    size_t head_n = sizeof(head) - 1;
    assert_int_equal(pwrite(fd, head, head_n, 0), head_n);
    assert_int_equal(pwrite(fd, &type_and_n[1], 8, (off_t)head_n), 8);
    uint8_t record[] = "\1\0\0\0\0\0\0\0w\2\0\0\0\10\0\0\0\0\0\0\0........\0\0\0\0\0\0\0\0\0\0\0\0";
    memcpy(record + 21, &rows, 8);
    off_t record_at = (off_t)(head_n + 8 + text_n);
    assert_int_equal(pwrite(fd, record, sizeof(record) - 1, record_at), sizeof(record) - 1);
    uint64_t data_at = ((uint64_t)record_at + sizeof(record) - 1 + 31) / 32 * 32;
    if (ftruncate(fd, (off_t)(data_at + (10ull << 30)))) {
        print_message("# skipped: no sparse files of 10 GiB here\n");
    } else {
        uint64_t start = cpu_ms(); // nobody reads 10 GiB in that
        struct gguf_file *f = open_good("sparse.gguf");
        assert_true(gguf_file_find(f, "w")->bytes == 10ull << 30);
        uint8_t last = 1;
        struct realm_error err;
        assert_int_equal(
            gguf_file_read(f, gguf_file_find(f, "w"), (10ull << 30) - 1, &last, 1, &err), 0);
        assert_int_equal(last, 0);
        assert_true(cpu_ms() - start < 1000);
        /* The file becomes shorter while it is open. */
        assert_int_equal(ftruncate(fd, (off_t)data_at + 100), 0);
        assert_int_equal(gguf_file_read(f, gguf_file_find(f, "w"), 0, record, 8, &err), 0);
        assert_int_equal(gguf_file_read(f, gguf_file_find(f, "w"), 96, record, 8, &err),
                         REALM_E_IO);
        assert_non_null(strstr(err.message, "tensor \"w\""));
        gguf_file_close(f);
        must_fail(path, 0, REALM_E_FORMAT, "tensor \"w\"");
    }
    close(fd);
    unlink(path);
}

/* ---- reads that fail ---- */

static struct {
    int reads_left;
    int short_reads;
} faults;

static int fault_open(void *ctx, const char *path, unsigned flags, int *fd, uint64_t *size)
{
    (void)ctx;
    return io_system()->open(io_system()->ctx, path, flags, fd, size);
}

static int64_t fault_pread(void *ctx, int fd, void *dst, size_t n, uint64_t offset)
{
    (void)ctx;
    if (faults.reads_left-- == 0)
        return REALM_E_IO;
    return io_system()->pread(io_system()->ctx, fd, dst, faults.short_reads && n > 7 ? 7 : n,
                              offset);
}

static void fault_close(void *ctx, int fd)
{
    (void)ctx;
    io_system()->close(io_system()->ctx, fd);
}

static void every_failing_read_is_told(void **state)
{
    (void)state;
    static const struct io io = {fault_open, fault_pread, fault_close, NULL};
    struct realm_error err = {0};
    for (int at = 0;; at++) {
        faults.reads_left = at;
        faults.short_reads = 1;
        struct gguf_file *f = NULL;
        uint64_t live = mem_live();
        int fd = open("/dev/null", O_RDONLY);
        close(fd);
        int status = gguf_file_open(&f, &io, path_of("part-00001-of-00003.gguf"), 0, &err);
        if (status == 0) {
            assert_true(at > 30);
            faults.reads_left = 1000;
            check_pattern(f, "two", 20); // short reads are put together
            gguf_file_close(f);
            break;
        }
        assert_int_equal(status, REALM_E_IO);
        assert_non_null(strstr(err.message, "reading failed"));
        assert_int_equal(mem_live(), live);
        int again = open("/dev/null", O_RDONLY);
        close(again);
        assert_int_equal(fd, again); // no descriptor was left open
    }
}

int main(int argc, char **argv)
{
    fixtures = argc > 1 ? argv[1] : ".";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_versions_are_read_whole),
        cmocka_unit_test(other_layouts_are_read),
        cmocka_unit_test(wrong_types_are_told),
        cmocka_unit_test(absent_keys_leave_defaults),
        cmocka_unit_test(parts_make_one_model),
        cmocka_unit_test(parts_that_do_not_fit_are_refused),
        cmocka_unit_test(memory_is_copied),
        cmocka_unit_test(what_is_no_model_is_refused),
        cmocka_unit_test(links_do_not_lead_out),
        cmocka_unit_test(long_and_sparse_files),
        cmocka_unit_test(every_failing_read_is_told),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
