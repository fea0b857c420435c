/* What `realm doctor` makes of machines that are made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "doctor.h"
#include "kernels/cpu.h"

/* A machine that lacks nothing. */
static struct doctor sound(void)
{
    return (struct doctor){
        .machine = {.cpu = "A CPU",
                    .processors = 4,
                    .cores = 4,
                    .load = 0.5,
                    .memory_bytes = 32 * GiB,
                    .available_bytes = 30 * GiB,
                    .limit_bytes = UINT64_MAX,
                    .huge_pages = MACHINE_PAGES_MADVISE},
        .cpu_flags = CPU_AVX2,
        .used_flags = CPU_AVX2,
        .threads = 4,
        .budget_bytes = 22 * GiB,
        .read_b_s = 20e9,
        .product_s = {400e9, 300e9, 100e9},
    };
}

static void must_say(const struct doctor *d, const char *words)
{
    struct doctor_warnings w;
    doctor_warn(d, &w);
    for (size_t i = 0; i < w.n; i++)
        if (strstr(w.text[i], words))
            return;
    fail_msg("no warning of %zu says \"%s\"", w.n, words);
}

static void a_sound_machine_has_no_warnings(void **state)
{
    (void)state;
    struct doctor d = sound();
    struct doctor_warnings w;
    doctor_warn(&d, &w);
    if (w.n)
        fail_msg("%s", w.text[0]);
}

static void what_slows_down_is_named(void **state)
{
    (void)state;
    struct doctor d = sound();
    d.cpu_flags = d.used_flags = 0;
    must_say(&d, "no AVX2");
    d = sound();
    d.used_flags = 0;
    must_say(&d, "REALM_CPU is set");
    d = sound();
    d.threads = 5;
    must_say(&d, "5 threads have to share 4 processors: use -t 4");
    d = sound();
    d.machine.quota = 2.5;
    must_say(&d, "the time of 2.5 processors, and is stopped when 4 threads");
    must_say(&d, "use -t 2");
    d.machine.quota = 0.5;
    must_say(&d, "use -t 1");
    d = sound();
    d.machine.cores = 2;
    must_say(&d, "4 threads share 2 cores");
    d = sound();
    d.machine.load = 3;
    must_say(&d, "other programs are running (load 3.0 on 4 processors)");
    d = sound();
    d.machine.huge_pages = MACHINE_PAGES_NEVER;
    must_say(&d, "huge pages are off");
    d.machine.huge_pages = MACHINE_PAGES_UNKNOWN;
    must_say(&d, "no transparent huge pages");
    d = sound();
    d.machine.swap_used_bytes = 1500000000;
    must_say(&d, "the system swaps (1.5 GB are out)");
    d = sound();
    d.machine.available_bytes = 2000000000;
    must_say(&d, "only 2.0 GB of memory are free now");
    d = sound();
    d.read_b_s = 0;
    must_say(&d, "not enough free memory for measuring");
}

/* All of them at once have room. */
static void the_worst_machine_of_all(void **state)
{
    (void)state;
    struct doctor d = sound();
    struct doctor_warnings w;
    d.cpu_flags = d.used_flags = 0;
    d.machine = (struct machine){.processors = 1, .cores = 1, .quota = 0.1, .load = 99};
    d.machine.swap_used_bytes = UINT64_MAX;
    d.read_b_s = 0;
    doctor_warn(&d, &w);
    assert_true(w.n == 8);
    for (size_t i = 0; i < w.n; i++)
        assert_true(strlen(w.text[i]) < DOCTOR_WARNING_BYTES - 1);
}

static void levels_that_are_not_there_are_listed(void **state)
{
    (void)state;
    char text[64], cut[8];
    doctor_lacking(0, text, sizeof(text));
    assert_string_equal(text, "avx2, avx512, vnni, bf16");
    doctor_lacking(CPU_AVX2 | CPU_AVX512, text, sizeof(text));
    assert_string_equal(text, "vnni, bf16");
    doctor_lacking(CPU_AVX2 | CPU_AVXVNNI, text, sizeof(text));
    assert_string_equal(text, "avx512, bf16");
    doctor_lacking(~0u, text, sizeof(text));
    assert_string_equal(text, "");
    doctor_lacking(0, cut, sizeof(cut));
    assert_string_equal(cut, "avx2, a");
}

/* Llama 3.1 8B in Q4_K_M has 4.92 GB, of which the embeddings' 0.3 are not read. */
static void what_to_expect_is_arithmetic(void **state)
{
    (void)state;
    struct doctor d = sound();
    struct expected list[EXPECTED_MAX];
    size_t n = doctor_expect(&d, list);
    bool found = false;
    for (size_t i = 0; i < n; i++) {
        const struct expected *e = &list[i];
        assert_true(e->all_bytes > e->weight_bytes && e->decode_tok_s > 0 && e->prefill_tok_s > 0);
        assert_true(e->fits == (e->all_bytes < 22.0 * GiB));
        if (strcmp(e->size, "8B") != 0 || strcmp(e->type, "Q4_K_M") != 0)
            continue;
        found = true;
        assert_true(e->weight_bytes > 4.8e9 && e->weight_bytes < 5.0e9);
        assert_true(e->decode_tok_s > 3.6 && e->decode_tok_s < 4.2);
        assert_true(e->prefill_tok_s > 10 && e->prefill_tok_s < 400e9 / (2 * 6.98e9));
    }
    assert_true(found);
    d.read_b_s = 0;
    doctor_expect(&d, list);
    assert_true(list[0].decode_tok_s == 0);
}

static void a_control_group_has_less_room(void **state)
{
    (void)state;
    struct doctor d = sound();
    assert_int_equal(doctor_room(&d), 30 * GiB);
    d.machine.limit_bytes = 512 * MiB;
    assert_int_equal(doctor_room(&d), 512 * MiB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_machine_has_no_warnings),
        cmocka_unit_test(what_slows_down_is_named),
        cmocka_unit_test(the_worst_machine_of_all),
        cmocka_unit_test(levels_that_are_not_there_are_listed),
        cmocka_unit_test(what_to_expect_is_arithmetic),
        cmocka_unit_test(a_control_group_has_less_room),
    };
    return cmocka_run_group_tests_name("cmd/doctor", tests, NULL, NULL);
}
