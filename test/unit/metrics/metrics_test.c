/* Counters, histograms and the text that Prometheus reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"
#include "metrics/metrics.h"
#include "metrics/process.h"
#include "realm/status.h"

enum { ROOM = 1 << 16, ADDERS = 4, ADDS = 50000 };

static struct buf text;
static struct metrics_out out;

static int begin(void **state)
{
    (void)state;
    buf_init(&text, ROOM);
    out = (struct metrics_out){.text = &text};
    return 0;
}

static int end(void **state)
{
    (void)state;
    buf_free(&text);
    return 0;
}

static const char *said(void)
{
    assert_int_equal(out.status, 0);
    return buf_cstr(&text);
}

/* The value of the line that begins with series and a blank. */
static double value_of(const char *series)
{
    size_t n = strlen(series);
    for (const char *line = said(); line && *line; line = strchr(line, '\n') + 1)
        if (strncmp(line, series, n) == 0 && line[n] == ' ')
            return strtod(line + n + 1, NULL);
    fail_msg("no line for %s", series);
    return 0;
}

static void a_family_and_its_samples(void **state)
{
    (void)state;
    const struct metrics_label labels[] = {{"model", "tiny"}, {"state", "ready"}};
    metrics_family(&out, "realm_models", METRICS_GAUGE, "Models by state.");
    metrics_sample(&out, "realm_models", labels, 2, 3);
    metrics_sample(&out, "realm_models", NULL, 0, 0.1);
    metrics_one(&out, "realm_tokens_total", METRICS_COUNTER, "Tokens.", 12345678901.0);
    assert_string_equal(said(), "# HELP realm_models Models by state.\n"
                                "# TYPE realm_models gauge\n"
                                "realm_models{model=\"tiny\",state=\"ready\"} 3\n"
                                "realm_models 0.1\n"
                                "# HELP realm_tokens_total Tokens.\n"
                                "# TYPE realm_tokens_total counter\n"
                                "realm_tokens_total 12345678901\n");
}

static void texts_are_escaped(void **state)
{
    (void)state;
    const struct metrics_label label = {"m", "a\"b\\c\nd\tk\xC3\xA4\xFFz"};
    metrics_family(&out, "x", METRICS_GAUGE, "say \"a\\b\"\nand more");
    metrics_sample(&out, "x", &label, 1, 1);
    assert_string_equal(said(), "# HELP x say \"a\\\\b\"\\nand more\n"
                                "# TYPE x gauge\n"
                                "x{m=\"a\\\"b\\\\c\\nd\tk\xC3\xA4\xEF\xBF\xBDz\"} 1\n");
}

static void numbers_read_back(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "0"},
        {-7, "-7"},
        {0.25, "0.25"},
        {1.0 / 3, "0.3333333333333333"},
        {1764093132.32, "1764093132.32"},
        {1e300, "1e+300"},
        {5e-324, "4.94066e-324"},
        {9007199254740993.0, "9007199254740992"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_clear(&text);
        metrics_sample(&out, "x", NULL, 0, cases[i].value);
        assert_int_equal(strncmp(said(), "x ", 2), 0);
        assert_true(strtod(said() + 2, NULL) == cases[i].value);
        if (fabs(cases[i].value) < 1e15)
            assert_int_equal(strncmp(said() + 2, cases[i].text, strlen(cases[i].text)), 0);
    }
    buf_clear(&text);
    metrics_sample(&out, "x", NULL, 0, (double)NAN);
    metrics_sample(&out, "x", NULL, 0, (double)INFINITY);
    metrics_sample(&out, "x", NULL, 0, -(double)INFINITY);
    assert_string_equal(said(), "x NaN\nx +Inf\nx -Inf\n");
}

static void buckets_are_cumulative(void **state)
{
    (void)state;
    static const double bounds[] = {0.001, 0.01, 1};
    struct histogram h;
    histogram_init_seconds(&h);
    h.bounds = bounds;
    h.n = ARRAY_LEN(bounds);
    histogram_add_ns(&h, 0);
    histogram_add_ns(&h, 1000000); // on the bound: not over it
    histogram_add_ns(&h, 1000001);
    histogram_add_ns(&h, 1000000000);
    histogram_add_ns(&h, 2500000000);
    metrics_histogram(&out, "t_seconds", NULL, 0, &h);
    assert_string_equal(said(), "t_seconds_bucket{le=\"0.001\"} 2\n"
                                "t_seconds_bucket{le=\"0.01\"} 3\n"
                                "t_seconds_bucket{le=\"1\"} 4\n"
                                "t_seconds_bucket{le=\"+Inf\"} 5\n"
                                "t_seconds_sum 3.502000001\n"
                                "t_seconds_count 5\n");
}

/* Each bound of the table holds a time that is just it, and the next does one ns more. */
static void bounds_hold_their_own_value(void **state)
{
    (void)state;
    struct histogram h;
    histogram_init_seconds(&h);
    assert_true(h.bounds[0] == 0.001 && h.bounds[h.n - 1] == 600);
    for (size_t i = 0; i < h.n; i++) {
        assert_true(i == 0 || h.bounds[i] > h.bounds[i - 1]);
        uint64_t ns = (uint64_t)(h.bounds[i] * 1e9 + 0.5);
        histogram_add_ns(&h, ns);
        assert_int_equal(atomic_load(&h.counts[i]), i == 0 ? 1 : 2);
        histogram_add_ns(&h, ns + 1);
        assert_int_equal(atomic_load(&h.counts[i + 1]), 1);
    }
}

static void labels_of_a_histogram(void **state)
{
    (void)state;
    static const double bounds[] = {1};
    const struct metrics_label label = {"model", "a"};
    struct histogram h;
    histogram_init_seconds(&h);
    h.bounds = bounds;
    h.n = 1;
    metrics_histogram(&out, "t", &label, 1, &h);
    assert_string_equal(said(), "t_bucket{model=\"a\",le=\"1\"} 0\n"
                                "t_bucket{model=\"a\",le=\"+Inf\"} 0\n"
                                "t_sum{model=\"a\"} 0\n"
                                "t_count{model=\"a\"} 0\n");
}

static void add_many(void *arg)
{
    for (int i = 0; i < ADDS; i++)
        histogram_add_ns(arg, i % 2 ? 500000 : 1500000); // 1 ms on average
}

/* While others add: buckets never fall from one bound to the next, the last is the count, what
 * was counted is in the sum, and nothing ever goes back. */
static void readers_see_a_sound_histogram(void **state)
{
    (void)state;
    static struct histogram h;
    struct thread threads[ADDERS];
    histogram_init_seconds(&h);
    for (size_t i = 0; i < ADDERS; i++)
        assert_int_equal(thread_start(&threads[i], "adder", 0, add_many, &h), 0);
    double before = 0, count = 0;
    do {
        buf_clear(&text);
        metrics_histogram(&out, "t", NULL, 0, &h);
        count = value_of("t_count");
        assert_true(value_of("t_bucket{le=\"+Inf\"}") == count);
        assert_true(value_of("t_bucket{le=\"0.001\"}") <= value_of("t_bucket{le=\"0.0025\"}"));
        assert_true(value_of("t_bucket{le=\"0.0025\"}") == count);
        assert_true(count >= before);
        double low = value_of("t_bucket{le=\"0.001\"}");
        assert_true(value_of("t_sum") >= low * 0.0005 + (count - low) * 0.0015 - 1e-6);
        before = count;
    } while (count < ADDERS * ADDS);
    for (size_t i = 0; i < ADDERS; i++)
        thread_join(&threads[i]);
    buf_clear(&text);
    metrics_histogram(&out, "t", NULL, 0, &h);
    assert_true(value_of("t_count") == ADDERS * ADDS);
    assert_true(fabs(value_of("t_sum") - ADDERS * ADDS * 0.001) < 1e-9);
}

static void sample_page(void)
{
    const struct metrics_label labels[] = {{"model", "we\"ird\\\n\xFF"}, {"kind", "x"}};
    struct histogram h;
    histogram_init_seconds(&h);
    histogram_add_ns(&h, 3000000);
    metrics_one(&out, "realm_tokens_total", METRICS_COUNTER, "Tokens made.", 17);
    metrics_family(&out, "realm_queue_requests", METRICS_GAUGE, "Requests that \\ wait\nhere.");
    metrics_sample(&out, "realm_queue_requests", labels, 2, (double)NAN);
    metrics_sample(&out, "realm_queue_requests", labels, 1, (double)INFINITY);
    metrics_family(&out, "realm_wait_seconds", METRICS_HISTOGRAM, "Time in the queue.");
    metrics_histogram(&out, "realm_wait_seconds", labels, 2, &h);
}

/* At every ceiling the text is whole lines of the full text, and says that it is not all. */
static void a_full_buffer_ends_with_a_whole_call(void **state)
{
    (void)state;
    sample_page();
    struct buf whole = text;
    size_t all = whole.n;
    for (size_t max = 0; max < all; max++) {
        buf_init(&text, max);
        out = (struct metrics_out){.text = &text};
        sample_page();
        assert_int_equal(out.status, REALM_E_LIMIT);
        assert_true(text.n <= max);
        if (text.n) {
            assert_memory_equal(text.p, whole.p, text.n);
            assert_int_equal(text.p[text.n - 1], '\n');
        }
        buf_free(&text);
    }
    text = whole;
    out = (struct metrics_out){.text = &text};
}

/* What promtool's exit status is for a page. */
static int promtool(const char *page)
{
    FILE *to = popen("promtool check metrics >/dev/null 2>&1", "w");
    assert_non_null(to);
    fputs(page, to);
    int status = pclose(to);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_line_of_proc_is_read(void **state)
{
    (void)state;
    struct process_stat s = {.threads = 99};
    static const char good[] =
        "7 (a) R (b) c) S 1 7 7 0 -1 4194304 1 2 3 4 120 30 5 6 20 -5 8 0 456 10240 77 "
        "18446744073709551615 1 1\n";
    assert_int_equal(process_stat_parse(good, &s), 0);
    assert_int_equal(s.cpu_ticks, 150);
    assert_int_equal(s.threads, 8);
    assert_int_equal(s.start_ticks, 456);
    assert_int_equal(s.virtual_bytes, 10240);
    assert_int_equal(s.resident_pages, 77);
    static const char *const bad[] = {
        "",
        "7",
        "7 (a)",
        "7 (a) S",
        "7 (a) S 1 2",
        "7 (a) S 1 7 7 0 -1 4 1 2 3 4 -120 30 5 6 20 0 8 0 456 10240 77 1\n",
        "7 (a) S 1 7 7 0 -1 4 1 2 3 4 x 30 5 6 20 0 8 0 456 10240 77 1\n",
        "7 (a) S 1 7 7 0 -1 4 1 2 3 4 120 30 5 6 20 0 8 0 456 99999999999999999999 77 1\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(process_stat_parse(bad[i], &s), REALM_E_FORMAT);
    assert_int_equal(s.threads, 8);
}

static void wait_for_end(void *arg)
{
    while (!atomic_load((atomic_bool *)arg))
        CPU_RELAX();
}

/* Against what the system tells in other ways, before and after a change of each. */
static void a_process_knows_itself(void **state)
{
    (void)state;
    struct rlimit limit;
    struct thread thread;
    atomic_bool over = false;
    metrics_process(&out);
    double fds = value_of("process_open_fds"), threads = value_of("process_threads");
    double resident = value_of("process_resident_memory_bytes");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(value_of("process_max_fds") == (double)limit.rlim_cur);
    double age = (double)time(NULL) - value_of("process_start_time_seconds");
    assert_true(age > -3 && age < 600);
    assert_true(value_of("process_virtual_memory_bytes") >= resident);

    int fd = dup(0);
    size_t more = 32u << 20;
    void *pages = mem_pages(more);
    assert_true(fd >= 0 && pages);
    memset(pages, 1, more);
    assert_int_equal(thread_start(&thread, "waiter", 0, wait_for_end, &over), 0);
    struct rusage usage;
    do
        getrusage(RUSAGE_SELF, &usage);
    while (usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec < 100000);
    buf_clear(&text);
    metrics_process(&out);
    assert_true(value_of("process_open_fds") == fds + 1);
    assert_true(value_of("process_threads") == threads + 1);
    assert_true(value_of("process_resident_memory_bytes") >= resident + (double)more * 0.9);
    assert_true(value_of("process_cpu_seconds_total") >= 0.05);
    assert_true(value_of("process_cpu_seconds_total") < 600);
    atomic_store(&over, true);
    thread_join(&thread);
    mem_pages_free(pages, more);
    close(fd);
}

static void promtool_finds_nothing(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    int there = system("command -v promtool >/dev/null 2>&1");
    if (!WIFEXITED(there) || WEXITSTATUS(there) != 0)
        skip();
    assert_int_not_equal(promtool("x{a=\"\n\"} 1\n"), 0);
    assert_int_not_equal(promtool("# TYPE x counter\nx 1\n"), 0);
    sample_page();
    metrics_process(&out);
    assert_int_equal(promtool(said()), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* The first: a thread that was joined may be counted for a moment longer. */
        cmocka_unit_test_setup_teardown(a_process_knows_itself, begin, end),
        cmocka_unit_test_setup_teardown(a_family_and_its_samples, begin, end),
        cmocka_unit_test_setup_teardown(texts_are_escaped, begin, end),
        cmocka_unit_test_setup_teardown(numbers_read_back, begin, end),
        cmocka_unit_test_setup_teardown(buckets_are_cumulative, begin, end),
        cmocka_unit_test_setup_teardown(bounds_hold_their_own_value, begin, end),
        cmocka_unit_test_setup_teardown(labels_of_a_histogram, begin, end),
        cmocka_unit_test_setup_teardown(readers_see_a_sound_histogram, begin, end),
        cmocka_unit_test_setup_teardown(a_full_buffer_ends_with_a_whole_call, begin, end),
        cmocka_unit_test(a_line_of_proc_is_read),
        cmocka_unit_test_setup_teardown(promtool_finds_nothing, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
