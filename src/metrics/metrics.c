/* metrics/metrics.c - histograms that any thread adds to, and Prometheus' text format.
 *
 * Names and types are the program's own; labels' values may come from outside, so they are
 * escaped and made UTF-8, for a scraper drops a whole page over one bad byte.  Each call of
 * a metrics_ function appends whole lines or nothing. */
#include "metrics/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/utf8.h"

enum { NUMBER_TEXT_MAX = 40 };

static const double seconds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                 1,     2.5,    5,     10,   30,    60,   120, 300,  600};

static const char *const type_names[] = {
    [METRICS_COUNTER] = "counter",
    [METRICS_GAUGE] = "gauge",
    [METRICS_HISTOGRAM] = "histogram",
};

void histogram_init_seconds(struct histogram *h)
{
    _Static_assert(ARRAY_LEN(seconds) <= METRICS_BUCKETS_MAX, "too many bounds");
    h->bounds = seconds;
    h->n = ARRAY_LEN(seconds);
    for (size_t i = 0; i <= METRICS_BUCKETS_MAX; i++)
        atomic_init(&h->counts[i], 0);
    atomic_init(&h->sum_ns, 0);
}

void histogram_add_ns(struct histogram *h, uint64_t ns)
{
    /* A division, since it rounds once: 1 ms must not come out over the bound 0.001. */
    double value = (double)ns / 1e9;
    size_t i = 0;
    while (i < h->n && value > h->bounds[i])
        i++;
    /* The sum first, so that a reader who sees the count finds its time in the sum. */
    atomic_fetch_add_explicit(&h->sum_ns, ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->counts[i], 1, memory_order_release);
}

/* ---- pieces of a line ---- */

/* The shortest decimal that gives value again; whole numbers without an exponent. */
static int add_number(struct buf *b, double value)
{
    if (isnan(value))
        return buf_addf(b, "NaN");
    if (isinf(value))
        return buf_addf(b, value < 0 ? "-Inf" : "+Inf");
    if (value == floor(value) && fabs(value) < 1e15)
        return buf_addf(b, "%.0f", value == 0 ? 0.0 : value);
    char text[NUMBER_TEXT_MAX];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return buf_addf(b, "%s", text);
}

static int add_escaped_char(struct buf *b, char c, bool quoted)
{
    if (c == '\n')
        return buf_add(b, "\\n", 2);
    if (c == '\\' || (quoted && c == '"'))
        return buf_addf(b, "\\%c", c);
    return buf_addch(b, c);
}

/* Text of a help line, or between the quotes of a label. */
static int add_escaped(struct buf *b, const char *text, bool quoted)
{
    size_t left = strlen(text);
    int status = 0;
    while (left && !status) {
        uint32_t cp;
        int n = utf8_decode((const uint8_t *)text, left, &cp);
        size_t bytes = n > 0 ? (size_t)n : utf8_bad_run((const uint8_t *)text, left);
        if (n <= 0)
            status = buf_add(b, "\xEF\xBF\xBD", 3);
        else if (n == 1)
            status = add_escaped_char(b, *text, quoted);
        else
            status = buf_add(b, text, bytes);
        text += bytes;
        left -= bytes;
    }
    return status;
}

static int add_label(struct buf *b, const char *name, const char *value, bool first)
{
    int status = buf_addf(b, "%c%s=\"", first ? '{' : ',', name);
    if (!status)
        status = add_escaped(b, value, true);
    return status ? status : buf_addch(b, '"');
}

/* name and suffix, the labels, and le where it is not NULL. */
static int add_series(struct buf *b, const char *name, const char *suffix,
                      const struct metrics_label *labels, size_t n_labels, const double *le)
{
    int status = buf_addf(b, "%s%s", name, suffix);
    for (size_t i = 0; i < n_labels && !status; i++)
        status = add_label(b, labels[i].name, labels[i].value, i == 0);
    if (le) {
        if (!status)
            status = buf_addf(b, "%cle=\"", n_labels ? ',' : '{');
        if (!status)
            status = add_number(b, *le);
        if (!status)
            status = buf_addch(b, '"');
    }
    if (!status && (n_labels || le))
        status = buf_addch(b, '}');
    return status ? status : buf_addch(b, ' ');
}

static int add_real(struct buf *b, const char *name, const char *suffix,
                    const struct metrics_label *labels, size_t n_labels, double value)
{
    int status = add_series(b, name, suffix, labels, n_labels, NULL);
    if (!status)
        status = add_number(b, value);
    return status ? status : buf_addch(b, '\n');
}

static int add_count(struct buf *b, const char *name, const char *suffix,
                     const struct metrics_label *labels, size_t n_labels, const double *le,
                     uint64_t count)
{
    int status = add_series(b, name, suffix, labels, n_labels, le);
    return status ? status : buf_addf(b, "%llu\n", (unsigned long long)count);
}

/* ---- what callers see ---- */

/* Keeps the first failure, and of the text the lines before `start`. */
static void finish(struct metrics_out *o, size_t start, int status)
{
    if (status)
        o->text->n = start;
    o->status = status;
}

void metrics_family(struct metrics_out *o, const char *name, enum metrics_type type,
                    const char *help)
{
    if (o->status)
        return;
    size_t start = o->text->n;
    int status = buf_addf(o->text, "# HELP %s ", name);
    if (!status)
        status = add_escaped(o->text, help, false);
    if (!status)
        status = buf_addf(o->text, "\n# TYPE %s %s\n", name, type_names[type]);
    finish(o, start, status);
}

void metrics_sample(struct metrics_out *o, const char *name, const struct metrics_label *labels,
                    size_t n_labels, double value)
{
    if (o->status)
        return;
    size_t start = o->text->n;
    finish(o, start, add_real(o->text, name, "", labels, n_labels, value));
}

void metrics_histogram(struct metrics_out *o, const char *name, const struct metrics_label *labels,
                       size_t n_labels, const struct histogram *h)
{
    if (o->status)
        return;
    ASSERT(h->n <= METRICS_BUCKETS_MAX);
    size_t start = o->text->n;
    /* Each counter is read once: the count is what the buckets say, whatever is added meanwhile. */
    uint64_t total = 0;
    int status = 0;
    for (size_t i = 0; i <= h->n && !status; i++) {
        double bound = i < h->n ? h->bounds[i] : (double)INFINITY;
        total += atomic_load_explicit(&h->counts[i], memory_order_acquire);
        status = add_count(o->text, name, "_bucket", labels, n_labels, &bound, total);
    }
    double sum = (double)atomic_load_explicit(&h->sum_ns, memory_order_relaxed) / 1e9;
    if (!status)
        status = add_real(o->text, name, "_sum", labels, n_labels, sum);
    if (!status)
        status = add_count(o->text, name, "_count", labels, n_labels, NULL, total);
    finish(o, start, status);
}

void metrics_one(struct metrics_out *o, const char *name, enum metrics_type type, const char *help,
                 double value)
{
    metrics_family(o, name, type, help);
    metrics_sample(o, name, NULL, 0, value);
}
