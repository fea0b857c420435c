/* The cache of pages: who finds what, who may write, who gives up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kv/cache.h"
#include "realm/status.h"

enum { PAGES_MAX = 64, TOKENS_MAX = PAGES_MAX * KV_PAGE_TOKENS };

static const struct kv_shape shape = {.layers = 1, .kv_heads = 1, .head_dim = 16, .type = KV_F16};

struct bench {
    struct kv_budget budget;
    struct kv_pool *pool;
};

static void open_bench(struct bench *b, uint64_t pages)
{
    kv_budget_init(&b->budget, 0);
    assert_int_equal(kv_pool_open(&b->pool, &shape, &b->budget), 0);
    b->budget.bytes_max = pages * kv_page_bytes(b->pool);
    b->budget.poison = true;
}

static void audit(struct bench *b)
{
    const char *wrong = kv_audit(&b->budget);
    if (wrong)
        fail_msg("%s", wrong);
}

static void close_bench(struct bench *b)
{
    audit(b);
    kv_pool_close(b->pool);
    assert_int_equal(b->budget.bytes, 0);
    assert_int_equal(b->budget.pages_used + b->budget.pages_cached, 0);
    assert_true(list_empty(&b->budget.owners));
}

/* Tokens first, first + 1 and so on. */
static void text(uint32_t *tokens, uint32_t first, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = first + i;
}

/* Writes what position pos of a sequence should hold into its page: a mark of tokens[0..pos]. */
static uint32_t mark_of(const uint32_t *tokens, uint32_t pos)
{
    uint32_t mark = 2166136261u;
    for (uint32_t i = 0; i <= pos; i++)
        mark = (mark ^ tokens[i]) * 16777619u;
    return mark;
}

static void compute(struct kv_seq *s, const uint32_t *tokens, uint32_t from, uint32_t n)
{
    for (uint32_t pos = from; pos < n; pos++) {
        uint32_t mark = mark_of(tokens, pos), *page = kv_seq_page(s, pos);
        page[pos % KV_PAGE_TOKENS] = mark;
    }
}

static void expect_marks(const struct kv_seq *s, const uint32_t *tokens, uint32_t n)
{
    for (uint32_t pos = 0; pos < n; pos++) {
        const uint32_t *page = kv_seq_pages(s)[pos / KV_PAGE_TOKENS];
        assert_int_equal(page[pos % KV_PAGE_TOKENS], mark_of(tokens, pos));
    }
}

/* A sequence as the scheduler opens one; *found: positions that were there. */
static struct kv_seq *begin(struct bench *b, const char *tenant, uint32_t public_pages,
                            const uint32_t *tokens, uint32_t n, uint32_t *found)
{
    struct kv_seq *s;
    assert_int_equal(kv_seq_open(&s, b->pool), 0);
    assert_int_equal(kv_seq_own(s, tenant, public_pages), 0);
    uint32_t pages = kv_cached_pages(b->pool, tenant, public_pages, tokens, n - 1);
    assert_int_equal(kv_seq_share(s, tokens, n - 1), pages * KV_PAGE_TOKENS);
    int status = kv_seq_reserve(s, n);
    assert_int_equal(status, 0);
    *found = kv_seq_copy(s, tokens, n - 1);
    expect_marks(s, tokens, *found);
    audit(b);
    return s;
}

/* All of a life; returns what was found. */
static uint32_t live(struct bench *b, const char *tenant, uint32_t public_pages,
                     const uint32_t *tokens, uint32_t n)
{
    uint32_t found;
    struct kv_seq *s = begin(b, tenant, public_pages, tokens, n, &found);
    compute(s, tokens, found, n);
    expect_marks(s, tokens, n);
    kv_seq_leave(s, tokens, n);
    audit(b);
    kv_seq_close(s);
    audit(b);
    return found;
}

static void a_prompt_is_found_again_but_for_its_last_position(void **state)
{
    (void)state;
    uint32_t t[100], u[100];
    struct bench b;
    for (uint32_t n = 1; n <= 100; n++) {
        open_bench(&b, 100);
        text(t, 0, n);
        assert_int_equal(live(&b, "a", 0, t, n), 0);
        assert_int_equal(live(&b, "a", 0, t, n), n - 1);
        assert_int_equal(live(&b, "a", 0, t, n), n - 1);
        assert_int_equal(b.budget.pages_cached, (n + 15) / 16); // and no page twice
        /* One that goes another way from position k on. */
        for (uint32_t k = 0; k < n; k += 7) {
            memcpy(u, t, n * sizeof(*t));
            u[k] = 5000 + k;
            uint32_t found = live(&b, "a", 0, u, n);
            assert_in_range(found, k / 16 * 16, k);
            assert_true(k / 16 * 16 == k || found == k);
        }
        close_bench(&b);
    }
}

/* I01: what one tenant left is not there for another. */
static void tenants_find_nothing_of_each_other(void **state)
{
    (void)state;
    uint32_t t[60];
    struct bench b;
    open_bench(&b, 100);
    text(t, 0, 60);
    assert_int_equal(live(&b, "a", 0, t, 60), 0);
    assert_int_equal(live(&b, "b", 0, t, 60), 0);
    assert_int_equal(live(&b, "aa", 0, t, 60), 0);
    assert_int_equal(live(&b, "b", 0, t, 60), 59);
    assert_int_equal(kv_tenant_idle_pages(&b.budget, "b"), 4);
    assert_int_equal(kv_tenant_idle_pages(&b.budget, "c"), 0);
    close_bench(&b);
}

/* I03: only pages wholly inside the beginning that both declare; what is private under them stays
 * so, also when it is the same. */
static void the_public_beginning_alone_is_shared(void **state)
{
    (void)state;
    uint32_t t[80];
    struct bench b;
    open_bench(&b, 100);
    text(t, 0, 80);
    assert_int_equal(live(&b, "a", 2, t, 80), 0);
    assert_int_equal(live(&b, "c", 0, t, 80), 0);  // says nothing
    assert_int_equal(live(&b, "b", 2, t, 80), 32); // finds the two pages
    assert_int_equal(live(&b, "b", 2, t, 80), 79);
    assert_int_equal(live(&b, "a", 2, t, 80), 79);
    assert_int_equal(live(&b, "d", 1, t, 80), 16);
    assert_int_equal(live(&b, "e", 3, t, 80), 32); // the third is nobody's public page yet
    /* All of it is public: the last position is computed nevertheless. */
    assert_int_equal(live(&b, "f", 3, t, 48), 47);
    /* A public page that begins alike is none. */
    t[40] = 7777;
    assert_int_equal(live(&b, "g", 3, t, 80), 32);
    close_bench(&b);
}

/* I02: pages are told apart where their hashes are not. */
static void collisions_give_nothing(void **state)
{
    (void)state;
    static uint32_t t[200][48];
    static const char *const tenants[] = {"a", "b", "c", "d"};
    for (int bits = 0; bits <= 8; bits += 8) {
        struct bench b;
        open_bench(&b, 3000);
        b.budget.hash_mask = ((uint64_t)1 << bits) - 1;
        for (uint32_t i = 0; i < 200; i++) {
            text(t[i], i * 100, 48);
            assert_int_equal(live(&b, tenants[i % 4], 0, t[i], 48), 0);
        }
        for (uint32_t i = 0; i < 200; i++) {
            assert_int_equal(live(&b, tenants[(i + 1) % 4], 0, t[i], 48), 0);
            assert_int_equal(live(&b, tenants[i % 4], 0, t[i], 48), 47);
        }
        close_bench(&b);
    }
}

/* C08: eight use the same pages, each cuts into them and writes. */
static void a_shared_page_is_copied_before_it_is_written(void **state)
{
    (void)state;
    enum { SEQS = 8, N = 40 };
    uint32_t t[N], u[SEQS][N], found;
    struct kv_seq *seqs[SEQS];
    struct bench b;
    open_bench(&b, 100);
    text(t, 0, N);
    assert_int_equal(live(&b, "a", 0, t, N), 0);
    for (uint32_t i = 0; i < SEQS; i++) {
        seqs[i] = begin(&b, "a", 0, t, N, &found);
        assert_int_equal(found, N - 1);
        assert_ptr_equal(kv_seq_pages(seqs[i])[1], kv_seq_pages(seqs[0])[1]);
    }
    assert_int_equal(b.budget.pages_used, 2 + SEQS);
    for (uint32_t i = 0; i < SEQS; i++) {
        memcpy(u[i], t, sizeof(t));
        u[i][20 + i] = 9000 + i;
        assert_int_equal(kv_seq_cut(seqs[i], 20 + i), 0);
        audit(&b);
        assert_int_equal(kv_seq_reserve(seqs[i], N), 0);
        compute(seqs[i], u[i], 20 + i, N);
        audit(&b);
    }
    for (uint32_t i = 0; i < SEQS; i++)
        expect_marks(seqs[i], u[i], N);
    for (uint32_t i = 0; i < SEQS; i++) {
        kv_seq_leave(seqs[i], u[i], N);
        kv_seq_close(seqs[i]);
    }
    assert_int_equal(live(&b, "a", 0, t, N), N - 1);
    for (uint32_t i = 0; i < SEQS; i++)
        assert_int_equal(live(&b, "a", 0, u[i], N), N - 1);
    close_bench(&b);
}

/* Two that compute the same at the same time have one page of it in the end. */
static void equal_pages_become_one(void **state)
{
    (void)state;
    uint32_t t[40], found;
    struct bench b;
    open_bench(&b, 100);
    text(t, 0, 40);
    struct kv_seq *x = begin(&b, "a", 0, t, 40, &found), *y = begin(&b, "a", 0, t, 40, &found);
    compute(x, t, 0, 40);
    compute(y, t, 0, 40);
    assert_int_equal(b.budget.pages_used, 6);
    kv_seq_keep(x, t, 40);
    kv_seq_keep(y, t, 20);
    audit(&b);
    assert_int_equal(b.budget.pages_used, 5);
    kv_seq_keep(y, t, 40);
    expect_marks(y, t, 40);
    assert_int_equal(b.budget.pages_used, 4);
    kv_seq_close(x);
    expect_marks(y, t, 40);
    kv_seq_close(y);
    close_bench(&b);
}

/* The one used longest ago goes first, from its end. */
static void the_oldest_goes_first(void **state)
{
    (void)state;
    uint32_t t[3][33], big[120], found;
    struct bench b;
    open_bench(&b, 10);
    for (uint32_t i = 0; i < 3; i++) {
        text(t[i], i * 1000, 33);
        live(&b, "a", 0, t[i], 33); // three pages each
    }
    live(&b, "a", 0, t[0], 33);
    assert_int_equal(b.budget.pages_cached, 9);
    text(big, 9000, 33);
    live(&b, "a", 0, big, 33); // one is free, two must go: both of t[1]
    assert_int_equal(kv_cached_pages(b.pool, "a", 0, t[1], 33), 1);
    assert_int_equal(kv_cached_pages(b.pool, "a", 0, t[2], 33), 2);
    assert_int_equal(kv_cached_pages(b.pool, "a", 0, t[0], 33), 2);
    /* What is in use stays, and what cannot be had in full costs nothing. */
    struct kv_seq *s = begin(&b, "a", 0, t[0], 33, &found), *other;
    assert_int_equal(kv_seq_open(&other, b.pool), 0);
    assert_int_equal(kv_seq_reserve(other, 8 * 16), REALM_E_NO_ROOM);
    assert_int_equal(kv_cached_pages(b.pool, "a", 0, t[2], 33), 2);
    assert_int_equal(kv_seq_reserve(other, 7 * 16), 0);
    audit(&b);
    assert_int_equal(b.budget.pages_cached, 0);
    expect_marks(s, t[0], 32);
    kv_seq_close(s);
    kv_seq_close(other);
    close_bench(&b);
}

/* I13: whoever fills the cache pushes out what is his own. */
static void one_tenant_does_not_push_out_another(void **state)
{
    (void)state;
    uint32_t t[65], u[65];
    struct bench b;
    open_bench(&b, 20);
    text(t, 0, 65);
    live(&b, "b", 0, t, 65); // five pages; older than all that follows
    for (uint32_t i = 0; i < 100; i++) {
        text(u, 1000 + i * 100, 65);
        live(&b, "a", 0, u, 65);
        assert_int_equal(kv_tenant_idle_pages(&b.budget, "b"), 5);
    }
    assert_int_equal(live(&b, "b", 0, t, 65), 64);
    /* But nobody is kept from running by what another has left. */
    struct kv_seq *s;
    assert_int_equal(kv_seq_open(&s, b.pool), 0);
    assert_int_equal(kv_seq_own(s, "a", 0), 0);
    assert_int_equal(kv_seq_reserve(s, 20 * 16), 0);
    kv_seq_close(s);
    close_bench(&b);
}

static void other_pools_give_up_theirs(void **state)
{
    (void)state;
    uint32_t t[65];
    struct bench b;
    struct kv_pool *other;
    struct kv_seq *s;
    open_bench(&b, 6);
    text(t, 0, 65);
    live(&b, "a", 0, t, 65);
    const struct kv_shape larger = {.layers = 3, .kv_heads = 2, .head_dim = 24, .type = KV_F32};
    assert_int_equal(kv_pool_open(&other, &larger, &b.budget), 0);
    assert_true(kv_page_bytes(other) > kv_page_bytes(b.pool));
    b.budget.bytes_max = 2 * kv_page_bytes(other);
    assert_int_equal(kv_seq_open(&s, other), 0);
    assert_int_equal(kv_seq_reserve(s, 33), REALM_E_NO_ROOM);
    assert_int_equal(kv_seq_reserve(s, 32), 0);
    audit(&b);
    kv_seq_close(s);
    kv_pool_close(other);
    close_bench(&b);
}

struct sim {
    struct kv_seq *seq;
    unsigned tenant, public_pages;
    uint32_t tokens[200], n, computed;
};

/* Many lives at once, in little room, over texts that have much in common. */
static void whatever_happens_marks_are_right(void **state)
{
    (void)state;
    enum { SIMS = 12, TURNS = 20000 };
    static struct sim sims[SIMS];
    static const char *const tenants[] = {"a", "b", "c"};
    struct bench b;
    open_bench(&b, 40);
    b.budget.hash_mask = 15;
    uint64_t reused = 0;
    for (uint64_t turn = 0; turn < TURNS; turn++) {
        uint32_t r[4];
        rng_philox(3, 0, turn, r);
        struct sim *s = &sims[r[0] % SIMS];
        if (!s->seq) {
            s->tenant = r[1] % 3;
            s->public_pages = r[1] / 3 % 3;
            s->n = 36 + r[2] % 100;
            for (uint32_t i = 0; i < s->n; i++)
                s->tokens[i] = i + (i >= r[3] % 150 ? 1000 * (1 + r[3] / 150 % 3) : 0);
            assert_int_equal(kv_seq_open(&s->seq, b.pool), 0);
            assert_int_equal(kv_seq_own(s->seq, tenants[s->tenant], s->public_pages), 0);
            (void)kv_seq_share(s->seq, s->tokens, s->n - 1);
            if (kv_seq_reserve(s->seq, s->n)) {
                kv_seq_close(s->seq);
                s->seq = NULL;
                continue;
            }
            s->computed = kv_seq_copy(s->seq, s->tokens, s->n - 1);
            reused += s->computed;
            expect_marks(s->seq, s->tokens, s->computed);
        } else if (r[1] % 4) {
            uint32_t to = s->computed + 1 + r[2] % 40;
            to = to < s->n ? to : s->n;
            compute(s->seq, s->tokens, s->computed, to);
            s->computed = to;
            kv_seq_keep(s->seq, s->tokens, to);
        } else {
            expect_marks(s->seq, s->tokens, s->computed);
            kv_seq_leave(s->seq, s->tokens, s->computed);
            kv_seq_close(s->seq);
            s->seq = NULL;
        }
        audit(&b);
    }
    assert_true(reused > TURNS);
    for (unsigned i = 0; i < SIMS; i++) {
        if (sims[i].seq)
            expect_marks(sims[i].seq, sims[i].tokens, sims[i].computed);
        kv_seq_close(sims[i].seq);
    }
    close_bench(&b);
}

static void failing_allocations_leave_nothing(void **state)
{
    (void)state;
    uint32_t t[60];
    uint64_t live_before = mem_live();
    bool done = false;
    text(t, 0, 60);
    for (uint64_t n = 1; !done; n++) {
        struct bench b;
        struct kv_seq *s = NULL;
        open_bench(&b, 50);
        live(&b, "b", 2, t, 36);
        mem_fail_at(n, 0);
        int rc = kv_seq_open(&s, b.pool);
        if (!rc)
            rc = kv_seq_own(s, "a", 2);
        if (!rc)
            (void)kv_seq_share(s, t, 59);
        if (!rc)
            rc = kv_seq_reserve(s, 60);
        if (!rc) {
            uint32_t found = kv_seq_copy(s, t, 59);
            compute(s, t, found, 60);
            kv_seq_leave(s, t, 60);
        }
        mem_fail_at(0, 0);
        assert_true(rc == 0 || rc == REALM_E_NOMEM);
        audit(&b);
        kv_seq_close(s);
        done =
            rc == 0 && kv_tenant_idle_pages(&b.budget, "a") == 2 && live(&b, "a", 2, t, 60) == 59;
        close_bench(&b);
        assert_int_equal(mem_live(), live_before);
        assert_true(n < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompt_is_found_again_but_for_its_last_position),
        cmocka_unit_test(tenants_find_nothing_of_each_other),
        cmocka_unit_test(the_public_beginning_alone_is_shared),
        cmocka_unit_test(collisions_give_nothing),
        cmocka_unit_test(a_shared_page_is_copied_before_it_is_written),
        cmocka_unit_test(equal_pages_become_one),
        cmocka_unit_test(the_oldest_goes_first),
        cmocka_unit_test(one_tenant_does_not_push_out_another),
        cmocka_unit_test(other_pools_give_up_theirs),
        cmocka_unit_test(whatever_happens_marks_are_right),
        cmocka_unit_test(failing_allocations_leave_nothing),
    };
    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
