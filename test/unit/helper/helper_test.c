/* The helper process and its parent: this program is its own child. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/thread.h"
#include "helper/helper.h"

/* For what must come, on a machine of any speed. */
enum { PATIENCE_MS = 60000 };

/* The child's work: "pid"; "fd N": whether it is open; "die"; "sleep"; "count": how many counts
 * there were; else an echo. */
static int work(const struct slice *parts, size_t n_parts, struct buf *out, struct realm_error *err)
{
    int fd = 0;
    if (n_parts == 2) {
        memcpy(&fd, parts[1].p, sizeof(fd));
        return buf_addch(out, fcntl(fd, F_GETFD) < 0 ? 'n' : 'y');
    }
    if (slice_is(parts[0], "pid"))
        return buf_addf(out, "%d", (int)getpid());
    static int counts;
    if (slice_is(parts[0], "count"))
        return buf_addf(out, "%d", counts++);
    if (slice_is(parts[0], "die"))
        raise(SIGKILL);
    if (slice_is(parts[0], "sleep"))
        sleep(100);
    if (slice_is(parts[0], "refuse")) {
        err->status = REALM_E_ARG;
        snprintf(err->message, sizeof(err->message), "no");
        return REALM_E_ARG;
    }
    return buf_add(out, parts[0].p, parts[0].n);
}

static int call_as(struct helper *h, const char *who, const char *text, uint32_t timeout_ms,
                   const struct realm_wait *wait, struct buf *out)
{
    const struct slice part = slice_of(text);
    const struct helper_task task = {
        .op = HELPER_RENDER,
        .parts = &part,
        .n_parts = 1,
        .timeout_ms = timeout_ms,
        .who = who,
        .wait = wait,
    };
    struct realm_error err = {0};
    buf_clear(out);
    int status = helper_call(h, &task, out, &err);
    assert_int_equal(err.status, status);
    return status;
}

static int call(struct helper *h, const char *text, uint32_t timeout_ms, struct buf *out)
{
    return call_as(h, NULL, text, timeout_ms, NULL, out);
}

static pid_t pid_of_child(struct helper *h, struct buf *out)
{
    assert_int_equal(call(h, "pid", PATIENCE_MS, out), 0);
    return (pid_t)strtol(buf_cstr(out), NULL, 10);
}

static bool at_once(void *ctx)
{
    (void)ctx;
    return true;
}

static void a_caller_who_goes_away_ends_his_call(void **state)
{
    (void)state;
    struct helper *h;
    struct buf out;
    const struct realm_wait gone = {.cancelled = at_once};
    buf_init(&out, 1000);
    assert_int_equal(helper_open(&h, NULL), 0);
    assert_int_equal(call_as(h, NULL, "sleep", 60000, &gone, &out), REALM_E_CANCELLED);
    const struct realm_wait soon = {.deadline_ns = clock_ns(clock_system()) + 50000000};
    assert_int_equal(call_as(h, NULL, "sleep", 60000, &soon, &out), REALM_E_DEADLINE);
    assert_int_equal(call(h, "still here", PATIENCE_MS, &out), 0);
    helper_close(h);
    buf_free(&out);
}

static void calls_after_failures_are_answered(void **state)
{
    (void)state;
    struct helper *h;
    struct buf out;
    buf_init(&out, MiB);
    assert_int_equal(helper_open(&h, NULL), 0);
    assert_int_equal(call(h, "die", PATIENCE_MS, &out), REALM_E_LIMIT);
    assert_int_equal(call(h, "a", PATIENCE_MS, &out), 0);
    assert_string_equal(buf_cstr(&out), "a");
    uint64_t start = clock_ms(clock_system());
    assert_int_equal(call(h, "sleep", 50, &out), REALM_E_DEADLINE);
    assert_true(clock_ms(clock_system()) - start < 50000); // half of the child's sleep
    pid_t child = pid_of_child(h, &out);
    assert_int_equal(call(h, "refuse", PATIENCE_MS, &out), REALM_E_ARG);
    assert_int_equal(pid_of_child(h, &out), child); // an error of the call ends no child
    helper_close(h);
    buf_free(&out);
}

static void a_child_that_died_between_calls_is_nobody_s_error(void **state)
{
    (void)state;
    struct helper *h;
    struct buf out;
    buf_init(&out, MiB);
    assert_int_equal(helper_open(&h, NULL), 0);
    pid_t child = pid_of_child(h, &out);
    siginfo_t info;
    kill(child, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(call(h, "a", PATIENCE_MS, &out), 0);
    helper_close(h);
    buf_free(&out);
}

struct first_call {
    struct helper *h;
    struct buf out;
    pid_t child;
};

static void make_first_call(void *arg)
{
    struct first_call *c = arg;
    c->child = pid_of_child(c->h, &c->out);
}

static void the_child_outlives_the_thread_that_called_first(void **state)
{
    (void)state;
    struct first_call c;
    struct thread thread;
    buf_init(&c.out, MiB);
    assert_int_equal(helper_open(&c.h, NULL), 0);
    assert_int_equal(thread_start(&thread, "first", 0, make_first_call, &c), 0);
    thread_join(&thread);
    usleep(50000);
    assert_int_equal(pid_of_child(c.h, &c.out), c.child);
    helper_close(c.h);
    buf_free(&c.out);
}

/* A child that is kept busy by a call on a thread of its own, until the test lets it end. */
struct busy {
    struct first_call c;
    struct thread sleeper;
    atomic_uint asked; /* whether it goes on: it has its turn from the first time on */
    atomic_bool over;
};

static bool busy_is_over(void *ctx)
{
    struct busy *b = ctx;
    atomic_fetch_add(&b->asked, 1);
    return atomic_load(&b->over);
}

static void sleep_until_over(void *arg)
{
    struct busy *b = arg;
    const struct realm_wait wait = {.cancelled = busy_is_over, .ctx = b};
    assert_int_equal(call_as(b->c.h, NULL, "sleep", UINT32_MAX, &wait, &b->c.out),
                     REALM_E_CANCELLED);
}

static void busy_open(struct busy *b)
{
    atomic_init(&b->asked, 0);
    atomic_init(&b->over, false);
    buf_init(&b->c.out, MiB);
    assert_int_equal(helper_open(&b->c.h, NULL), 0);
    pid_of_child(b->c.h, &b->c.out);
    assert_int_equal(thread_start(&b->sleeper, "sleeper", 0, sleep_until_over, b), 0);
    while (atomic_load(&b->asked) == 0)
        usleep(1000);
}

static void busy_end(struct busy *b)
{
    atomic_store(&b->over, true);
    thread_join(&b->sleeper);
}

static void busy_close(struct busy *b)
{
    helper_close(b->c.h);
    buf_free(&b->c.out);
}

/* Calls of several names that stand behind one which lasts. */
struct one {
    struct helper *h;
    const char *who;
    uint32_t timeout_ms;
    bool gives_up;
    atomic_uint asked; /* whether it still waits, which it is while it stands in line */
    struct thread thread;
    int status, at; /* as the child counted them */
};

static bool one_gave_up(void *ctx)
{
    struct one *one = ctx;
    atomic_fetch_add(&one->asked, 1);
    return one->gives_up;
}

static void call_of_one(void *arg)
{
    struct one *one = arg;
    const struct realm_wait wait = {.cancelled = one_gave_up, .ctx = one};
    struct buf out;
    buf_init(&out, MiB);
    one->status = call_as(one->h, one->who, "count", one->timeout_ms, &wait, &out);
    one->at = one->status ? -1 : (int)strtol(buf_cstr(&out), NULL, 10);
    buf_free(&out);
}

/* Until it stands in line. */
static void start_one(struct one *one)
{
    assert_int_equal(thread_start(&one->thread, "caller", 0, call_of_one, one), 0);
    while (atomic_load(&one->asked) == 0)
        usleep(1000);
}

static void the_wait_for_a_turn_ends_in_time(void **state)
{
    (void)state;
    struct busy b;
    struct buf out;
    busy_open(&b);
    buf_init(&out, MiB);
    uint64_t start = clock_ns(clock_system());
    const struct realm_wait wait = {.deadline_ns = start + 100000000u};
    assert_int_equal(call_as(b.c.h, NULL, "a", PATIENCE_MS, &wait, &out), REALM_E_DEADLINE);
    assert_true(clock_ns(clock_system()) >= wait.deadline_ns);
    busy_end(&b);
    assert_int_equal(call(b.c.h, "a", PATIENCE_MS, &out), 0);
    busy_close(&b);
    buf_free(&out);
}

/* The status of a call that has so long, and has waited for as long when its turn comes. */
static int call_late(uint32_t ms)
{
    struct busy b;
    busy_open(&b);
    struct one one = {.h = b.c.h, .who = "", .timeout_ms = ms};
    start_one(&one);
    usleep(ms * 1000);
    busy_end(&b);
    thread_join(&one.thread);
    busy_close(&b);
    return one.status;
}

/* A machine on which that is too little for a new child has twice as much, and so on. */
static void the_wait_for_a_turn_takes_nothing_of_a_call_s_time(void **state)
{
    int status = REALM_E_DEADLINE;
    (void)state;
    for (uint32_t ms = 500; status == REALM_E_DEADLINE && ms <= 16000; ms *= 2)
        status = call_late(ms);
    assert_int_equal(status, 0);
}

static void names_take_turns(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "a", "a", "a", "b", "b", "c"};
    enum { N = ARRAY_LEN(names) };
    struct busy b;
    char order[N] = {0};
    struct one ones[N];
    busy_open(&b);
    for (int i = 0; i < N; i++) {
        /* The second a gives up, and keeps nobody's turn. */
        ones[i] = (struct one){
            .h = b.c.h, .who = names[i], .timeout_ms = PATIENCE_MS, .gives_up = i == 1};
        start_one(&ones[i]);
        if (i == 1)
            thread_join(&ones[i].thread);
    }
    busy_end(&b);
    for (int i = 0; i < N; i++)
        if (i != 1)
            thread_join(&ones[i].thread);
    for (int i = 0; i < N; i++) {
        assert_int_equal(ones[i].at == -1, i == 1);
        if (ones[i].at >= 0)
            order[ones[i].at] = ones[i].who[0];
    }
    assert_string_equal(order, "abcaba");
    busy_close(&b);
}

static void the_child_has_no_files_of_ours(void **state)
{
    (void)state;
    struct helper *h;
    struct buf out;
    struct realm_error err;
    int fd = fcntl(STDERR_FILENO, F_DUPFD, 10); // open over an exec
    const struct slice parts[] = {slice_of("fd"), {(const uint8_t *)&fd, sizeof(fd)}};
    assert_true(fd >= 10);
    buf_init(&out, MiB);
    assert_int_equal(helper_open(&h, NULL), 0);
    const struct helper_task task = {
        .op = HELPER_RENDER, .parts = parts, .n_parts = 2, .timeout_ms = PATIENCE_MS};
    assert_int_equal(helper_call(h, &task, &out, &err), 0);
    assert_string_equal(buf_cstr(&out), "n");
    helper_close(h);
    buf_free(&out);
    close(fd);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_caller_who_goes_away_ends_his_call),
        cmocka_unit_test(calls_after_failures_are_answered),
        cmocka_unit_test(a_child_that_died_between_calls_is_nobody_s_error),
        cmocka_unit_test(the_child_outlives_the_thread_that_called_first),
        cmocka_unit_test(the_wait_for_a_turn_ends_in_time),
        cmocka_unit_test(the_wait_for_a_turn_takes_nothing_of_a_call_s_time),
        cmocka_unit_test(names_take_turns),
        cmocka_unit_test(the_child_has_no_files_of_ours),
    };
    if (argc > 1 && strcmp(argv[1], "helper") == 0)
        return helper_serve(HELPER_FD, &(struct helper_work){.fn = {[HELPER_RENDER] = work},
                                                             .cpu_s = {[HELPER_RENDER] = 1}});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
