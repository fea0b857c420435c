/* The commands on files: `realm inspect` and `realm quantize`, called as main
 * calls them, on models that are written here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cmd.h"
#include "gguf/file.h"
#include "gguf/write.h"
#include "tensor/quant.h"

enum { LAYERS = 16, WIDTH = 512, ROWS = 3 };

static const char *fixtures;
static char folder[] = "/tmp/realm-files-XXXXXX";
static char in_path[64], out_path[64], said_path[64], told_path[64];

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(in_path, sizeof(in_path), "%s/in.gguf", folder);
    snprintf(out_path, sizeof(out_path), "%s/out.gguf", folder);
    snprintf(said_path, sizeof(said_path), "%s/.said", folder);
    snprintf(told_path, sizeof(told_path), "%s/.told", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(in_path);
    unlink(out_path);
    unlink(said_path);
    unlink(told_path);
    return rmdir(folder);
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

static char *read_text(const char *path)
{
    uint8_t *p;
    size_t n;
    struct realm_error err;
    assert_int_equal(io_read_file(io_system(), path, 1 << 20, &p, &n, &err), 0);
    return (char *)p;
}

/* Runs a command with stdout in said_path and stderr in told_path. */
static int run(int (*command)(int, char **), const char *name, const char *a, const char *b,
               const char *c)
{
    char copies[4][256];
    char *argv[5] = {0};
    const char *const given[4] = {name, a, b, c};
    int argc = 0;
    for (; argc < 4 && given[argc]; argc++) {
        snprintf(copies[argc], sizeof(copies[argc]), "%s", given[argc]);
        argv[argc] = copies[argc];
    }
    fflush(stdout);
    fflush(stderr);
    int out = dup(1), err = dup(2);
    int said = open(said_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int told = open(told_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(out >= 0 && err >= 0 && said >= 0 && told >= 0);
    dup2(said, 1);
    dup2(told, 2);
    int status = command(argc, argv);
    fflush(stdout);
    fflush(stderr);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    close(said);
    close(told);
    return status;
}

static void must_hold(const char *path, const char *needle)
{
    char *text = read_text(path);
    if (!strstr(text, needle))
        fail_msg("\"%s\" does not hold \"%s\"", text, needle);
    mem_free(text);
}

static float weight(uint64_t tensor, uint64_t i)
{
    return (float)(rng_unit(tensor, 1, i) + rng_unit(tensor, 2, i) - 1);
}

struct made {
    char name[48];
    uint32_t n_dims;
    uint64_t dims[2];
};

/* Where experts have what ffn_down is elsewhere. */
static const char *const downs[] = {"blk.0.ffn_down_exps.weight", "blk.0.ffn_down.5.weight",
                                    "blk.0.ffn_down_shexp.weight"};

/* The tensors of a model of LAYERS layers, and some with odd rows. */
static size_t list_tensors(struct made *list, bool tied)
{
    static const char *const parts[] = {"attn_q", "attn_v", "ffn_down", "attn_norm",
                                        "ffn_gate_inp"};
    size_t n = 0;
    list[n++] = (struct made){"token_embd.weight", 2, {WIDTH, ROWS}};
    for (int i = 0; i < LAYERS; i++) {
        for (size_t j = 0; j < ARRAY_LEN(parts); j++) {
            list[n] = (struct made){.n_dims = j == 3 ? 1 : 2, .dims = {WIDTH, j == 3 ? 1 : ROWS}};
            snprintf(list[n].name, sizeof(list[n].name), "blk.%d.%s.weight", i, parts[j]);
            n++;
        }
    }
    if (!tied)
        list[n++] = (struct made){"output.weight", 2, {WIDTH, ROWS}};
    list[n++] = (struct made){"blk.0.ffn_up.weight", 2, {96, ROWS}};
    list[n++] = (struct made){"blk.0.ffn_gate.weight", 2, {10, ROWS}};
    for (size_t j = 0; j < ARRAY_LEN(downs); j++) {
        list[n] = (struct made){.n_dims = 2, .dims = {WIDTH, ROWS}};
        snprintf(list[n++].name, sizeof(list[0].name), "%s", downs[j]);
    }
    list[n++] = (struct made){"blk.0.ffn_down_exps.bias", 2, {WIDTH, ROWS}};
    return n;
}

static void make_model(enum dtype type, bool tied, float first)
{
    static struct made list[LAYERS * 5 + 8];
    size_t n = list_tensors(list, tied);
    struct gguf_writer *w;
    struct realm_error err;
    int status = gguf_writer_open(&w, in_path, 3, n, &err);
    assert_int_equal(status, 0);
    status |= gguf_writer_string(w, "general.architecture", "llama");
    status |= gguf_writer_u32(w, "general.file_type", 99);
    status |= gguf_writer_string(w, "general.name", "made");
    for (size_t i = 0; i < n; i++) {
        struct gguf_tensor t = {slice_of(list[i].name),
                                type,
                                list[i].n_dims,
                                {list[i].dims[0], list[i].dims[1]},
                                0,
                                0,
                                0};
        status |= gguf_writer_tensor(w, &t);
    }
    for (size_t i = 0; i < n; i++) {
        float x[WIDTH * ROWS];
        uint8_t row[sizeof(x)];
        uint64_t items = list[i].dims[0] * list[i].dims[1], bytes;
        for (uint64_t j = 0; j < items; j++)
            x[j] = i == 0 && j == 0 ? first : weight(i, j);
        assert_true(dtype_row_bytes(type, items, &bytes));
        int numeric = quantize_row(type, x, row, items);
        assert_int_equal(numeric, 0);
        status |= gguf_writer_data(w, row, (size_t)bytes);
    }
    assert_int_equal(gguf_writer_close(w, &err) | status, 0);
}

static struct gguf_file *open_out(void)
{
    struct gguf_file *f;
    struct realm_error err = {0};
    if (gguf_file_open(&f, io_system(), out_path, 0, &err))
        fail_msg("%s", err.message);
    return f;
}

static enum dtype type_of(const struct gguf_file *f, const char *name)
{
    const struct gguf_tensor *t = gguf_file_find(f, name);
    assert_non_null(t);
    return (enum dtype)t->dtype;
}

/* By how much a value of magnitude 1 or less may be off. */
static float allowed_for(uint32_t type)
{
    switch (type) {
    case DTYPE_F32:
        return 0;
    case DTYPE_Q2_K:
        return 0.67f;
    case DTYPE_Q3_K:
    case DTYPE_MXFP4:
        return 0.34f;
    case DTYPE_IQ4_NL:
    case DTYPE_IQ4_XS:
        return 0.22f;
    case DTYPE_Q4_0:
    case DTYPE_Q4_1:
    case DTYPE_Q4_K:
        return 0.14f;
    case DTYPE_Q5_0:
    case DTYPE_Q5_1:
    case DTYPE_Q5_K:
        return 0.07f;
    case DTYPE_Q6_K:
        return 0.04f;
    default:
        return 0.005f;
    }
}

/* Every value of OUT against what was made. */
static void check_values(const struct gguf_file *f, bool tied)
{
    static struct made list[LAYERS * 5 + 8];
    size_t n = list_tensors(list, tied);
    assert_int_equal(gguf_file_tensors(f), n);
    for (size_t i = 0; i < n; i++) {
        const struct gguf_tensor *t = gguf_file_tensor(f, i);
        assert_true(slice_is(t->name, list[i].name));
        uint8_t raw[WIDTH * ROWS * 4];
        float x[WIDTH * ROWS];
        struct realm_error err;
        uint64_t items = t->dims[0] * t->dims[1];
        assert_int_equal(gguf_file_read(f, t, 0, raw, (size_t)t->bytes, &err), 0);
        dequantize_row((enum dtype)t->dtype, raw, x, items);
        for (uint64_t j = 0; j < items; j++)
            assert_true(fabsf(x[j] - weight(i, j)) <= allowed_for(t->dtype));
    }
}

static void every_type_is_written(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum dtype type, for_96, for_10;
        uint32_t file_type;
    } types[] = {
        {"F32", DTYPE_F32, DTYPE_F32, DTYPE_F32, 0},
        {"f16", DTYPE_F16, DTYPE_F16, DTYPE_F16, 1},
        {"BF16", DTYPE_BF16, DTYPE_BF16, DTYPE_BF16, 32},
        {"Q8_0", DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_F16, 7},
        {"q4_0", DTYPE_Q4_0, DTYPE_Q4_0, DTYPE_F16, 2},
        {"Q4_1", DTYPE_Q4_1, DTYPE_Q4_1, DTYPE_F16, 3},
        {"Q5_0", DTYPE_Q5_0, DTYPE_Q5_0, DTYPE_F16, 8},
        {"Q5_1", DTYPE_Q5_1, DTYPE_Q5_1, DTYPE_F16, 9},
        {"iq4_nl", DTYPE_IQ4_NL, DTYPE_IQ4_NL, DTYPE_F16, 25},
        {"MXFP4", DTYPE_MXFP4, DTYPE_MXFP4, DTYPE_F16, 38},
        {"Q2_K", DTYPE_Q2_K, DTYPE_Q4_0, DTYPE_F16, 10},
        {"Q3_K", DTYPE_Q3_K, DTYPE_Q4_0, DTYPE_F16, 11},
        {"Q4_K", DTYPE_Q4_K, DTYPE_Q5_0, DTYPE_F16, 14},
        {"Q5_K", DTYPE_Q5_K, DTYPE_Q5_1, DTYPE_F16, 16},
        {"Q6_K", DTYPE_Q6_K, DTYPE_Q8_0, DTYPE_F16, 18},
        {"IQ4_XS", DTYPE_IQ4_XS, DTYPE_IQ4_NL, DTYPE_F16, 30},
    };
    make_model(DTYPE_F32, false, weight(0, 0));
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        assert_int_equal(run(cmd_quantize, "quantize", in_path, out_path, types[i].name),
                         EXIT_DONE);
        struct gguf_file *f = open_out();
        struct realm_error err;
        uint32_t file_type = 1000, version = 0;
        const struct gguf *g = gguf_file_header(f);
        assert_int_equal(gguf_get_u32(g, "general.file_type", &file_type, &err), 0);
        assert_int_equal(gguf_get_u32(g, "general.quantization_version", &version, &err), 0);
        assert_int_equal(file_type, types[i].file_type);
        assert_int_equal(version, 2);
        assert_int_equal(gguf_values(g), 4);
        assert_int_equal(type_of(f, "output.weight"), types[i].type);
        assert_int_equal(type_of(f, "blk.7.attn_v.weight"), types[i].type);
        assert_int_equal(type_of(f, "blk.7.attn_norm.weight"), DTYPE_F32);
        assert_int_equal(type_of(f, "blk.7.ffn_gate_inp.weight"), DTYPE_F32);
        assert_int_equal(type_of(f, "blk.0.ffn_up.weight"), types[i].for_96);
        assert_int_equal(type_of(f, "blk.0.ffn_gate.weight"), types[i].for_10);
        check_values(f, false);
        gguf_file_close(f);
    }
}

/* The mixes of 16 layers.  More bits have 0, 1 (first eighth), 4, 7, 10, 13 (every third),
 * 14, 15; Q3_K_M favours 0 and 1 of attn_v, and 0 (the first sixteenth) of ffn_down. */
static enum dtype mixed_type(const char *mix, const char *part, int layer)
{
    static const char more[LAYERS] = {1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 1, 1};
    const bool v = strcmp(part, "attn_v") == 0, down = strcmp(part, "ffn_down") == 0;
    if (strcmp(mix, "Q3_K_M") == 0)
        return v      ? layer < 2 ? DTYPE_Q5_K : DTYPE_Q4_K
               : down ? layer < 1 ? DTYPE_Q5_K : DTYPE_Q4_K
                      : DTYPE_Q3_K;
    enum dtype plain = strcmp(mix, "Q4_K_M") == 0 ? DTYPE_Q4_K : DTYPE_Q5_K;
    return (v || down) && more[layer] ? DTYPE_Q6_K : plain;
}

static void the_mixes_know_their_layers(void **state)
{
    (void)state;
    static const char *const mixes[] = {"Q3_K_M", "Q4_K_M", "Q5_K_M"};
    static const enum dtype plain[] = {DTYPE_Q3_K, DTYPE_Q4_K, DTYPE_Q5_K};
    static const uint32_t file_types[] = {12, 15, 17};
    for (size_t m = 0; m < 2 * ARRAY_LEN(mixes); m++) {
        const bool tied = m % 2;
        const char *mix = mixes[m / 2];
        make_model(DTYPE_F16, tied, 0);
        assert_int_equal(run(cmd_quantize, "quantize", in_path, out_path, mix), EXIT_DONE);
        struct gguf_file *f = open_out();
        struct realm_error err;
        uint32_t file_type = 1000;
        const struct gguf *g = gguf_file_header(f);
        assert_int_equal(gguf_get_u32(g, "general.file_type", &file_type, &err), 0);
        assert_int_equal(file_type, file_types[m / 2]);
        for (int i = 0; i < LAYERS; i++) {
            static const char *const parts[] = {"attn_v", "ffn_down", "attn_q"};
            for (size_t j = 0; j < ARRAY_LEN(parts); j++) {
                char name[48];
                snprintf(name, sizeof(name), "blk.%d.%s.weight", i, parts[j]);
                assert_int_equal(type_of(f, name), mixed_type(mix, parts[j], i));
            }
        }
        assert_int_equal(type_of(f, "token_embd.weight"), tied ? DTYPE_Q6_K : plain[m / 2]);
        for (size_t j = 0; j < ARRAY_LEN(downs); j++)
            assert_int_equal(type_of(f, downs[j]), mixed_type(mix, "ffn_down", 0));
        assert_int_equal(type_of(f, "blk.0.ffn_down_exps.bias"), DTYPE_F32);
        if (!tied)
            assert_int_equal(type_of(f, "output.weight"), DTYPE_Q6_K);
        gguf_file_close(f);
    }
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    unlink(out_path);
    make_model(DTYPE_F32, false, 0);
    assert_int_equal(run(cmd_quantize, "quantize", in_path, in_path, "Q8_0"), EXIT_USAGE);
    must_hold(told_path, "another file than IN");
    assert_int_equal(run(cmd_quantize, "quantize", in_path, out_path, "IQ1_S"), EXIT_USAGE);
    must_hold(told_path, "'IQ1_S' is no type");
    assert_int_equal(run(cmd_quantize, "quantize", in_path, out_path, NULL), EXIT_USAGE);
    assert_int_equal(run(cmd_quantize, "quantize", out_path, in_path, "F16"), EXIT_FAILED);
    must_hold(told_path, "out.gguf: no such file");
    char path[4096];
    snprintf(path, sizeof(path), "%s/v3.gguf", fixtures);
    assert_int_equal(run(cmd_quantize, "quantize", path, out_path, "F16"), EXIT_FAILED);
    must_hold(told_path, "tensor named has type Q8_1");
    char second[4096];
    snprintf(path, sizeof(path), "%s/part-00001-of-00003.gguf", fixtures);
    snprintf(second, sizeof(second), "%s/part-00002-of-00003.gguf", fixtures);
    assert_int_equal(run(cmd_quantize, "quantize", path, second, "F16"), EXIT_USAGE);
    must_hold(told_path, "another file than IN");
    assert_int_equal(files_in_folder(), 1);
    /* A value that F16 does not hold: found when half of OUT is written. */
    make_model(DTYPE_F32, false, 1e6f);
    assert_int_equal(run(cmd_quantize, "quantize", in_path, out_path, "F16"), EXIT_FAILED);
    must_hold(told_path, "tensor token_embd.weight has a value that F16 cannot hold");
    assert_int_equal(files_in_folder(), 1);
    assert_int_equal(run(cmd_quantize, "quantize", in_path, "/nonexistent/x", "F32"), EXIT_FAILED);
    must_hold(told_path, "cannot be created");
}

static void parts_become_one_file(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof(path), "%s/part-00001-of-00003.gguf", fixtures);
    assert_int_equal(run(cmd_quantize, "quantize", path, out_path, "F32"), EXIT_DONE);
    struct gguf_file *f = open_out();
    assert_int_equal(gguf_file_parts(f), 1);
    assert_int_equal(gguf_file_tensors(f), 3);
    assert_null(gguf_find(gguf_file_header(f), "split.count"));
    gguf_file_close(f);
}

static void inspect_shows_all(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof(path), "%s/v3.gguf", fixtures);
    assert_int_equal(run(cmd_inspect, "inspect", path, NULL, NULL), EXIT_DONE);
    must_hold(said_path, "GGUF version 3, 2024 bytes in 1 file, alignment 32");
    must_hold(said_path, "string   \"h\xc3\xa9llo\"\n");
    must_hold(said_path, "i64      -9223372036854775808\n");
    must_hold(said_path,
              "string[4]  \"a\", \"\", \"\xe4\xb8\x96\xe7\x95\x8c\", \"\xef\xbf\xbd raw\"\n");
    must_hold(said_path, "Q8_0               408 bytes  [64, 3, 1, 2]\n");
    must_hold(said_path, "(this build does not run it)");
    assert_int_equal(run(cmd_inspect, "inspect", path, "--json", NULL), EXIT_DONE);
    must_hold(said_path, "{\"key\": \"k.f64\", \"type\": \"f64\", \"value\": 0.1}");
    must_hold(said_path, "\"item_type\": \"bool\", \"count\": 3, \"first\": [false, true, true]}");
    must_hold(said_path,
              "\"name\": \"tok\", \"type\": \"F32\", \"shape\": [32, 2], \"bytes\": 256");
    snprintf(path, sizeof(path), "%s/bad-v1.gguf", fixtures);
    assert_int_equal(run(cmd_inspect, "inspect", path, NULL, NULL), EXIT_FAILED);
    must_hold(told_path, "/bad-v1.gguf: ");
    must_hold(told_path, "GGUF version 1 is too old");
    assert_int_equal(run(cmd_inspect, "inspect", path, path, NULL), EXIT_USAGE);
}

int main(int argc, char **argv)
{
    fixtures = argc > 1 ? argv[1] : ".";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_written),     cmocka_unit_test(the_mixes_know_their_layers),
        cmocka_unit_test(what_cannot_be_is_refused), cmocka_unit_test(parts_become_one_file),
        cmocka_unit_test(inspect_shows_all),
    };
    return cmocka_run_group_tests_name("cmd/files", tests, set_up, tear_down);
}
