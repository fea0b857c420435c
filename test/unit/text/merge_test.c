/* The merging core against the plainest way to do it: look at every pair of
 * neighbours, merge the best, again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "realm/status.h"
#include "text/merge.h"

enum { LETTERS = 4, IDS = 64, WORD_MAX = 200 };

/* Which pairs merge, by random; a made-up vocabulary. */
struct rules {
    uint32_t rank[IDS][IDS]; /* 0: they do not */
    uint32_t id[IDS][IDS];
    uint64_t lookups;
};

static bool lookup(const void *ctx, const uint8_t *word, const struct symbol *left,
                   const struct symbol *right, struct candidate *out)
{
    (void)word;
    struct rules *r = (struct rules *)ctx;
    r->lookups++;
    if (!r->rank[left->id][right->id])
        return false;
    out->rank = r->rank[left->id][right->id];
    out->id = r->id[left->id][right->id];
    return true;
}

static uint32_t draw(uint64_t seed, uint32_t a, uint32_t b)
{
    uint32_t r[4];
    rng_philox(seed, a, b, r);
    return r[0];
}

static void make_rules(struct rules *r, uint64_t seed)
{
    memset(r, 0, sizeof(*r));
    for (uint32_t a = 0; a < IDS; a++) {
        for (uint32_t b = 0; b < IDS; b++) {
            uint32_t x = draw(seed, a, b);
            r->rank[a][b] = x % 3 ? 1 + x / 3 % 50 : 0; // few ranks, so that many are equal
            r->id[a][b] = x / 150 % IDS;
        }
    }
}

/* Merges in place and returns how many are left. */
static size_t naive(const struct rules *r, uint32_t *ids, size_t n)
{
    for (;;) {
        size_t best = n;
        for (size_t i = 0; i + 1 < n; i++) {
            uint32_t rank = r->rank[ids[i]][ids[i + 1]];
            if (rank && (best == n || rank < r->rank[ids[best]][ids[best + 1]]))
                best = i;
        }
        if (best == n)
            return n;
        ids[best] = r->id[ids[best]][ids[best + 1]];
        memmove(ids + best + 1, ids + best + 2, (n - best - 2) * sizeof(*ids));
        n--;
    }
}

static void set_word(struct merger *m, const uint32_t *ids, size_t n)
{
    assert_int_equal(merger_reserve(m, n), 0);
    for (uint32_t i = 0; i < n; i++)
        m->symbols[i] = (struct symbol){.at = i, .n = 1, .id = ids[i]};
}

static void same_as_naive(void **state)
{
    (void)state;
    static struct rules rules;
    struct merger m;
    merger_init(&m);
    for (uint32_t seed = 0; seed < 500; seed++) {
        uint32_t ids[WORD_MAX];
        size_t n = 1 + draw(seed, 1, 0) % WORD_MAX;
        make_rules(&rules, 1000 + seed);
        for (uint32_t i = 0; i < n; i++)
            ids[i] = draw(seed, 2, i) % LETTERS;
        set_word(&m, ids, n);
        merger_run(&m, NULL, n, lookup, &rules);
        size_t want = naive(&rules, ids, n), got = 0;
        uint32_t bytes = 0;
        for (uint32_t i = 0; i != MERGE_END; i = m.symbols[i].next) {
            assert_true(got < want);
            assert_int_equal(m.symbols[i].id, ids[got++]);
            assert_int_equal(m.symbols[i].at, bytes);
            bytes += m.symbols[i].n;
        }
        assert_int_equal(got, want);
        assert_int_equal(bytes, n);
    }
    merger_free(&m);
}

static void look_ups_are_linear(void **state)
{
    (void)state;
    static struct rules rules;
    struct merger m;
    merger_init(&m);
    for (uint32_t seed = 0; seed < 20; seed++) {
        size_t n = 1 << 16;
        make_rules(&rules, seed);
        uint32_t *ids = mem_array(n, sizeof(*ids));
        assert_non_null(ids);
        for (uint32_t i = 0; i < n; i++)
            ids[i] = seed % 2 ? draw(seed, 2, i) % LETTERS : 0; // or one letter alone
        set_word(&m, ids, n);
        merger_run(&m, NULL, n, lookup, &rules);
        assert_true(rules.lookups < 3 * n);
        mem_free(ids);
    }
    merger_free(&m);
}

static void memory_is_kept_and_may_fail(void **state)
{
    (void)state;
    struct merger m;
    merger_init(&m);
    for (uint64_t n = 1; n <= 2; n++) {
        mem_fail_at(n, 0);
        assert_int_equal(merger_reserve(&m, 1000), REALM_E_NOMEM);
    }
    mem_fail_at(0, 0);
    assert_int_equal(merger_reserve(&m, 1000), 0);
    struct symbol *kept = m.symbols;
    assert_int_equal(merger_reserve(&m, 10), 0);
    assert_ptr_equal(m.symbols, kept);
    merger_free(&m);
    assert_int_equal(mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_naive),
        cmocka_unit_test(look_ups_are_linear),
        cmocka_unit_test(memory_is_kept_and_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
