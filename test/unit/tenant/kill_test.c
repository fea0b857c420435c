/* A process that is killed at any moment: whatever it had acknowledged is there, once, and
 * nothing is open.  The argument: how many trials, 40 without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/thread.h"
#include "util.h"

enum { THREADS = 4, REQUESTS_MAX = 20000 };

static unsigned trials = 40;

/* Programs that call two models. */
static const struct tenant_part parts_noted[] = {{"tiny", 1, 0, 0}, {"dear", 0, 0, 1}};
static const struct tenant_part parts_used[] = {{"tiny", 1, 0, 1}, {"dear", 1, 0, 2}};

struct load {
    struct thread thread;
    struct world *w;
    uint32_t trial, lane;
    int fd;
};

/* Each id is a number, and is written to the pipe once it is durable. */
static void produce(void *arg)
{
    struct load *l = arg;
    struct tenant_pass pass = pass_of(l->w, NULL);
    for (uint32_t i = 0;; i++) {
        char id[40];
        uint32_t number = (l->trial * THREADS + l->lane) * REQUESTS_MAX + i;
        snprintf(id, sizeof(id), "req_%u", number);
        struct tenant_grant *g = admit(l->w, &pass, id);
        if (!g)
            continue;
        if (i % 3 == 0)
            tenant_note(g, parts_noted, ARRAY_LEN(parts_noted));
        if (settle_parts(g, TENANT_OK, parts_used, ARRAY_LEN(parts_used)) == 0 &&
            write(l->fd, &number, 4) != 4)
            return;
    }
}

static void child_main(struct world *w, uint32_t trial, int fd)
{
    static struct load loads[THREADS];
    world_open(w);
    for (uint32_t i = 0; i < THREADS; i++) {
        loads[i] = (struct load){.w = w, .trial = trial, .lane = i, .fd = fd};
        if (thread_start(&loads[i].thread, "load", 0, produce, &loads[i]))
            _exit(1);
    }
    for (;;)
        pause();
}

/* How many were acknowledged before the end. */
static size_t one_trial(struct world *w, uint32_t trial, uint32_t *acked, size_t n)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(fds[0]);
        child_main(w, trial, fds[1]);
    }
    close(fds[1]);
    /* At any time, or just when something is acknowledged. */
    if (trial % 2)
        nanosleep(&(struct timespec){0, (5 + rand() % 95) * 1000000l}, NULL);
    for (int wait = trial % 2 ? 0 : 1 + rand() % 20; wait > 0; wait--)
        assert_int_equal(read(fds[0], &acked[n++], 4), 4);
    kill(child, SIGKILL);
    while (n < REQUESTS_MAX && read(fds[0], &acked[n], 4) == 4)
        n++;
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    close(fds[0]);
    return n;
}

/* Each acknowledged row is there once, whole; none is open. */
static size_t check(struct world *w, const uint32_t *acked, size_t n)
{
    sqlite3 *sql;
    sqlite3_stmt *stmt;
    char path[128];
    world_open(w);
    int64_t spent = usage(w, NULL, "prompt_tokens") + usage(w, NULL, "completion_tokens");
    assert_true(usage_of(w, NULL, "tiny", "completion_tokens") >= (int64_t)n);
    assert_true(usage_of(w, NULL, "dear", "completion_tokens") >= 2 * (int64_t)n);
    assert_int_equal(usage_of(w, NULL, "tiny", "prompt_tokens") +
                         usage_of(w, NULL, "dear", "prompt_tokens") +
                         usage_of(w, NULL, "tiny", "completion_tokens") +
                         usage_of(w, NULL, "dear", "completion_tokens"),
                     spent);
    world_close(w);
    snprintf(path, sizeof(path), "%s/realm.db", w->dir);
    assert_int_equal(sqlite3_open(path, &sql), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(sql,
                                        "SELECT count(*), min(outcome), max(outcome),"
                                        " sum(prompt_tokens + completion_tokens) FROM requests"
                                        " WHERE id = ?1",
                                        -1, &stmt, NULL),
                     SQLITE_OK);
    for (size_t i = 0; i < n; i++) {
        char id[40];
        snprintf(id, sizeof(id), "req_%u", acked[i]);
        sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
        assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
        assert_int_equal(sqlite3_column_int(stmt, 0), 1);
        assert_int_equal(sqlite3_column_int(stmt, 1), TENANT_OK);
        assert_int_equal(sqlite3_column_int(stmt, 3), 5);
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
    assert_int_equal(sqlite3_prepare_v2(sql,
                                        "SELECT (SELECT count(*) FROM requests WHERE outcome = -1),"
                                        " (SELECT sum(tokens) FROM spent)",
                                        -1, &stmt, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(stmt, 0), 0);
    assert_int_equal(sqlite3_column_int64(stmt, 1), spent);
    sqlite3_finalize(stmt);
    sqlite3_close(sql);
    return n;
}

/* A08: what was acknowledged is there once. */
static void test_killed(void **state)
{
    (void)state;
    static uint32_t acked[REQUESTS_MAX];
    struct world *w = world_new();
    size_t all = 0;
    srand(trials);
    world_open(w);
    world_close(w);
    for (uint32_t i = 0; i < trials; i++)
        all += check(w, acked, one_trial(w, i, acked, 0));
    print_message("# %u trials, %zu rows acknowledged\n", trials, all);
    assert_true(all > 0);
    world_free(w);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        trials = (unsigned)strtoul(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_killed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
