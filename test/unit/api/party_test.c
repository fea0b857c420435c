/* What tenants hold of the server together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/party.h"
#include "base/limits.h"
#include "base/mem.h"

/* Enters jobs of so many bytes until there is no more room; how many. */
static size_t fill(struct parties *p, const char *id, size_t bytes, struct party **party)
{
    size_t n = 0;
    struct party *last;
    while (party_enter(p, id, bytes, &last) == 0) {
        *party = last;
        n++;
    }
    return n;
}

static void leave(struct parties *p, struct party *party, size_t bytes, size_t n)
{
    while (n--)
        party_leave(p, party, bytes);
}

static void who_has_much_leaves_room_for_others(void **state)
{
    (void)state;
    enum { MIB = 1 << 20 };
    struct parties p;
    struct party *a = NULL, *b = NULL, *c = NULL;
    uint64_t before = mem_live();
    assert_int_equal(parties_open(&p), 0);
    assert_int_equal(fill(&p, "a", MIB, &a), API_JOBS_BYTES_MAX / MIB / 2);
    assert_int_equal(fill(&p, "b", MIB, &b), API_JOBS_BYTES_MAX / MIB / 4);
    assert_int_equal(fill(&p, NULL, MIB, &c), API_JOBS_BYTES_MAX / MIB / 8);
    assert_int_equal(fill(&p, "a", MIB, &c), 0);
    leave(&p, a, MIB, API_JOBS_BYTES_MAX / MIB / 2);
    leave(&p, b, MIB, API_JOBS_BYTES_MAX / MIB / 4);
    assert_int_equal(p.bytes, API_JOBS_BYTES_MAX / 8);
    size_t jobs_left = API_JOBS_MAX - p.n_jobs;
    assert_int_equal(fill(&p, "b", 0, &b), (jobs_left + 1) / 2);
    parties_stop(&p);
    leave(&p, b, 0, b->n_jobs);
    /* The last of administration's, whose workers are gone. */
    assert_int_equal(party_enter(&p, NULL, 0, &c), 0);
    leave(&p, c, 0, 1);
    leave(&p, c, MIB, c->n_jobs);
    assert_int_equal(p.n_jobs, 0);
    assert_int_equal(p.bytes, 0);
    assert_int_equal(mem_live(), before);
}

static void without_memory_nothing_is_counted(void **state)
{
    (void)state;
    struct parties p;
    struct party *a;
    assert_int_equal(parties_open(&p), 0);
    for (int i = 1; i <= 3; i++) {
        mem_fail_at(i, 0);
        assert_int_equal(party_enter(&p, "a", 1, &a), REALM_E_NOMEM);
        mem_fail_at(0, 0);
        assert_int_equal(p.n_jobs, 0);
        assert_int_equal(p.bytes, 0);
    }
    assert_int_equal(party_enter(&p, "a", 1, &a), 0);
    party_leave(&p, a, 1);
    parties_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_much_leaves_room_for_others),
        cmocka_unit_test(without_memory_nothing_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
