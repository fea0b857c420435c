/* Panels hold exactly what the file holds: one row at a time against the scalar
 * dequantisers of tensor/, which know nothing of panels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/kernels.h"
#include "rows.h"
#include "tensor/quant.h"

enum { GUARD = 64 };

/* Packs n rows of k items and compares each of the 16 with the file's. */
static void check_panel(enum gemm_type type, size_t n, size_t k)
{
    size_t row_size = row_bytes(type, k), size = panel_bytes(type, k);
    uint8_t *rows = mem_alloc(n * row_size + 1), *panel = mem_aligned(KERN_ALIGN, size + GUARD);
    float *want = mem_array(k, sizeof(float)), *got = mem_array(k, sizeof(float));
    assert_true(rows && panel && want && got);
    rows_random(type, rows + 1, n, k, 11 * k + n); // odd: packing takes any alignment
    memset(panel, 0xa5, size + GUARD);
    panel_pack(type, panel, rows + 1, row_size, n, k);
    assert_int_equal(size % KERN_ALIGN, 0);
    for (size_t i = 0; i < GUARD; i++)
        assert_int_equal(panel[size + i], 0xa5);
    for (size_t r = 0; r < PANEL_ROWS; r++) {
        memset(want, 0, k * sizeof(float));
        uint8_t *aligned = mem_alloc(row_size);
        if (r < n) {
            memcpy(aligned, rows + 1 + r * row_size, row_size);
            dequantize_row(row_dtype[type], aligned, want, k);
        }
        panel_unpack_row(type, panel, r, k, got);
        for (size_t i = 0; i < k; i++) // -0 of a zero row is zero too
            assert_true(r < n ? memcmp(&want[i], &got[i], 4) == 0 : got[i] == 0);
        mem_free(aligned);
    }
    mem_free(rows);
    mem_free(panel);
    mem_free(want);
    mem_free(got);
}

static void rows_come_back_exactly(void **state)
{
    (void)state;
    const size_t n_rows[] = {1, 2, 15, 16}, steps[] = {1, 2, 3, 8, 11};
    for (int type = 0; type < GEMM_TYPES; type++)
        for (size_t i = 0; i < ARRAY_LEN(n_rows); i++)
            for (size_t j = 0; j < ARRAY_LEN(steps); j++)
                check_panel(type, n_rows[i], steps[j] * row_step(type));
}

static void odd_widths_of_floats(void **state)
{
    (void)state;
    const size_t widths[] = {8, 31, 172, 257};
    const enum gemm_type types[] = {GEMM_F32, GEMM_F16, GEMM_BF16};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        for (size_t j = 0; j < ARRAY_LEN(widths); j++)
            check_panel(types[i], 16, widths[j]);
}

static void panels_cost_what_the_file_does(void **state)
{
    (void)state;
    for (int type = 0; type < GEMM_TYPES; type++) {
        size_t file = 16 * row_bytes(type, 2048), panel = panel_bytes(type, 2048);
        assert_true(panel >= file && panel <= file + file / 50);
    }
}

static void every_type_has_its_slot(void **state)
{
    (void)state;
    for (int type = 0; type < GEMM_TYPES; type++)
        assert_int_equal(gemm_type_of(row_dtype[type]), type);
    assert_int_equal(act_kind_of(GEMM_F16), ACT_F32);
    assert_int_equal(act_kind_of(GEMM_BF16), ACT_BF16);
    assert_int_equal(act_kind_of(GEMM_Q4_0), ACT_Q8_32);
    assert_int_equal(act_kind_of(GEMM_Q6_K), ACT_Q8_256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back_exactly),
        cmocka_unit_test(odd_widths_of_floats),
        cmocka_unit_test(panels_cost_what_the_file_does),
        cmocka_unit_test(every_type_has_its_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
