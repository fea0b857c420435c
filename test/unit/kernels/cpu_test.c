/* The ladder: names of levels, what REALM_CPU does, and that it is filled once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include "kernels/tmpl/fetch.h"

static void levels_have_names(void **state)
{
    (void)state;
    assert_string_equal(cpu_level_name(0), "scalar");
    assert_string_equal(cpu_level_name(CPU_AVX2), "avx2");
    assert_string_equal(cpu_level_name(CPU_AVX2 | CPU_AVXVNNI), "avx2+vnni");
    assert_string_equal(cpu_level_name(CPU_AVX2 | CPU_AVX512), "avx512");
    assert_string_equal(cpu_level_name(CPU_AVX2 | CPU_AVX512 | CPU_VNNI), "avx512+vnni");
    assert_string_equal(cpu_level_name(CPU_AVX2 | CPU_AVX512 | CPU_VNNI | CPU_BF16),
                        "avx512+vnni+bf16");
}

static void a_level_implies_those_below(void **state)
{
    (void)state;
    unsigned flags = cpu_detect();
    if (flags & (CPU_VNNI | CPU_BF16))
        assert_true(flags & CPU_AVX512);
    if (flags & (CPU_AVX512 | CPU_AVXVNNI))
        assert_true(flags & CPU_AVX2);
}

static void tiles_ask_for_each_part_once(void **state)
{
    (void)state;
    for (size_t tiles = 1; tiles <= 70; tiles++) {
        unsigned asked = 0, most = 0;
        for (size_t tile = 0; tile < tiles; tile++) {
            const unsigned parts = ask_parts(tile, tiles);
            assert_int_equal(asked & parts, 0);
            asked |= parts;
            const unsigned n = (unsigned)__builtin_popcount(parts);
            most = n > most ? n : most;
        }
        assert_int_equal(asked, (1u << ASK_PARTS) - 1);
        assert_int_equal(most, (ASK_PARTS + tiles - 1) / tiles);
    }
    assert_int_not_equal(ask_parts(32, 64), 0); // not by the first ones alone
}

static void every_entry_is_filled(void **state)
{
    (void)state;
    const unsigned levels[] = {0, CPU_AVX2, CPU_AVX2 | CPU_AVXVNNI, CPU_AVX2 | CPU_AVX512, ~0u};
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        void (*entries[sizeof(struct kernels) / sizeof(void (*)(void))])(void);
        struct kernels k;
        memset(&k, 0, sizeof(k));
        kernels_init(&k, cpu_detect() & levels[i]);
        memcpy(entries, &k, sizeof(entries));
        for (size_t j = 0; j < ARRAY_LEN(entries); j++)
            assert_non_null(entries[j]);
    }
}

static void the_environment_lowers_the_level(void **state)
{
    (void)state;
    struct kernels scalar;
    kernels_init(&scalar, 0);
    assert_int_equal(setenv("REALM_CPU", "scalar", 1), 0);
    const struct kernels *best = kernels_best();
    assert_ptr_equal(best->gemm[GEMM_Q4_K], scalar.gemm[GEMM_Q4_K]);
    assert_int_equal(kernels_best_flags(), 0);
    assert_int_equal(unsetenv("REALM_CPU"), 0); // filled once: too late to matter
    assert_ptr_equal(kernels_best(), best);
    assert_ptr_equal(best->gemm[GEMM_Q4_K], scalar.gemm[GEMM_Q4_K]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_have_names),
        cmocka_unit_test(a_level_implies_those_below),
        cmocka_unit_test(tiles_ask_for_each_part_once),
        cmocka_unit_test(every_entry_is_filled),
        cmocka_unit_test(the_environment_lowers_the_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
