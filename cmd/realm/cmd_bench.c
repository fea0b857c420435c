/* cmd/realm/cmd_bench.c - `realm bench`: tokens per second, beside what the memory gives.
 *
 * Each measurement stands between two windows in which the read bandwidth is
 * measured, so that slow and fast moments of a shared machine fall on both; the
 * ratio of the two is taken within the pair.  A first pass over the rows is not
 * counted: it teaches the scheduler how long a step takes. */
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "bench.h"

enum { BANDWIDTH_MS = 200 };

/* Fewer bytes of weights may stay in a cache: they have no share of what memory gives. */
#define SHARE_BYTES_LEAST (256 * MiB)

static const struct opt_help help = {
    .usage = "bench [-m FILE] [-p 512] [-n 64] [-b 1,8,32] [-d DEPTH] [--kv TYPE] [-t THREADS]\n"
             "                    [-r RUNS] [--compare] [--json]",
    .about =
        "Measures tokens per second: of reading a prompt (prefill) and of answering (decode) for\n"
        "several numbers of answers at once, with the median, least and greatest of the runs,\n"
        "and for one answer the share of the memory's read bandwidth that its weights take, if\n"
        "they do not fit a cache.\n"
        "With --compare llama.cpp does each of them, too, in turns with Realm: the same file, as\n"
        "many threads, keys and values of the same type, its flash attention on.  `scripts/setup\n"
        "--peer` gets it.\n"
        "Of a model that makes embeddings it measures texts of -p tokens, -b of them at once.",
    .examples = "  realm bench\n"
                "  realm bench -m llama-8b-q4_k_m.gguf -p 512 -n 64 -b 1,4,16 -r 5\n"
                "  realm bench -m llama-8b-q4_k_m.gguf -d 4096 --json\n"
                "  realm bench -m llama-8b-q4_k_m.gguf --compare",
};

struct arguments {
    const char *model, *prompt, *tokens, *batches, *depth, *kv, *threads, *runs;
    bool json;
};

/* All that measures. */
struct rig {
    struct bench bench;
    struct peer *peer; /* NULL: none */
    struct bandwidth *bandwidth;
};

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
        if (plan->n_rows == BENCH_ROWS_MAX)
            return cmd_usage("bench", "-b names more than %d batches", BENCH_ROWS_MAX - 1);
        struct row *row = &plan->rows[plan->n_rows++];
        row->test = BENCH_DECODE;
        row->tokens = tokens;
        int status = number("-b/--batch", item, 1, 1, BATCH_ROWS_MAX / 2, &row->batch);
        if (status >= 0)
            return status;
        p += n + (p[n] == ',');
    }
    return -1;
}

static int read_plan(const struct arguments *a, struct plan *plan)
{
    uint32_t prompt, tokens;
    int status = number("-p/--prompt", a->prompt, 512, 0, MODEL_CONTEXT_MAX, &prompt);
    if (status < 0)
        status = number("-n/--tokens", a->tokens, 64, 1, MODEL_CONTEXT_MAX, &tokens);
    if (status < 0)
        status = number("-d/--depth", a->depth, 0, 0, MODEL_CONTEXT_MAX, &plan->depth);
    if (status < 0)
        status = number("-t/--threads", a->threads, 0, 1, POOL_THREADS_MAX, &plan->threads);
    if (status < 0)
        status = number("-r/--runs", a->runs, 5, 1, BENCH_RUNS_MAX, &plan->runs);
    if (status >= 0)
        return status;
    plan->kv = REALM_KV_F16;
    status = cmd_kv_type("bench", a->kv, &plan->kv);
    if (status >= 0)
        return status;
    if (prompt)
        plan->rows[plan->n_rows++] = (struct row){.tokens = prompt, .batch = 1};
    const char *batches = plan->compare ? "1,4,8,16,32" : "1,8,32";
    status = add_batches(plan, a->batches ? a->batches : batches, tokens);
    if (status < 0 && plan->n_rows == 0)
        return cmd_usage("bench", "-p 0 and no number in -b leave nothing to measure");
    return status;
}

static int read_arguments(int argc, char **argv, struct arguments *a, struct plan *plan)
{
    int n_rest;
    const struct opt opts[] = {
        {"model", 'm', "FILE", "GGUF file (default: the model that comes along)", &a->model, NULL},
        {"prompt", 'p', "N", "prompt tokens of the prefill row; 0: no such row (512)", &a->prompt,
         NULL},
        {"tokens", 'n', "N", "steps of a decode row (64)", &a->tokens, NULL},
        {"batch", 'b', "N,N",
         "answers at once, a decode row for each (1,8,32; 4 and 16 if compared)", &a->batches,
         NULL},
        {"depth", 'd', "N", "tokens that stand before what is measured (0)", &a->depth, NULL},
        {"kv", 0, "TYPE", "keep keys and values as f16 (default), f32, bf16 or q8_0", &a->kv, NULL},
        {"threads", 't', "N", "compute threads (default: as many as may run at once)", &a->threads,
         NULL},
        {"runs", 'r', "N", "runs of each row (5)", &a->runs, NULL},
        {"compare", 0, NULL, "measure llama.cpp beside it", NULL, &plan->compare},
        {"json", 0, NULL, "print one JSON object", NULL, &a->json},
    };
    int status = opt_parse(argc, argv, opts, ARRAY_LEN(opts), &help, &n_rest);
    if (status >= 0)
        return status;
    if (n_rest)
        return cmd_usage("bench", "there is nothing to do with '%s'", argv[0]);
    return read_plan(a, plan);
}

/* What an encoder is measured by: texts as long as the prompt, as many at once as answers. */
static int plan_texts(struct plan *plan)
{
    if (plan->compare)
        return cmd_usage("bench", "--compare is not there for a model that makes embeddings alone");
    if (plan->depth)
        return cmd_usage("bench", "-d: a text that becomes a vector has no tokens before it");
    const struct row prompt = plan->rows[0];
    if (prompt.test != BENCH_PREFILL)
        return cmd_usage("bench", "-p 0 leaves texts of no length");
    if (plan->n_rows > 1)
        memmove(plan->rows, plan->rows + 1, --plan->n_rows * sizeof(*plan->rows));
    for (size_t i = 0; i < plan->n_rows; i++) {
        plan->rows[i].test = BENCH_EMBED;
        plan->rows[i].tokens = prompt.tokens;
    }
    return -1;
}

/* The engine would speak of prompts, which nobody here has written.  Each but a text that becomes
 * a vector is followed by a token. */
static int check_context(const struct plan *plan, uint32_t context)
{
    for (size_t i = 0; i < plan->n_rows; i++) {
        const struct row *row = &plan->rows[i];
        const uint64_t tokens = (uint64_t)plan->depth + row->tokens + (row->test != BENCH_EMBED);
        if (tokens > context)
            return cmd_usage(
                "bench", "-d %u and -%c %u do not fit the model's context of %u tokens",
                plan->depth, row->test == BENCH_DECODE ? 'n' : 'p', row->tokens, context);
    }
    return -1;
}

static double measure(struct rig *rig, const struct row *row, struct realm_error *err)
{
    switch (row->test) {
    case BENCH_PREFILL:
        return bench_prefill(&rig->bench, row->tokens, err);
    case BENCH_DECODE:
        return bench_decode(&rig->bench, row->tokens, row->batch, err);
    default:
        return bench_embed(&rig->bench, row->tokens, row->batch, err);
    }
}

static double measure_peer(struct rig *rig, const struct row *row, struct realm_error *err)
{
    const uint32_t depth = rig->bench.depth;
    return row->test == BENCH_PREFILL ? peer_prefill(rig->peer, row->tokens, depth, err)
                                      : peer_decode(rig->peer, row->tokens, row->batch, depth, err);
}

static void note(struct figures *f, double value)
{
    f->v[f->n++] = value;
}

/* One row of one run, between two windows of reading; then the peer's. */
static int run_row(struct rig *rig, struct plan *plan, struct row *row, struct realm_error *err)
{
    double before = bandwidth_measure(rig->bandwidth, BANDWIDTH_MS);
    double rate = measure(rig, row, err);
    if (rate < 0)
        return err->status;
    double read_b_s = (before + bandwidth_measure(rig->bandwidth, BANDWIDTH_MS)) / 2;
    note(&row->tok_s, rate);
    if (row == &plan->rows[0])
        note(&plan->read_gb_s, read_b_s * 1e-9);
    if (row->test == BENCH_DECODE && row->batch == 1) {
        struct realm_model_info info;
        realm_model_info(rig->bench.model, &info);
        if (info.step_bytes >= SHARE_BYTES_LEAST)
            note(&plan->share, rate * (double)info.step_bytes / read_b_s);
    }
    if (!rig->peer)
        return 0;
    double peer_rate = measure_peer(rig, row, err);
    if (peer_rate < 0)
        return err->status;
    note(&row->peer_tok_s, peer_rate);
    note(&row->ratio, rate / peer_rate);
    return 0;
}

static int warm_up(struct rig *rig, const struct plan *plan, struct realm_error *err)
{
    for (size_t i = 0; i < plan->n_rows; i++) {
        progress_show("warming up", i, plan->n_rows);
        if (measure(rig, &plan->rows[i], err) < 0 ||
            (rig->peer && measure_peer(rig, &plan->rows[i], err) < 0))
            return err->status;
    }
    return 0;
}

static int run_rows(struct rig *rig, struct plan *plan, struct realm_error *err)
{
    size_t total = (size_t)plan->runs * plan->n_rows;
    int status = warm_up(rig, plan, err);
    for (size_t i = 0; !status && i < total; i++) {
        progress_show("measuring", i, total);
        status = run_row(rig, plan, &plan->rows[i % plan->n_rows], err);
    }
    progress_clear();
    return status;
}

/* Measures and prints. */
static int run_all(struct rig *rig, struct plan *plan, const struct arguments *a, const char *path)
{
    struct realm_error err = {0};
    int status = -1;
    rig->bandwidth = bandwidth_open(plan->threads);
    if (!rig->bandwidth)
        return cmd_failf("bench", "out of memory for measuring the bandwidth");
    if (plan->compare)
        status = peer_open(&rig->peer, path, plan->threads, cmd_kv_name(plan->kv));
    if (status < 0)
        status = run_rows(rig, plan, &err) ? cmd_fail("bench", &err) : -1;
    if (status < 0) {
        const char *peer = rig->peer ? peer_about(rig->peer) : NULL;
        (a->json ? bench_print_json : bench_print_table)(path, plan, peer);
        status = EXIT_DONE;
    }
    peer_close(rig->peer);
    bandwidth_close(rig->bandwidth);
    return status;
}

int cmd_bench(int argc, char **argv)
{
    struct arguments a = {0};
    static struct plan plan;
    struct cmd_engine on;
    int status = read_arguments(argc, argv, &a, &plan);
    if (status >= 0)
        return status;
    machine_read("", &plan.machine);
    if (!plan.threads)
        plan.threads = machine_threads("");
    const struct realm_options options = {.threads = plan.threads, .kv_type = plan.kv};
    status = cmd_engine_open(&on, "bench", a.model, &options, NULL);
    if (status < 0) {
        struct realm_model_info info;
        realm_model_info(on.model, &info);
        struct rig rig = {.bench = {.engine = on.engine,
                                    .model = on.model,
                                    .vocab = info.vocab_size,
                                    .encoder = info.encoder,
                                    .depth = plan.depth}};
        if (info.encoder)
            status = plan_texts(&plan);
        if (status < 0)
            status = check_context(&plan, info.context_tokens);
        if (status < 0)
            status = run_all(&rig, &plan, &a, on.path);
    }
    cmd_engine_close(&on);
    return status;
}
