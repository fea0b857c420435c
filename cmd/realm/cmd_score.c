/* cmd/realm/cmd_score.c - `realm score`: log-probabilities of a text, or its perplexity. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "score.h"

enum {
    WINDOW_TOKENS = 512, /* with which perplexities are usually compared */
    WINDOW_TOKENS_MIN = 4,
};

static const struct opt_help help = {
    .usage = "score [TEXT | --file FILE | --ids 1,2,3] [-m FILE] [--window N] [--top N]\n"
             "                   [--kv TYPE] [--json]",
    .about = "Prints the log-probability of each token of a text, given those before it, and the\n"
             "likeliest tokens after the last.  A text begins with the model's BOS token, if its\n"
             "prompts do; ids are taken as they are.\n"
             "\n"
             "Of a file it prints the perplexity alone, by windows of 512 tokens each of which is\n"
             "read on its own, as other engines' tools do: what the second halves of all windows\n"
             "come to, given what stands before in the same window.",
    .examples = "  realm score \"Paris is the capital of France.\"\n"
                "  realm score --ids 1,450,7483 --top 5 --json\n"
                "  realm score -m llama-8b-q4_k_m.gguf --file wiki.test.raw\n"
                "  realm score --file letter.txt --window 0",
};

struct arguments {
    const char *model, *file, *ids, *top, *kv, *text, *window;
    enum realm_kv_type kv_type;
    bool json;
};

struct scored {
    uint32_t *ids;
    float *logprobs;
    size_t n;
    struct realm_logprob *next;
    size_t n_next;
    double perplexity; /* over all but the first; NaN for one token */
    struct windows windows;
};

static int parse_ids(const char *text, uint32_t **out, size_t *n)
{
    size_t count = 1;
    for (const char *p = text; *p; p++)
        count += *p == ',';
    uint32_t *ids = mem_array(count, sizeof(*ids));
    if (!ids)
        return cmd_failf("score", "out of memory");
    const char *p = text;
    for (size_t i = 0; i < count; i++) {
        char *end;
        unsigned long value = strtoul(p, &end, 10);
        if (end == p || *p == '-' || (*end != ',' && *end) || value > UINT32_MAX) {
            mem_free(ids);
            return cmd_usage("score", "--ids must be whole numbers with commas between, not '%s'",
                             text);
        }
        ids[i] = (uint32_t)value;
        p = end + 1;
    }
    *out = ids;
    *n = count;
    return -1;
}

static int tokenize(const struct realm_model *m, const char *text, size_t bytes, uint32_t **out,
                    size_t *n)
{
    int status = realm_tokenize(m, text, bytes, REALM_TEXT_BOS, NULL, 0, n);
    if (status == REALM_E_TOO_SMALL) {
        *out = mem_array(*n, sizeof(**out));
        if (!*out)
            return cmd_failf("score", "out of memory");
        status = realm_tokenize(m, text, bytes, REALM_TEXT_BOS, *out, *n, n);
    }
    if (status == REALM_E_UTF8)
        return cmd_failf("score", "the text is not UTF-8");
    if (status)
        return cmd_failf("score", "the text cannot be turned into tokens: %s",
                         realm_status_name(status));
    return *n ? -1 : cmd_usage("score", "the text is empty");
}

static int read_ids(const struct arguments *a, const struct realm_model *m, struct scored *s)
{
    if (a->ids)
        return parse_ids(a->ids, &s->ids, &s->n);
    char *text;
    size_t bytes;
    int status = cmd_text("score", a->text, a->file, &text, &bytes);
    if (status >= 0)
        return status;
    status = tokenize(m, text, bytes, &s->ids, &s->n);
    mem_free(text);
    return status;
}

static double perplexity(const struct scored *s)
{
    double sum = 0;
    for (size_t i = 1; i < s->n; i++)
        sum += s->logprobs[i];
    return s->n > 1 ? exp(-sum / (double)(s->n - 1)) : NAN;
}

static void print_number(double value)
{
    if (isfinite(value))
        printf("%.9g", value);
    else
        printf("null");
}

/* Appends the text of n times the same token, control tokens shown. */
static size_t add_text(const struct realm_model *m, uint32_t id, size_t n, struct buf *b)
{
    const uint32_t ids[] = {id, id};
    size_t bytes = 0;
    int status = realm_detokenize(m, ids, n, true, NULL, 0, &bytes);
    if (status == REALM_E_TOO_SMALL && !buf_reserve(b, bytes))
        status = realm_detokenize(m, ids, n, true, (char *)b->p, bytes, &bytes);
    b->n = status ? 0 : bytes;
    return b->n;
}

/* The token's own text; what is not UTF-8 as U+FFFD.  It is what a second one adds to a
 * first, for some models' texts do not begin with the space of their first token. */
static struct buf piece(const struct realm_model *m, uint32_t id)
{
    struct buf b;
    buf_init(&b, 2 * TOKEN_TEXT_MAX * 4);
    size_t first = add_text(m, id, 1, &b);
    size_t both = add_text(m, id, 2, &b);
    if (both > first) {
        memmove(b.p, b.p + first, both - first);
        b.n = both - first;
    }
    return b;
}

static void print_json(const struct realm_model *m, const struct scored *s)
{
    printf("{\"tokens\":[");
    for (size_t i = 0; i < s->n; i++) {
        struct buf text = piece(m, s->ids[i]);
        printf("%s{\"id\":%u,\"text\":", i ? "," : "", s->ids[i]);
        print_json_text((const char *)text.p, text.n);
        printf(",\"logprob\":");
        print_number(s->logprobs[i]);
        printf("}");
        buf_free(&text);
    }
    printf("],\"next\":[");
    for (size_t i = 0; i < s->n_next; i++)
        printf("%s[%u,%.9g]", i ? "," : "", s->next[i].token, (double)s->next[i].logprob);
    printf("],\"perplexity\":");
    print_number(s->perplexity);
    printf("}\n");
}

static void print_row(const struct realm_model *m, uint32_t id, double logprob)
{
    struct buf text = piece(m, id);
    printf("%8u  ", id);
    if (isfinite(logprob))
        printf("%10.4f  ", logprob);
    else
        printf("%10s  ", "-");
    print_json_text((const char *)text.p, text.n);
    putchar('\n');
    buf_free(&text);
}

static void print_table(const struct realm_model *m, const struct scored *s)
{
    printf("%8s  %10s  %s\n", "id", "logprob", "token");
    for (size_t i = 0; i < s->n; i++)
        print_row(m, s->ids[i], (double)s->logprobs[i]);
    if (s->n_next)
        printf("\nlikeliest next:\n");
    for (size_t i = 0; i < s->n_next; i++)
        print_row(m, s->next[i].token, (double)s->next[i].logprob);
    if (isfinite(s->perplexity))
        printf("\nperplexity %.4f\n", s->perplexity);
}

/* Each token of the text, and what may follow. */
static int score_tokens(const struct arguments *a, struct realm_model *m, struct scored *s)
{
    struct realm_error err = {0};
    struct realm_model_info info;
    realm_model_info(m, &info);
    s->n_next = s->n_next < info.vocab_size ? s->n_next : info.vocab_size;
    s->logprobs = mem_array(s->n, sizeof(*s->logprobs));
    s->next = mem_array(s->n_next, sizeof(*s->next));
    if (!s->logprobs || !s->next)
        return cmd_failf("score", "out of memory");
    if (realm_score(m, s->ids, s->n, s->logprobs, s->next, s->n_next, NULL, &err))
        return cmd_fail("score", &err);
    s->perplexity = perplexity(s);
    if (a->json)
        print_json(m, s);
    else
        print_table(m, s);
    return EXIT_DONE;
}

static int score_file(const struct arguments *a, struct realm_model *m, struct scored *s)
{
    struct windows *w = &s->windows;
    int status = score_windows(m, s->ids, s->n, w);
    if (status >= 0)
        return status;
    if (a->json) {
        printf("{\"window\":%u,\"windows\":%zu,\"scored_tokens\":%zu,\"perplexity\":", w->window,
               w->n, w->scored);
        print_number(w->perplexity);
        printf(",\"perplexity_error\":");
        print_number(w->error);
        printf("}\n");
    } else {
        printf("perplexity %.4f +/- %.4f over %zu token%s: %zu window%s of %u, the second half of "
               "each\n",
               w->perplexity, w->error, w->scored, plural(w->scored), w->n, plural(w->n),
               w->window);
    }
    return EXIT_DONE;
}

static int score(const struct arguments *a, struct realm_model *m, struct scored *s)
{
    int status = read_ids(a, m, s);
    if (status >= 0)
        return status;
    return s->windows.window ? score_file(a, m, s) : score_tokens(a, m, s);
}

static int read_numbers(const struct arguments *a, struct scored *s)
{
    uint64_t window = a->file ? WINDOW_TOKENS : 0, top = 10;
    int status = -1;
    if (a->window)
        status = opt_u64("score", "-w/--window", a->window, 0, MODEL_CONTEXT_MAX, &window);
    if (status < 0 && a->top)
        status = opt_u64("score", "--top", a->top, 0, TOP_LOGPROBS_MAX, &top);
    if (status >= 0)
        return status;
    if (window && window < WINDOW_TOKENS_MIN)
        return cmd_usage("score", "--window must be 0, or %d tokens at least", WINDOW_TOKENS_MIN);
    if (window && a->ids)
        return cmd_usage("score", "--window is for texts; ids are taken as they are");
    if (window && a->top)
        return cmd_usage("score", "--top shows what follows a text, which windows do not have");
    s->windows.window = (uint32_t)window;
    s->n_next = (size_t)top;
    return -1;
}

static int read_arguments(int argc, char **argv, struct arguments *a, struct scored *s)
{
    int n_rest;
    const struct opt opts[] = {
        {"model", 'm', "FILE", "GGUF file (default: the model that comes along)", &a->model, NULL},
        {"file", 'f', "FILE", "read the text from FILE (- is standard input)", &a->file, NULL},
        {"ids", 0, "1,2,3", "score these token ids", &a->ids, NULL},
        {"window", 'w', "N", "perplexity by windows of N tokens (of a file 512); 0: each token",
         &a->window, NULL},
        {"top", 0, "N", "show the N likeliest next tokens (default 10)", &a->top, NULL},
        {"kv", 0, "TYPE", "keep keys and values as f32 (default), f16, bf16 or q8_0", &a->kv, NULL},
        {"json", 0, NULL, "print one JSON object", NULL, &a->json},
    };
    int status = opt_parse(argc, argv, opts, ARRAY_LEN(opts), &help, &n_rest);
    if (status >= 0)
        return status;
    if (n_rest > 1)
        return cmd_usage("score", "more than one text; put quotes around it");
    a->text = n_rest ? argv[0] : NULL;
    if (a->ids && (a->text || a->file))
        return cmd_usage("score", "give a text, --file or --ids, not two of them");
    if (!a->ids && !a->text && !a->file)
        return cmd_usage("score", "give a text, --file FILE or --ids 1,2,3");
    status = cmd_kv_type("score", a->kv, &a->kv_type);
    return status < 0 ? read_numbers(a, s) : status;
}

int cmd_score(int argc, char **argv)
{
    struct arguments a = {.kv_type = REALM_KV_F32};
    struct scored s = {0};
    struct cmd_engine on;
    int status = read_arguments(argc, argv, &a, &s);
    if (status >= 0)
        return status;
    const struct realm_options options = {.kv_type = a.kv_type};
    status = cmd_engine_open(&on, "score", a.model, &options, NULL);
    if (status < 0)
        status = score(&a, on.model, &s);
    mem_free(s.ids);
    mem_free(s.logprobs);
    mem_free(s.next);
    cmd_engine_close(&on);
    return status;
}
