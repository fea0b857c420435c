/* cmd/realm/cmd_bench.c - `realm bench`: tokens per second, beside what the memory gives.
 *
 * Each measurement stands between two windows in which the read bandwidth is
 * measured, so that slow and fast moments of a shared machine fall on both; the
 * ratio of the two is taken within the pair.  A first pass over the rows is not
 * counted: it teaches the scheduler how long a step takes. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/thread.h"
#include "bench.h"

enum { ROWS_MAX = 17, BANDWIDTH_MS = 200 };

static const struct opt_help help = {
    .usage = "bench [-m FILE] [-p 512] [-n 64] [-b 1,8,32] [-d DEPTH] [--kv TYPE] [-t THREADS]\n"
             "                    [-r RUNS] [--json]",
    .about =
        "Measures tokens per second: of reading a prompt (prefill) and of answering (decode) for\n"
        "several numbers of answers at once, with the median, least and greatest of the runs,\n"
        "and for one answer the share of the memory's read bandwidth that its weights take.",
    .examples = "  realm bench\n"
                "  realm bench -m llama-8b-q4_k_m.gguf -p 512 -n 64 -b 1,4,16 -r 5\n"
                "  realm bench -m llama-8b-q4_k_m.gguf -d 4096 --json",
};

struct arguments {
    const char *model, *prompt, *tokens, *batches, *depth, *kv, *threads, *runs;
    bool json;
};

struct row {
    bool prefill;
    uint32_t tokens, batch;
    struct figures tok_s;
};

struct plan {
    struct row rows[ROWS_MAX];
    size_t n_rows;
    uint32_t threads, depth, runs;
    enum realm_kv_type kv;
    struct figures read_gb_s;
    struct figures share; /* of the bandwidth, by decoding with batch 1; paired */
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double figures_median(const struct figures *f)
{
    double v[BENCH_RUNS_MAX];
    if (f->n == 0)
        return 0;
    memcpy(v, f->v, f->n * sizeof(*v));
    qsort(v, f->n, sizeof(*v), compare);
    return f->n % 2 ? v[f->n / 2] : (v[f->n / 2 - 1] + v[f->n / 2]) / 2;
}

double figures_min(const struct figures *f)
{
    double least = f->n ? f->v[0] : 0;
    for (size_t i = 1; i < f->n; i++)
        least = f->v[i] < least ? f->v[i] : least;
    return least;
}

double figures_max(const struct figures *f)
{
    double most = f->n ? f->v[0] : 0;
    for (size_t i = 1; i < f->n; i++)
        most = f->v[i] > most ? f->v[i] : most;
    return most;
}

static int number(const char *name, const char *text, uint64_t fallback, uint64_t min, uint64_t max,
                  uint32_t *out)
{
    uint64_t value = fallback;
    int status = text ? opt_u64("bench", name, text, min, max, &value) : -1;
    *out = (uint32_t)value;
    return status;
}

static int add_batches(struct plan *plan, const char *text, uint32_t tokens)
{
    char item[16];
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, ",");
        snprintf(item, sizeof(item), "%.*s", (int)n, p);
        if (plan->n_rows == ROWS_MAX)
            return cmd_usage("bench", "-b names more than %d batches", ROWS_MAX - 1);
        struct row *row = &plan->rows[plan->n_rows++];
        row->tokens = tokens;
        int status = number("-b", item, 1, 1, BATCH_ROWS_MAX / 2, &row->batch);
        if (status >= 0)
            return status;
        p += n + (p[n] == ',');
    }
    return -1;
}

static int read_plan(const struct arguments *a, struct plan *plan)
{
    uint32_t prompt, tokens;
    int status = number("-p", a->prompt, 512, 0, MODEL_CONTEXT_MAX, &prompt);
    if (status < 0)
        status = number("-n", a->tokens, 64, 1, MODEL_CONTEXT_MAX, &tokens);
    if (status < 0)
        status = number("-d", a->depth, 0, 0, MODEL_CONTEXT_MAX, &plan->depth);
    if (status < 0)
        status = number("-t", a->threads, 0, 1, POOL_THREADS_MAX, &plan->threads);
    if (status < 0)
        status = number("-r", a->runs, 5, 1, BENCH_RUNS_MAX, &plan->runs);
    if (status >= 0)
        return status;
    plan->kv = REALM_KV_F16;
    status = cmd_kv_type("bench", a->kv, &plan->kv);
    if (status >= 0)
        return status;
    if (prompt)
        plan->rows[plan->n_rows++] = (struct row){.prefill = true, .tokens = prompt, .batch = 1};
    return add_batches(plan, a->batches ? a->batches : "1,8,32", tokens);
}

static int read_arguments(int argc, char **argv, struct arguments *a, struct plan *plan)
{
    int n_rest;
    const struct opt opts[] = {
        {"model", 'm', "FILE", "GGUF file (default: the model that comes along)", &a->model, NULL},
        {"prompt", 'p', "N", "prompt tokens of the prefill row; 0: no such row (512)", &a->prompt,
         NULL},
        {"tokens", 'n', "N", "steps of a decode row (64)", &a->tokens, NULL},
        {"batch", 'b', "N,N", "answers at once, a decode row for each (1,8,32)", &a->batches, NULL},
        {"depth", 'd', "N", "tokens that stand before what is measured (0)", &a->depth, NULL},
        {"kv", 0, "TYPE", "keep keys and values as f16 (default), f32, bf16 or q8_0", &a->kv, NULL},
        {"threads", 't', "N", "compute threads (default: the processors there are)", &a->threads,
         NULL},
        {"runs", 'r', "N", "runs of each row (5)", &a->runs, NULL},
        {"json", 0, NULL, "print one JSON object", NULL, &a->json},
    };
    int status = opt_parse(argc, argv, opts, ARRAY_LEN(opts), &help, &n_rest);
    if (status >= 0)
        return status;
    if (n_rest)
        return cmd_usage("bench", "there is nothing to do with '%s'", argv[0]);
    return read_plan(a, plan);
}

static double measure(const struct bench *b, const struct row *row, struct realm_error *err)
{
    return row->prefill ? bench_prefill(b, row->tokens, err)
                        : bench_decode(b, row->tokens, row->batch, err);
}

/* One row of one run, between two windows of reading. */
static int run_row(const struct bench *b, struct plan *plan, struct row *row,
                   struct bandwidth *bandwidth, struct realm_error *err)
{
    double before = bandwidth_measure(bandwidth, BANDWIDTH_MS);
    double rate = measure(b, row, err);
    if (rate < 0)
        return err->status;
    double read_b_s = (before + bandwidth_measure(bandwidth, BANDWIDTH_MS)) / 2;
    row->tok_s.v[row->tok_s.n++] = rate;
    if (row == &plan->rows[0])
        plan->read_gb_s.v[plan->read_gb_s.n++] = read_b_s * 1e-9;
    if (!row->prefill && row->batch == 1) {
        struct realm_model_info info;
        realm_model_info(b->model, &info);
        plan->share.v[plan->share.n++] = rate * (double)info.step_bytes / read_b_s;
    }
    return 0;
}

static int run_rows(const struct bench *b, struct plan *plan, struct bandwidth *bandwidth,
                    struct realm_error *err)
{
    size_t total = (size_t)plan->runs * plan->n_rows;
    for (size_t i = 0; i < plan->n_rows; i++) {
        progress_show("warming up", i, plan->n_rows);
        if (measure(b, &plan->rows[i], err) < 0)
            return err->status;
    }
    for (size_t i = 0; i < total; i++) {
        progress_show("measuring", i, total);
        int status = run_row(b, plan, &plan->rows[i % plan->n_rows], bandwidth, err);
        if (status)
            return status;
    }
    return 0;
}

static int run_all(const struct bench *b, struct plan *plan)
{
    struct realm_error err = {0};
    struct bandwidth *bandwidth = bandwidth_open(plan->threads);
    if (!bandwidth)
        return cmd_failf("bench", "out of memory for measuring the bandwidth");
    int status = run_rows(b, plan, bandwidth, &err);
    progress_clear();
    bandwidth_close(bandwidth);
    return status ? cmd_fail("bench", &err) : EXIT_DONE;
}

static void print_json(const char *path, const struct plan *plan)
{
    printf("{\"model\":");
    print_json_text(path, strlen(path));
    printf(",\"threads\":%u,\"depth\":%u,\"kv\":\"%s\",\"read_gb_s\":%.3f", plan->threads,
           plan->depth, cmd_kv_name(plan->kv), figures_median(&plan->read_gb_s));
    if (plan->share.n)
        printf(",\"decode_share_of_read\":{\"median\":%.4f,\"min\":%.4f,\"max\":%.4f}",
               figures_median(&plan->share), figures_min(&plan->share), figures_max(&plan->share));
    printf(",\"rows\":[");
    for (size_t i = 0; i < plan->n_rows; i++) {
        const struct row *r = &plan->rows[i];
        printf("%s{\"test\":\"%s\",\"tokens\":%u,\"batch\":%u,\"tok_s\":"
               "{\"median\":%.3f,\"min\":%.3f,\"max\":%.3f}}",
               i ? "," : "", r->prefill ? "prefill" : "decode", r->tokens, r->batch,
               figures_median(&r->tok_s), figures_min(&r->tok_s), figures_max(&r->tok_s));
    }
    printf("]}\n");
}

static void print_table(const char *path, const struct plan *plan)
{
    printf("%s, %u threads, kv %s, %u tokens before, %u runs\n", path, plan->threads,
           cmd_kv_name(plan->kv), plan->depth, plan->runs);
    printf("memory reads %.1f GB/s (%.1f to %.1f)\n\n", figures_median(&plan->read_gb_s),
           figures_min(&plan->read_gb_s), figures_max(&plan->read_gb_s));
    printf("%-8s %7s %6s  %10s  %10s %10s\n", "test", "tokens", "batch", "tokens/s", "least",
           "greatest");
    for (size_t i = 0; i < plan->n_rows; i++) {
        const struct row *r = &plan->rows[i];
        printf("%-8s %7u %6u  %10.2f  %10.2f %10.2f\n", r->prefill ? "prefill" : "decode",
               r->tokens, r->batch, figures_median(&r->tok_s), figures_min(&r->tok_s),
               figures_max(&r->tok_s));
    }
    if (plan->share.n)
        printf("\none answer's weights take %.0f %% of the read bandwidth (%.0f to %.0f)\n",
               100 * figures_median(&plan->share), 100 * figures_min(&plan->share),
               100 * figures_max(&plan->share));
}

int cmd_bench(int argc, char **argv)
{
    struct arguments a = {0};
    static struct plan plan;
    struct cmd_engine on;
    int status = read_arguments(argc, argv, &a, &plan);
    if (status >= 0)
        return status;
    if (!plan.threads)
        plan.threads = thread_cpus();
    const struct realm_options options = {
        .threads = plan.threads,
        .kv_type = plan.kv,
        .cache_off = true, // the same prompt is measured more than once
    };
    status = cmd_engine_open(&on, "bench", a.model, &options, NULL);
    if (status < 0) {
        struct realm_model_info info;
        realm_model_info(on.model, &info);
        const struct bench bench = {on.engine, on.model, info.vocab_size, plan.depth};
        status = run_all(&bench, &plan);
        if (status == EXIT_DONE && a.json)
            print_json(on.path, &plan);
        else if (status == EXIT_DONE)
            print_table(on.path, &plan);
    }
    cmd_engine_close(&on);
    return status;
}
