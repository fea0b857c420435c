/* test/golden/logits.c - runs a model over token ids for the golden tests.
 *
 *   logits MODEL KV CHUNK GREEDY OUT ID...
 *
 * KV: f32, f16, bf16 or q8_0.  CHUNK: rows of one step; an encoder takes them all.  The logits (an
 * encoder has none) and then the hidden state of every position go to OUT as little-endian
 * floats, (ids, vocab + width); then GREEDY ids are chosen one by one, the most likely each,
 * and printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "model/forward.h"

enum { IDS_MAX = 4096, THREADS = 2 };

struct run {
    struct gguf_file *file;
    struct model *model;
    struct pool *pool;
    struct forward *forward;
    struct kv_budget budget;
    struct kv_pool *kv;
    struct kv_seq *seq;
    uint32_t ids[IDS_MAX];
    uint32_t n;
    uint32_t done;
};

static int die(const char *what, const char *why)
{
    fprintf(stderr, "logits: %s: %s\n", what, why);
    return 1;
}

static int open_all(struct run *r, const char *path, enum kv_type type, size_t *chunk)
{
    struct realm_error err = {0};
    if (gguf_file_open(&r->file, io_system(), path, 0, &err) ||
        model_load(&r->model, r->file, NULL, &err))
        return die(path, err.message);
    const struct model_config *c = &r->model->config;
    *chunk = c->encoder ? r->n : *chunk;
    struct kv_shape shape = forward_kv_shape(c, type);
    kv_budget_init(&r->budget, UINT64_MAX);
    if (pool_open(&r->pool, THREADS) ||
        forward_open(&r->forward, r->model, r->pool, kernels_best(), *chunk) ||
        kv_pool_open(&r->kv, &shape, &r->budget) || kv_seq_open(&r->seq, r->kv) ||
        kv_seq_reserve(r->seq, c->context))
        return die(path, "out of memory");
    return 0;
}

static enum kv_type kv_type_of(const char *name)
{
    static const char *const names[KV_TYPES] = {
        [KV_F32] = "f32", [KV_F16] = "f16", [KV_BF16] = "bf16", [KV_Q8_0] = "q8_0"};
    enum kv_type type = 0;
    while (type < KV_TYPES && strcmp(name, names[type]) != 0)
        type++;
    return type;
}

/* Steps over ids that are not done yet, at most chunk. */
static int step(struct run *r, size_t chunk, FILE *out)
{
    static struct forward_row rows[IDS_MAX];
    bool logits = !r->model->config.encoder;
    size_t n = r->n - r->done < chunk ? r->n - r->done : chunk, bad;
    for (size_t i = 0; i < n; i++)
        rows[i] =
            (struct forward_row){r->seq, r->ids[r->done + i], r->done + (uint32_t)i, logits, true};
    if (forward_step(r->forward, rows, n, NULL, NULL, &bad))
        return die("step", "values are not finite");
    for (size_t i = 0; i < n && out; i++) {
        size_t vocab = r->model->config.vocab, width = r->model->config.width;
        if ((logits && fwrite(forward_logits(r->forward, i), sizeof(float), vocab, out) != vocab) ||
            fwrite(forward_hidden(r->forward, i), sizeof(float), width, out) != width)
            return die("writing", "failed");
    }
    r->done += (uint32_t)n;
    return 0;
}

static int greedy(struct run *r)
{
    const float *logits = forward_logits(r->forward, 0);
    uint32_t best = 0;
    for (uint32_t i = 1; i < r->model->config.vocab; i++)
        if (logits[i] > logits[best])
            best = i;
    printf("%u\n", best);
    r->ids[r->n++] = best;
    return step(r, 1, NULL);
}

static void close_all(struct run *r)
{
    kv_seq_close(r->seq);
    kv_pool_close(r->kv);
    forward_close(r->forward);
    pool_close(r->pool);
    model_close(r->model);
    gguf_file_close(r->file);
}

int main(int argc, char **argv)
{
    static struct run r;
    if (argc < 7 || argc - 6 > IDS_MAX / 2)
        return die("usage", "logits MODEL KV CHUNK GREEDY OUT ID...");
    size_t chunk = strtoul(argv[3], NULL, 10), more = strtoul(argv[4], NULL, 10);
    enum kv_type type = kv_type_of(argv[2]);
    if (type == KV_TYPES)
        return die("usage", "KV");
    if (chunk < 1 || chunk > FORWARD_LOGITS_MAX || more > IDS_MAX / 2)
        return die("usage", "CHUNK or GREEDY");
    for (int i = 6; i < argc; i++)
        r.ids[r.n++] = (uint32_t)strtoul(argv[i], NULL, 10);
    int rc = open_all(&r, argv[1], type, &chunk);
    FILE *out = rc ? NULL : fopen(argv[5], "wb");
    if (!rc && !out)
        rc = die(argv[5], "cannot be written");
    while (!rc && r.done < r.n)
        rc = step(&r, chunk, out);
    /* The last id's logits lie first when a step of one row ran last. */
    if (!rc && more) {
        r.done--;
        rc = step(&r, 1, NULL);
    }
    for (size_t i = 0; !rc && i < more; i++)
        rc = greedy(&r);
    if (out && fclose(out) && !rc)
        rc = die(argv[5], "cannot be written");
    close_all(&r);
    return rc;
}
