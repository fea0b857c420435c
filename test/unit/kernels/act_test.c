/* Activations in tiles: each value within half a step of what it was, the sums
 * that go with them right, and extreme values defined. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include "kernels/panel.h"
#include "rows.h"

enum { K = 768 };

struct tile {
    size_t block, bytes, d_at, width;
    uint8_t *p;
};

static int8_t item(const struct tile *tile, size_t t, size_t i)
{
    const uint8_t *block = tile->p + i / tile->block * tile->bytes * tile->width;
    return (int8_t)block[(i % tile->block / 4 * tile->width + t) * 4 + i % 4];
}

/* The 4 bytes of token t at index i of the array that starts at `at`. */
static void word(const struct tile *tile, size_t b, size_t at, size_t i, size_t t, void *out)
{
    const uint8_t *array = tile->p + (b * tile->bytes + at) * tile->width;
    memcpy(out, array + (i * tile->width + t) * 4, 4);
}

static int sum(const struct tile *tile, size_t t, size_t from, size_t n)
{
    int total = 0;
    for (size_t i = from; i < from + n; i++)
        total += item(tile, t, i);
    return total;
}

static void check_sums(const struct tile *tile, size_t t, size_t b)
{
    int32_t bias;
    if (tile->block == 32) {
        word(tile, b, ACT32_BIAS, 0, t, &bias);
        assert_int_equal(bias, -128 * sum(tile, t, b * 32, 32));
        return;
    }
    for (size_t s = 0; s < 16; s++) {
        word(tile, b, ACT256_BIAS, s, t, &bias);
        assert_int_equal(bias, -32 * sum(tile, t, b * 256 + s * 16, 16));
    }
    const size_t order[] = {0, 2, 1, 3, 4, 6, 5, 7};
    for (size_t i = 0; i < 4; i++) {
        int16_t pair[2];
        word(tile, b, ACT256_PAIRS, i, t, pair);
        for (size_t j = 0; j < 2; j++)
            assert_int_equal(pair[j], sum(tile, t, b * 256 + order[i * 2 + j] * 32, 32));
    }
}

static void check_tile(const struct tile *tile, const float *x, size_t x_stride)
{
    for (size_t t = 0; t < tile->width; t++)
        for (size_t b = 0; b < K / tile->block; b++) {
            float d, max = 0;
            word(tile, b, tile->d_at, 0, t, &d);
            for (size_t i = b * tile->block; i < (b + 1) * tile->block; i++) {
                float value = x[t * x_stride + i];
                max = fmaxf(max, fabsf(value));
                assert_true(item(tile, t, i) >= -127);
                // half a step, and three roundings of 2^-24 of values up to 127 steps
                assert_true(fabs((double)value - (double)d * item(tile, t, i)) <=
                            (double)d * (0.5 + 127 * 3 * 0x1p-24));
            }
            assert_true(d == max / 127);
            check_sums(tile, t, b);
        }
}

static void check_kind(const struct kernels *kern, enum act_kind kind, size_t width)
{
    struct tile tile = {kind == ACT_Q8_32 ? 32 : 256,
                        kind == ACT_Q8_32 ? ACT32_BYTES : ACT256_BYTES,
                        kind == ACT_Q8_32 ? ACT32_D : ACT256_D, width, NULL};
    const size_t x_stride = K + 5;
    float *x = mem_array(width * x_stride, sizeof(float));
    tile.p = mem_aligned(KERN_ALIGN, width * act_bytes(kind, K));
    assert_true(x && tile.p);
    floats_random(x, width * x_stride, width);
    memset(x + 256, 0, 256 * sizeof(float));
    x[1] = FLT_MAX;
    x[2] = -FLT_MAX;
    x[3] = FLT_MIN;
    kern->act_pack[kind](tile.p, x, x_stride, K, width);
    check_tile(&tile, x, x_stride);
    mem_free(x);
    mem_free(tile.p);
}

static void within_half_a_step(void **state)
{
    (void)state;
    const unsigned levels[] = {0, CPU_AVX2, ~0u};
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        struct kernels kern;
        kernels_init(&kern, cpu_detect() & levels[i]);
        for (size_t width = 1; width <= TILE_TOKENS; width *= 2) {
            check_kind(&kern, ACT_Q8_32, width);
            check_kind(&kern, ACT_Q8_256, width);
        }
    }
}

/* A block too small for 127 / max becomes zeros with the scale 0. */
static void tiny_blocks_are_zero(void **state)
{
    (void)state;
    const unsigned levels[] = {0, CPU_AVX2, ~0u};
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        struct kernels kern;
        kernels_init(&kern, cpu_detect() & levels[i]);
        float x[64] = {0}, d[2];
        ALIGNED(64) uint8_t out[128];
        assert_true(act_bytes(ACT_Q8_32, 64) <= sizeof(out));
        x[0] = x[5] = -0x1.fp-119f;
        x[32] = 0x1p-118f;
        kern.act_pack[ACT_Q8_32](out, x, 64, 64, 1);
        memcpy(&d[0], out + ACT32_D, 4);
        memcpy(&d[1], out + ACT32_BYTES + ACT32_D, 4);
        assert_true(d[0] == 0 && d[1] == 0x1p-118f / 127);
        assert_int_equal(out[0], 0);
        assert_int_equal(out[5], 0);
        assert_int_equal(out[ACT32_BYTES], 127);
    }
}

static void tiles_follow_each_other(void **state)
{
    (void)state;
    const size_t widths[] = {8, 8, 4, 2, 1};
    size_t at = 0;
    for (size_t i = 0; i < ARRAY_LEN(widths); at += widths[i++])
        assert_int_equal(tile_width(at, 23), widths[i]);
    assert_int_equal(at, 23);
    for (int kind = 0; kind < ACT_KINDS; kind++)
        assert_int_equal(act_bytes(kind, 256) % KERN_ALIGN, 0);
    assert_true(act_bytes(ACT_BF16, 33) >= 68);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(within_half_a_step),
        cmocka_unit_test(tiny_blocks_are_zero),
        cmocka_unit_test(tiles_follow_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
