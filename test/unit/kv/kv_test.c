#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kv/kv.h"
#include "realm/status.h"

static const struct kv_shape shape = {.layers = 3, .kv_heads = 2, .head_dim = 24, .type = KV_F16};

static struct kv_pool *pool_of(struct kv_budget *b)
{
    struct kv_pool *p;
    assert_int_equal(kv_pool_open(&p, &shape, b), 0);
    return p;
}

static struct kv_seq *seq_of(struct kv_pool *p, uint32_t tokens)
{
    struct kv_seq *s;
    assert_int_equal(kv_seq_open(&s, p), 0);
    assert_int_equal(kv_seq_reserve(s, tokens), 0);
    return s;
}

static void regions_of_a_page_do_not_overlap(void **state)
{
    (void)state;
    for (int type = 0; type < KV_TYPES; type++) {
        struct kv_shape sh = shape;
        sh.type = (enum kv_type)type;
        struct kv_budget b;
        struct kv_pool *p;
        kv_budget_init(&b, 1 << 20);
        assert_int_equal(kv_pool_open(&p, &sh, &b), 0);
        size_t end = 0;
        for (uint32_t l = 0; l < sh.layers; l++) {
            for (uint32_t h = 0; h < sh.kv_heads; h++) {
                size_t k = kv_keys_at(p, l, h), v = kv_values_at(p, l, h);
                assert_int_equal(k, end);
                assert_true(v >= k + kv_keys_bytes(sh.type, sh.head_dim));
                assert_int_equal(k % KERN_ALIGN, 0);
                assert_int_equal(v % KERN_ALIGN, 0);
                end = v + kv_values_bytes(sh.type, sh.head_dim);
            }
        }
        assert_true(end <= kv_page_bytes(p));
        assert_true(kv_page_bytes(p) < end + 4096);
        kv_pool_close(p);
    }
}

/* 64 items for each of 16 keys and 16 values of a head; Q8_0 has 2 bytes more for each 32. */
static void a_page_takes_what_its_type_says(void **state)
{
    (void)state;
    static const size_t item_bytes[KV_TYPES] = {
        [KV_F32] = 4 * 32, [KV_F16] = 2 * 32, [KV_BF16] = 2 * 32, [KV_Q8_0] = 34};
    for (int type = 0; type < KV_TYPES; type++) {
        const struct kv_shape sh = {
            .layers = 22, .kv_heads = 4, .head_dim = 64, .type = (enum kv_type)type};
        struct kv_budget b;
        struct kv_pool *p;
        kv_budget_init(&b, 1 << 20);
        assert_int_equal(kv_pool_open(&p, &sh, &b), 0);
        size_t bytes = 22 * 4 * 2 * 16 * 64 / 32 * item_bytes[type];
        assert_int_equal(kv_page_bytes(p), (bytes + 4095) / 4096 * 4096);
        kv_pool_close(p);
    }
}

static void reserve_and_cut_hold_just_the_pages_wanted(void **state)
{
    (void)state;
    struct kv_budget b;
    kv_budget_init(&b, 1 << 24);
    struct kv_pool *p = pool_of(&b);
    struct kv_seq *s = seq_of(p, 0);
    assert_int_equal(kv_seq_room(s), 0);
    const uint32_t steps[][2] = {{1, 1}, {16, 1}, {17, 2}, {5, 2}, {160, 10}, {161, 11}};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        assert_int_equal(kv_seq_reserve(s, steps[i][0]), 0);
        assert_int_equal(kv_seq_room(s), steps[i][1] * 16);
        assert_int_equal(b.pages_used, steps[i][1]);
    }
    for (uint32_t pos = 0; pos < 176; pos++)
        assert_ptr_equal(kv_seq_page(s, pos), kv_seq_pages(s)[pos / 16]);
    assert_int_equal(kv_seq_cut(s, 33), 0);
    assert_int_equal(kv_seq_room(s), 48);
    assert_int_equal(kv_seq_cut(s, 100), 0); // beyond what is there: nothing
    assert_int_equal(kv_seq_room(s), 48);
    assert_int_equal(kv_seq_cut(s, 0), 0);
    assert_int_equal(b.pages_used, 0);
    assert_int_equal(b.bytes, 11 * kv_page_bytes(p)); // kept for reuse
    assert_int_equal(kv_pool_trim(p), 11 * kv_page_bytes(p));
    assert_int_equal(b.bytes, 0);
    kv_seq_close(s);
    kv_seq_close(NULL);
    kv_pool_close(p);
}

static void pages_of_sequences_are_their_own(void **state)
{
    (void)state;
    struct kv_budget b;
    kv_budget_init(&b, 1 << 24);
    struct kv_pool *p = pool_of(&b);
    enum { SEQS = 9 };
    struct kv_seq *seqs[SEQS];
    uint32_t tokens[SEQS] = {0};
    for (int i = 0; i < SEQS; i++)
        seqs[i] = seq_of(p, 0);
    for (uint64_t round = 0; round < 500; round++) {
        uint32_t r[4];
        rng_philox(7, 0, round, r);
        unsigned i = r[0] % SEQS;
        uint32_t want = r[1] % 300;
        if (want > tokens[i])
            assert_int_equal(kv_seq_reserve(seqs[i], want), 0);
        else
            assert_int_equal(kv_seq_cut(seqs[i], want), 0);
        /* Each writes its name into all of its pages; all must still be there. */
        for (uint32_t at = 0; at < kv_seq_room(seqs[i]); at += 16)
            memset(kv_seq_page(seqs[i], at), (int)i + 1, kv_page_bytes(p));
        tokens[i] = want;
        uint64_t held = 0;
        for (unsigned j = 0; j < SEQS; j++) {
            held += kv_seq_room(seqs[j]) / 16;
            for (uint32_t at = 0; at < kv_seq_room(seqs[j]); at += 16) {
                const uint8_t *page = kv_seq_page(seqs[j], at);
                assert_int_equal(page[0], j + 1);
                assert_int_equal(page[kv_page_bytes(p) - 1], j + 1);
            }
        }
        assert_int_equal(b.pages_used, held);
    }
    for (int i = 0; i < SEQS; i++)
        kv_seq_close(seqs[i]);
    kv_pool_close(p);
    assert_int_equal(b.bytes, 0);
}

static void the_budget_holds_and_a_refusal_changes_nothing(void **state)
{
    (void)state;
    struct kv_budget b;
    kv_budget_init(&b, 0);
    struct kv_pool *p = pool_of(&b);
    uint64_t page = kv_page_bytes(p);
    assert_false(kv_fits(p, 1));
    assert_true(kv_fits(p, 0));
    b.bytes_max = 4 * page + page / 2;
    assert_true(kv_fits(p, 64));
    assert_false(kv_fits(p, 65));
    assert_false(kv_fits(p, UINT64_MAX));
    struct kv_seq *s = seq_of(p, 20), *t = seq_of(p, 0);
    assert_int_equal(kv_seq_reserve(t, 33), REALM_E_NO_ROOM);
    assert_int_equal(kv_seq_room(t), 0);
    assert_int_equal(b.pages_used, 2);
    assert_int_equal(kv_seq_reserve(t, 32), 0);
    assert_int_equal(kv_seq_reserve(s, 33), REALM_E_NO_ROOM);
    assert_int_equal(kv_seq_room(s), 32);
    kv_seq_close(t);
    assert_int_equal(kv_seq_reserve(s, 64), 0);
    kv_seq_close(s);
    kv_pool_close(p);
}

/* One model's idle pages must not keep another from starting. */
static void free_pages_of_other_pools_make_room(void **state)
{
    (void)state;
    struct kv_budget b;
    kv_budget_init(&b, 0);
    struct kv_pool *p = pool_of(&b), *q = pool_of(&b);
    b.bytes_max = 4 * kv_page_bytes(p);
    struct kv_seq *s = seq_of(p, 64);
    struct kv_seq *t = seq_of(q, 0);
    assert_int_equal(kv_seq_reserve(t, 1), REALM_E_NO_ROOM);
    assert_int_equal(kv_seq_cut(s, 16), 0);
    assert_int_equal(kv_seq_reserve(t, 48), 0);
    assert_int_equal(b.bytes, b.bytes_max);
    kv_seq_close(s);
    kv_seq_close(t);
    kv_pool_close(p);
    kv_pool_close(q);
    assert_int_equal(b.bytes, 0);
}

static void kept_pages_are_bounded(void **state)
{
    (void)state;
    struct kv_budget b;
    kv_budget_init(&b, UINT64_MAX);
    struct kv_pool *p = pool_of(&b);
    uint32_t pages = (uint32_t)((80 << 20) / kv_page_bytes(p));
    kv_seq_close(seq_of(p, pages * 16));
    assert_in_range(b.bytes, 1, 64 << 20);
    kv_pool_close(p);
}

static void failing_allocations_leave_nothing(void **state)
{
    (void)state;
    uint64_t live = mem_live();
    bool done = false;
    for (uint64_t n = 1; !done; n++) {
        struct kv_budget b;
        struct kv_pool *p = NULL;
        struct kv_seq *s = NULL;
        kv_budget_init(&b, 1 << 24);
        mem_fail_at(n, 0);
        int rc = kv_pool_open(&p, &shape, &b);
        if (!rc)
            rc = kv_seq_open(&s, p);
        if (!rc)
            rc = kv_seq_reserve(s, 200);
        mem_fail_at(0, 0);
        assert_true(rc == 0 || rc == REALM_E_NOMEM);
        if (rc && s)
            assert_int_equal(kv_seq_room(s), 0);
        done = rc == 0;
        kv_seq_close(s);
        kv_pool_close(p);
        assert_int_equal(mem_live(), live);
        assert_int_equal(b.bytes, 0);
        assert_int_equal(b.pages_used, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regions_of_a_page_do_not_overlap),
        cmocka_unit_test(a_page_takes_what_its_type_says),
        cmocka_unit_test(reserve_and_cut_hold_just_the_pages_wanted),
        cmocka_unit_test(pages_of_sequences_are_their_own),
        cmocka_unit_test(the_budget_holds_and_a_refusal_changes_nothing),
        cmocka_unit_test(free_pages_of_other_pools_make_room),
        cmocka_unit_test(kept_pages_are_bounded),
        cmocka_unit_test(failing_allocations_leave_nothing),
    };
    return cmocka_run_group_tests_name("kv", tests, NULL, NULL);
}
