/* Thousands of requests, some trapped, some cancelled, between loads and clears of
 * the model; afterwards everything is back where it was. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/thread.h"
#include "util.h"

enum { THREADS = 4, WARM_UP = 500, REQUESTS = 5000, CYCLES = 20, RSS_MORE_BYTES_MAX = 2 << 20 };

static struct world world;

/* What may not grow. */
struct holdings {
    unsigned fds, tasks;
    uint64_t allocations, rss;
    uint64_t kv_pages;
    uint32_t leases, models;
};

static unsigned entries(const char *name)
{
    DIR *d = opendir(name);
    unsigned n = 0;
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Guests' threads that were joined are listed for a moment longer. */
static void await_guests_end(void)
{
    bool listed = true;
    for (unsigned i = 0; listed && i < 30000; i++) {
        DIR *d = opendir("/proc/self/task");
        assert_non_null(d);
        listed = false;
        for (struct dirent *e; (e = readdir(d));) {
            char path[300], name[16] = "";
            snprintf(path, sizeof(path), "/proc/self/task/%s/comm", e->d_name);
            FILE *f = fopen(path, "r");
            listed = listed || (f && fgets(name, sizeof(name), f) && strcmp(name, "guest\n") == 0);
            if (f)
                fclose(f);
        }
        closedir(d);
        usleep(listed ? 1000 : 0);
    }
}

/* With no model loaded. */
static struct holdings holdings_now(void)
{
    await_guests_end();
    realm_clear(world.engine);
    const struct realm_stats s = world_stats(&world);
    return (struct holdings){
        .fds = entries("/proc/self/fd"),
        .tasks = entries("/proc/self/task"),
        .allocations = s.allocations,
        .rss = resident_bytes(),
        .kv_pages = s.kv_pages,
        .leases = s.leases,
        .models = s.models,
    };
}

enum kind { ANSWERED, TRAPPED, CANCELLED, KINDS };

struct totals {
    atomic_uint n[KINDS], unexpected;
};

static struct totals totals;

static enum kind kind_of(unsigned i)
{
    return i % 10 == 3 ? TRAPPED : i % 10 == 7 ? CANCELLED : ANSWERED;
}

static bool cancelled_soon(void *ctx)
{
    unsigned *left = ctx;
    return *left == 0 || --*left == 0;
}

/* A generation of its own, and one that is left running when the guest ends,
 * traps or is cancelled. */
static void write_script(struct script *s, enum kind kind, unsigned i)
{
    static const char start[] = "{\"prompt\":\"One day\",\"max_tokens\":500}";
    script_add(s, "s $4096 The story of %u", i);
    script_add(s, "a $0 %u", kind == CANCELLED ? 900 : 2 + i % 5); // max_tokens
    script_add(s, "w $4 3333333f6666663f28000000cdcc8c3f000000000000000000000000");
    script_add(s, "s $256 %s", start);
    script_add(s, "c realm_generate_start $256 %zu", strlen(start));
    script_add(s, "v 0");
    script_add(s, "c realm_generate_next @0 $512 64");
    if (i % 2 && kind == ANSWERED)
        script_add(s, "c realm_generate_end @0");
    script_add(s, "c realm_host_generate M $4096 12 $0 $16384 65536");
    if (kind == TRAPPED)
        script_add(s, "t");
    if (kind == CANCELLED)
        script_add(s, "l"); // an answer that was whole before anybody asked is not the end
}

static void one_request(unsigned i)
{
    const enum kind kind = kind_of(i);
    static const int want[KINDS] = {0, REALM_E_GUEST, REALM_E_CANCELLED};
    unsigned polls = 2 + i / 10 % 3;
    struct script s;
    struct reply reply;
    struct realm_model *m;
    script_init(&s);
    write_script(&s, kind, i);
    m = world_model(&world, world.endless);
    const struct wasm_request request = {
        .tenant = world.tenants[0],
        .model = m,
        .prompt = (const char *)s.text.p,
        .prompt_bytes = s.text.n,
        .cancelled = kind == CANCELLED ? cancelled_soon : NULL,
        .ctx = &polls,
    };
    ask(world.guest, &request, &reply);
    realm_model_close(m);
    atomic_fetch_add(&totals.n[kind], 1);
    if (reply.status != want[kind]) {
        print_message("# %u: %s\n", i, reply.err.message);
        atomic_fetch_add(&totals.unexpected, 1);
    }
    reply_free(&reply);
    script_free(&s);
}

struct share {
    unsigned from, to;
};

static void one_share(void *arg)
{
    const struct share *share = arg;
    for (unsigned i = share->from; i < share->to; i++)
        one_request(i);
}

/* n requests by THREADS threads. */
static void many_requests(unsigned n)
{
    struct thread threads[THREADS];
    struct share shares[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        shares[i] = (struct share){i * n / THREADS, (i + 1) * n / THREADS};
        assert_int_equal(
            thread_start(&threads[i], "guest", WASM_THREAD_STACK_BYTES, one_share, &shares[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        thread_join(&threads[i]);
}

static void expect_back(const struct holdings *before, const struct holdings *after)
{
    assert_int_equal(after->kv_pages, 0);
    assert_int_equal(after->leases, 0);
    assert_int_equal(after->models, 0);
    assert_int_equal(after->fds, before->fds);
    assert_int_equal(after->tasks, before->tasks);
    assert_int_equal(after->allocations, before->allocations);
    print_message("# resident: %.1f MiB, then %.1f MiB\n", (double)before->rss / 1048576,
                  (double)after->rss / 1048576);
#ifndef REALM_TEST_SANITIZED
    assert_true(after->rss <= before->rss + RSS_MORE_BYTES_MAX);
#endif
}

/* One whose guests have written nothing yet: their last lines are kept. */
static void renew_tenant(void)
{
    wasm_tenant_close(world.tenants[0]);
    world.tenants[0] = world_tenant(&world, "tenant-0");
}

static void all_is_given_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CYCLES / 2; i++) {
        many_requests(scaled(WARM_UP) / (CYCLES / 2));
        realm_clear(world.engine);
    }
    renew_tenant();
    const struct holdings before = holdings_now();
    totals = (struct totals){0};
    const uint64_t loads = world_stats(&world).loads;

    const unsigned each = scaled(REQUESTS) / CYCLES;
    for (unsigned i = 0; i < CYCLES; i++) {
        many_requests(each);
        assert_true(realm_clear(world.engine) > 0);
    }

    renew_tenant();
    const struct holdings after = holdings_now();
    assert_int_equal(atomic_load(&totals.unexpected), 0);
    assert_int_equal(world_stats(&world).loads - loads, CYCLES);
    assert_in_range(atomic_load(&totals.n[TRAPPED]), each * CYCLES / 13, each * CYCLES / 8);
    assert_in_range(atomic_load(&totals.n[CANCELLED]), each * CYCLES / 13, each * CYCLES / 8);
    expect_back(&before, &after);
}

static int open_all(void **state)
{
    *state = &world;
    world_open_endless(&world, NULL, NULL);
    world_people(&world, "script", 1);
    realm_model_close(world.model); // each request opens it itself
    world.model = NULL;
    return 0;
}

int e2e_tests(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_is_given_back)};
    return cmocka_run_group_tests(tests, open_all, world_teardown);
}
