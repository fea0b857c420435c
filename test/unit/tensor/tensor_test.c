/* Types, halves and quantisers; the golden vectors are make_quant_golden.py's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "base/compiler.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/rng.h"
#include "realm/status.h"
#include "tensor/block.h"
#include "tensor/dtype.h"
#include "tensor/half.h"
#include "tensor/quant.h"

static const enum dtype all[] = {DTYPE_F32,  DTYPE_F16,    DTYPE_BF16,   DTYPE_Q8_0,
                                 DTYPE_Q4_0, DTYPE_Q4_1,   DTYPE_Q5_0,   DTYPE_Q5_1,
                                 DTYPE_Q2_K, DTYPE_Q3_K,   DTYPE_Q4_K,   DTYPE_Q5_K,
                                 DTYPE_Q6_K, DTYPE_IQ4_NL, DTYPE_IQ4_XS, DTYPE_MXFP4};
static const char *golden_dir;

static uint8_t *read_golden(const char *name, size_t *n)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s.bin", golden_dir, name);
    for (char *p = path + strlen(golden_dir); *p; p++)
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    uint8_t *p;
    struct realm_error err;
    if (io_read_file(io_system(), path, 1 << 20, &p, n, &err))
        fail_msg("%s", err.message);
    return p;
}

static void types_have_their_names_and_sizes(void **state)
{
    (void)state;
    size_t running = 0, named = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        const struct dtype_info *info = dtype_info(i);
        named += info != NULL;
        running += info && info->runs;
    }
    assert_int_equal(named, 34);
    assert_int_equal(running, ARRAY_LEN(all));
    assert_string_equal(dtype_info(19)->name, "IQ1_S");
    assert_int_equal(dtype_info(19)->block_bytes, 50);
    assert_null(dtype_info(4));
    assert_null(dtype_info(UINT32_MAX));
}

static void row_bytes_are_checked(void **state)
{
    (void)state;
    uint64_t n = 7;
    assert_true(dtype_row_bytes(DTYPE_Q4_K, 512, &n));
    assert_int_equal(n, 288);
    assert_true(dtype_row_bytes(DTYPE_F32, 0, &n));
    assert_int_equal(n, 0);
    assert_false(dtype_row_bytes(DTYPE_Q4_K, 511, &n));
    assert_false(dtype_row_bytes(DTYPE_F32, UINT64_MAX / 4 + 1, &n));
    assert_false(dtype_row_bytes(5, 32, &n));
    assert_int_equal(n, 0);
}

/* Every f16 and bf16 survives the way to f32 and back; between two neighbours
 * the nearer wins, and at the middle the even one. */
static void halves_round_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = f32_from_f16((uint16_t)h), b = f32_from_bf16((uint16_t)h);
        if (!isnan(f))
            assert_int_equal(f16_from_f32(f), h);
        else
            assert_true(isnan(f32_from_f16(f16_from_f32(f))));
        if (!isnan(b))
            assert_int_equal(bf16_from_f32(b), h);
        else
            assert_true(isnan(f32_from_bf16(bf16_from_f32(b))));
    }
    for (uint16_t h = 0; h < 0x7bff; h++) {
        float middle = (f32_from_f16(h) + f32_from_f16((uint16_t)(h + 1))) / 2;
        assert_int_equal(f16_from_f32(middle), h + (h & 1));
        assert_int_equal(f16_from_f32(nextafterf(middle, 0)), h);
        assert_int_equal(f16_from_f32(-nextafterf(middle, 1e9f)), 0x8000 | (h + 1));
    }
    assert_int_equal(f16_from_f32(65519.996f), 0x7bff);
    assert_int_equal(f16_from_f32(65520), 0x7c00);
    assert_int_equal(f16_from_f32(-1e30f), 0xfc00);
    assert_int_equal(f16_from_f32(1e-30f), 0);
    assert_int_equal(bf16_from_f32(f32_from_bits(0x3f808000)), 0x3f80);
    assert_int_equal(bf16_from_f32(f32_from_bits(0x3f818000)), 0x3f82);
    assert_int_equal(bf16_from_f32(f32_from_bits(0x7f7fffff)), 0x7f80);
}

static void dequantisation_is_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        size_t n;
        uint8_t *file = read_golden(dtype_info(all[i])->name, &n);
        uint32_t items;
        memcpy(&items, file, 4);
        uint64_t row_bytes;
        assert_true(dtype_row_bytes(all[i], items, &row_bytes));
        assert_int_equal(n, 4 + row_bytes + items * sizeof(float));
        float out[512];
        assert_true(items == ARRAY_LEN(out));
        dequantize_row(all[i], file + 4, out, items);
        assert_memory_equal(out, file + 4 + row_bytes, sizeof(out));
        mem_free(file);
    }
}

static double rmse_after(enum dtype type, const float *x, uint64_t k)
{
    uint64_t bytes;
    assert_true(dtype_row_bytes(type, k, &bytes));
    void *row = mem_alloc(bytes);
    float *back = mem_array(k, sizeof(*back));
    assert_int_equal(quantize_row(type, x, row, k), 0);
    dequantize_row(type, row, back, k);
    double sum = 0;
    for (uint64_t i = 0; i < k; i++)
        sum += ((double)back[i] - (double)x[i]) * ((double)back[i] - (double)x[i]);
    mem_free(row);
    mem_free(back);
    return sqrt(sum / (double)k);
}

/* Gaussian and heavy-tailed values. */
static void quantisers_are_as_accurate_as_the_references(void **state)
{
    (void)state;
    static const enum dtype types[] = {
        DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_K, DTYPE_Q6_K,   DTYPE_Q5_0,   DTYPE_Q5_K, DTYPE_Q4_1,
        DTYPE_Q5_1, DTYPE_Q3_K, DTYPE_Q2_K, DTYPE_IQ4_NL, DTYPE_IQ4_XS, DTYPE_MXFP4};
    size_t n;
    uint8_t *file = read_golden("accuracy", &n);
    uint32_t items;
    memcpy(&items, file, 4);
    const uint8_t *p = file + 4;
    float *x = mem_array(items, sizeof(*x));
    for (int distribution = 0; distribution < 2; distribution++) {
        memcpy(x, p, items * sizeof(*x));
        p += items * sizeof(*x);
        for (size_t t = 0; t < ARRAY_LEN(types); t++, p += sizeof(float)) {
            float reference;
            memcpy(&reference, p, sizeof(reference));
            double ours = rmse_after(types[t], x, items);
            print_message("# %s: rmse %.4e, reference %.4e\n", dtype_info(types[t])->name, ours,
                          (double)reference);
            assert_true(ours <= (double)reference);
        }
    }
    assert_ptr_equal(p, file + n);
    mem_free(x);
    mem_free(file);
}

static float noise(uint64_t i)
{
    return (float)(rng_unit(3, 0, i) + rng_unit(3, 1, i) + rng_unit(3, 2, i) - 1.5);
}

/* A row that came out of a type goes into it again without loss where its scale
 * is an f16 and nothing is searched: the exact types. */
static void exact_types_lose_nothing(void **state)
{
    (void)state;
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    for (size_t t = 0; t < ARRAY_LEN(types); t++) {
        uint8_t row[1024], again[1024];
        float x[256], back[256];
        for (uint64_t i = 0; i < 256; i++)
            x[i] = noise(i);
        assert_int_equal(quantize_row(types[t], x, row, 256), 0);
        dequantize_row(types[t], row, back, 256);
        assert_int_equal(quantize_row(types[t], back, again, 256), 0);
        assert_memory_equal(row, again, 256 * dtype_info(types[t])->block_bytes);
    }
}

/* The error of an item that is allowed, as a share of its block's peak: about half
 * a step, more where several items have to agree on a scale. */
static double share_of(enum dtype type)
{
    static const double shares[] = {
        [DTYPE_F32] = 0,           [DTYPE_F16] = 0x1p-10,       [DTYPE_BF16] = 0x1p-8,
        [DTYPE_Q8_0] = 0.51 / 127, [DTYPE_Q4_0] = 1.01 / 8,     [DTYPE_Q4_1] = 2.0 / 15,
        [DTYPE_Q5_0] = 1.01 / 16,  [DTYPE_Q5_1] = 2.0 / 31,     [DTYPE_Q2_K] = 2.0 / 3,
        [DTYPE_Q3_K] = 1.5 / 4,    [DTYPE_Q4_K] = 2.0 / 15,     [DTYPE_Q5_K] = 2.0 / 31,
        [DTYPE_Q6_K] = 1.01 / 32,  [DTYPE_IQ4_NL] = 24.0 / 113, [DTYPE_IQ4_XS] = 24.0 / 113,
        [DTYPE_MXFP4] = 4.0 / 12,
    };
    return shares[type];
}

/* As long as the scale is a normal f16. */
static void every_magnitude_is_met(void **state)
{
    (void)state;
    for (size_t t = 0; t < ARRAY_LEN(all); t++) {
        for (int exponent = -2; exponent <= 4; exponent++) {
            float x[256], back[256], peak = 0;
            uint8_t row[1024];
            for (uint64_t i = 0; i < 256; i++) {
                x[i] = noise(i) * powf(10, (float)exponent);
                peak = fmaxf(peak, fabsf(x[i]));
            }
            assert_int_equal(quantize_row(all[t], x, row, 256), 0);
            dequantize_row(all[t], row, back, 256);
            for (int i = 0; i < 256; i++)
                assert_true(fabs((double)back[i] - (double)x[i]) <=
                            share_of(all[t]) * (double)peak);
        }
    }
}

static void zeros_and_constants_stay(void **state)
{
    (void)state;
    static const float constants[] = {0, 1, -1, 0.25f, -3};
    for (size_t t = 0; t < ARRAY_LEN(all); t++) {
        for (size_t c = 0; c < ARRAY_LEN(constants); c++) {
            float x[256], back[256];
            uint8_t row[1024];
            for (int i = 0; i < 256; i++)
                x[i] = constants[c];
            assert_int_equal(quantize_row(all[t], x, row, 256), 0);
            dequantize_row(all[t], row, back, 256);
            for (int i = 0; i < 256; i++)
                assert_true(fabsf(back[i] - x[i]) <= 0.004f * fabsf(x[i]));
        }
    }
}

/* A block whose greatest value is at the end of the range, as of a model that was trained in
 * this type, or alone among zeros. */
static void what_a_type_can_say_stays(void **state)
{
    (void)state;
    static const enum dtype types[] = {DTYPE_Q4_0, DTYPE_Q5_0};
    for (size_t i = 0; i < 2 * 500; i++) {
        const enum dtype type = types[i % 2];
        const float end = type == DTYPE_Q4_0 ? 8 : 16;
        const float d = f32_from_f16(f16_from_f32(noise(i)));
        float x[32], back[32];
        uint8_t row[64];
        for (uint64_t j = 0; j < 32; j++)
            x[j] = d * (i % 4 < 2 ? truncf(fmodf(noise(i * 32 + j) * 5, end)) : 0);
        x[i % 32] = d * -end;
        assert_int_equal(quantize_row(type, x, row, 32), 0);
        dequantize_row(type, row, back, 32);
        for (size_t j = 0; j < 32; j++)
            assert_true(back[j] == x[j]);
    }
}

/* The best scale is beyond f16's greatest, that of the end of the range is not. */
static void what_f16_reaches_is_kept(void **state)
{
    (void)state;
    float x[32], back[32];
    uint8_t row[64];
    for (int j = 0; j < 32; j++)
        x[j] = 68421 * (float)(j % 7 - 3);
    x[0] = -520000;
    assert_int_equal(quantize_row(DTYPE_Q4_0, x, row, 32), 0);
    dequantize_row(DTYPE_Q4_0, row, back, 32);
    for (int j = 0; j < 32; j++)
        assert_true(fabsf(back[j] - x[j]) < 32768);
}

/* One bad value, or one that no scale reaches, zeroes its block and no other. */
static void bad_values_are_told_and_zeroed(void **state)
{
    (void)state;
    static const float bad[] = {INFINITY, -INFINITY, NAN, 3e38f};
    for (size_t t = 0; t < ARRAY_LEN(all); t++) {
        for (size_t b = 0; b < ARRAY_LEN(bad); b++) {
            if ((all[t] == DTYPE_F32 || all[t] == DTYPE_MXFP4) && b == 3)
                continue; // these hold it
            float x[768], back[768];
            uint8_t row[768 * 4];
            for (uint64_t i = 0; i < 768; i++)
                x[i] = noise(i) + 4;
            x[300] = all[t] == DTYPE_BF16 && b == 3 ? 3.4e38f : bad[b];
            assert_int_equal(quantize_row(all[t], x, row, 768), REALM_E_NUMERIC);
            dequantize_row(all[t], row, back, 768);
            assert_true(back[300] == 0);
            assert_true(back[299] == 0 || dtype_info(all[t])->block_items == 1);
            for (int i = 0; i < 768; i++) {
                assert_true(isfinite(back[i]));
                if (i < 256 || i >= 512)
                    assert_true(back[i] > 1.5f);
            }
        }
    }
}

/* Rows of random bits, most of them of absurd magnitudes: what comes back is
 * finite, and a row that was accepted is near what went in. */
static void any_bits_are_survived(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 400; round++) {
        float x[256], back[256];
        uint32_t spread = (uint32_t)round % 32; // exponents within 2^spread of each other
        for (uint64_t i = 0; i < 256; i++) {
            uint32_t bits[4];
            rng_philox(9, round, i, bits);
            int exponent = (int)(round * 7 % 256) + (int)(bits[1] & ((1u << spread / 4) - 1));
            x[i] = f32_from_bits((bits[0] & 0x807fffff) | (uint32_t)(exponent & 255) << 23);
        }
        for (size_t t = 0; t < ARRAY_LEN(all); t++) {
            uint8_t row[1024];
            double peak = 0, worst = 0;
            int status = quantize_row(all[t], x, row, 256);
            dequantize_row(all[t], row, back, 256);
            for (int i = 0; i < 256; i++) {
                assert_true(isfinite(back[i]));
                peak = fmax(peak, fabs((double)x[i]));
                worst = fmax(worst, fabs((double)x[i] - (double)back[i]));
            }
            if (status == 0)
                assert_true(worst <= 1.1 * share_of(all[t]) * peak + 1e-4);
        }
    }
}

int main(int argc, char **argv)
{
    golden_dir = argc > 1 ? argv[1] : "test/golden/quant";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_have_their_names_and_sizes),
        cmocka_unit_test(row_bytes_are_checked),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(dequantisation_is_exact),
        cmocka_unit_test(quantisers_are_as_accurate_as_the_references),
        cmocka_unit_test(exact_types_lose_nothing),
        cmocka_unit_test(every_magnitude_is_met),
        cmocka_unit_test(zeros_and_constants_stay),
        cmocka_unit_test(what_a_type_can_say_stays),
        cmocka_unit_test(what_f16_reaches_is_kept),
        cmocka_unit_test(bad_values_are_told_and_zeroed),
        cmocka_unit_test(any_bits_are_survived),
    };
    return cmocka_run_group_tests_name("tensor", tests, NULL, NULL);
}
