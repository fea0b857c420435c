/* Which types the mixes give models of shapes that have more bits than others: the format's
 * custom, written down here as a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "gguf/write.h"
#include "quant_mix.h"

static char path[] = "/tmp/realm-mix-XXXXXX";

static const char *const parts[] = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_down"};

struct shape {
    uint32_t layers, heads, kv_heads, experts; /* 0: the header has no such key */
};

static int write_tensors(struct gguf_writer *w, const struct shape *s)
{
    static const uint8_t row[256 * 4];
    int status = 0;
    for (uint32_t i = 0; i < s->layers * ARRAY_LEN(parts); i++) {
        char name[48];
        snprintf(name, sizeof(name), "blk.%u.%s.weight", i / (unsigned)ARRAY_LEN(parts),
                 parts[i % ARRAY_LEN(parts)]);
        struct gguf_tensor t = {slice_of(name), DTYPE_F32, 2, {256, 1}, 0, 0, 0};
        status |= gguf_writer_tensor(w, &t);
    }
    for (uint32_t i = 0; i < s->layers * ARRAY_LEN(parts); i++)
        status |= gguf_writer_data(w, row, sizeof(row));
    return status;
}

static struct gguf_file *make(const struct shape *s)
{
    struct gguf_writer *w;
    struct gguf_file *f;
    struct realm_error err;
    const struct {
        const char *key;
        uint32_t value;
    } keys[] = {{"llama.attention.head_count", s->heads},
                {"llama.attention.head_count_kv", s->kv_heads},
                {"llama.expert_count", s->experts}};
    uint32_t n = 1;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        n += keys[i].value > 0;
    int status = gguf_writer_open(&w, path, n, s->layers * ARRAY_LEN(parts), &err);
    assert_int_equal(status, 0);
    status |= gguf_writer_string(w, "general.architecture", "llama");
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (keys[i].value)
            status |= gguf_writer_u32(w, keys[i].key, keys[i].value);
    status |= write_tensors(w, s);
    assert_int_equal(gguf_writer_close(w, &err) | status, 0);
    if (gguf_file_open(&f, io_system(), path, 0, &err))
        fail_msg("%s", err.message);
    return f;
}

static void set_up_path(void)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
}

/* The types of `parts` in a layer. */
struct row {
    const char *mix;
    uint32_t layer;
    const char *types[ARRAY_LEN(parts)];
};

static void check(const struct shape *s, const struct row *rows, size_t n)
{
    struct gguf_file *f = make(s);
    struct quant_model m;
    quant_model_read(&m, f);
    for (size_t i = 0; i < n * ARRAY_LEN(parts); i++) {
        const struct row *r = &rows[i / ARRAY_LEN(parts)];
        const char *part = parts[i % ARRAY_LEN(parts)];
        const char *want = r->types[i % ARRAY_LEN(parts)];
        char name[48];
        snprintf(name, sizeof(name), "blk.%u.%s.weight", r->layer, part);
        const struct gguf_tensor *t = gguf_file_find(f, name);
        assert_non_null(t);
        enum dtype got = quant_mix_type(quant_mix_find(r->mix), &m, t);
        if (strcmp(dtype_info(got)->name, want) != 0)
            fail_msg("%s %s: %s, not %s", r->mix, name, dtype_info(got)->name, want);
    }
    gguf_file_close(f);
}

/* 80 layers: more bits have 0 to 9, 12, 15 and so on, 70 to 79; the first sixteenth is 0 to 4. */
static void values_of_70_b_have_five_bits(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"Q3_K_M", 0, {"Q3_K", "Q3_K", "Q5_K", "Q4_K", "Q5_K"}},
        {"Q3_K_M", 4, {"Q3_K", "Q3_K", "Q5_K", "Q4_K", "Q5_K"}},
        {"Q3_K_M", 5, {"Q3_K", "Q3_K", "Q5_K", "Q4_K", "Q4_K"}},
        {"Q3_K_M", 79, {"Q3_K", "Q3_K", "Q5_K", "Q4_K", "Q4_K"}},
        {"Q4_K_M", 9, {"Q4_K", "Q4_K", "Q6_K", "Q4_K", "Q6_K"}},
        {"Q4_K_M", 10, {"Q4_K", "Q4_K", "Q5_K", "Q4_K", "Q4_K"}},
        {"Q4_K_M", 12, {"Q4_K", "Q4_K", "Q6_K", "Q4_K", "Q6_K"}},
        {"Q4_K_M", 68, {"Q4_K", "Q4_K", "Q5_K", "Q4_K", "Q4_K"}},
        {"Q4_K_M", 70, {"Q4_K", "Q4_K", "Q6_K", "Q4_K", "Q6_K"}},
        {"Q5_K_M", 9, {"Q5_K", "Q5_K", "Q6_K", "Q5_K", "Q6_K"}},
        {"Q5_K_M", 10, {"Q5_K", "Q5_K", "Q5_K", "Q5_K", "Q5_K"}},
        {"Q4_K", 10, {"Q4_K", "Q4_K", "Q4_K", "Q4_K", "Q4_K"}},
    };
    check(&(struct shape){80, 64, 8, 0}, rows, ARRAY_LEN(rows));
}

/* With a key and a value for each head, with other numbers of layers, and where it is not said. */
static void values_of_others_have_not(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"Q3_K_M", 1, {"Q3_K", "Q3_K", "Q5_K", "Q4_K", "Q5_K"}},
        {"Q3_K_M", 10, {"Q3_K", "Q3_K", "Q4_K", "Q4_K", "Q4_K"}},
        {"Q4_K_M", 10, {"Q4_K", "Q4_K", "Q4_K", "Q4_K", "Q4_K"}},
    };
    static const struct shape shapes[] = {{80, 64, 64, 0}, {80, 64, 0, 0}, {80, 0, 0, 0},
                                          {81, 64, 8, 0},  {80, 0, 8, 0},  {80, 64, 64, 16}};
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
        check(&shapes[i], rows, ARRAY_LEN(rows));
}

/* 32 layers: more bits have 0 to 3, 6, 9 and so on, 28 to 31. */
static void eight_experts_have_wide_attention(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"Q3_K_M", 0, {"Q3_K", "Q8_0", "Q8_0", "Q5_K", "Q5_K"}},
        {"Q3_K_M", 5, {"Q3_K", "Q8_0", "Q8_0", "Q5_K", "Q4_K"}},
        {"Q4_K_M", 3, {"Q4_K", "Q8_0", "Q8_0", "Q5_K", "Q6_K"}},
        {"Q4_K_M", 4, {"Q4_K", "Q8_0", "Q8_0", "Q5_K", "Q4_K"}},
        {"Q5_K_M", 3, {"Q5_K", "Q8_0", "Q8_0", "Q5_K", "Q6_K"}},
        {"Q5_K_M", 4, {"Q5_K", "Q8_0", "Q8_0", "Q5_K", "Q5_K"}},
        {"Q5_K", 4, {"Q5_K", "Q5_K", "Q5_K", "Q5_K", "Q5_K"}},
    };
    static const struct row of_80[] = {{"Q4_K_M", 10, {"Q4_K", "Q8_0", "Q8_0", "Q5_K", "Q4_K"}}};
    static const struct row of_7[] = {{"Q4_K_M", 4, {"Q4_K", "Q4_K", "Q4_K", "Q4_K", "Q4_K"}}};
    check(&(struct shape){32, 32, 8, 8}, rows, ARRAY_LEN(rows));
    check(&(struct shape){80, 64, 8, 8}, of_80, 1);
    check(&(struct shape){32, 32, 8, 7}, of_7, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_70_b_have_five_bits),
        cmocka_unit_test(values_of_others_have_not),
        cmocka_unit_test(eight_experts_have_wide_attention),
    };
    set_up_path();
    int failed = cmocka_run_group_tests_name("cmd/mix", tests, NULL, NULL);
    unlink(path);
    return failed;
}
