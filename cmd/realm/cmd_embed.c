/* cmd/realm/cmd_embed.c - `realm embed`: vectors of texts. */
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "cmd.h"

/* Under way at a time, so that short texts share steps. */
enum { AT_ONCE = 64 };

static const struct opt_help help = {
    .usage = "embed [TEXT ... | --file FILE] [-m FILE] [--pooling KIND] [--raw]",
    .about =
        "Prints a vector for each text, a line with a JSON array: the mean of the final hidden\n"
        "states of its tokens, or what the model's file says, of length 1.  Of a file each\n"
        "line is a text.",
    .examples = "  realm embed -m nomic-embed-text.gguf \"search_query: who was Alan Turing?\"\n"
                "  realm embed -m bge-small.gguf --file lines.txt > vectors.jsonl",
};

struct arguments {
    const char *model, *file;
    enum realm_pooling pooling; /* NONE: the model's */
    bool raw;
    char **texts; /* operands */
    int n_texts;
};

struct text {
    const char *p;
    size_t n;
};

struct embedder {
    struct realm_gen *gens[AT_ONCE];
    struct text *texts;
    size_t n;
    enum realm_pooling pooling;
    bool raw;
    float *vector; /* (width) */
    size_t width;
};

static int parse_pooling(const char *text, enum realm_pooling *out)
{
    *out = realm_pooling_named(text);
    if (*out)
        return -1;
    return cmd_usage("embed", "--pooling must be mean, cls or last, not '%s'", text);
}

/* The lines of a file, but for what is behind the last end of one if that is nothing. */
static int split_lines(struct embedder *e, const char *file, const char *text, size_t bytes)
{
    size_t lines = bytes && text[bytes - 1] != '\n';
    for (size_t i = 0; i < bytes; i++)
        lines += text[i] == '\n';
    e->texts = mem_array(lines, sizeof(*e->texts));
    if (!e->texts)
        return cmd_failf("embed", "out of memory");
    for (const char *p = text; e->n < lines; p += e->texts[e->n++].n + 1) {
        const char *end = memchr(p, '\n', bytes - (size_t)(p - text));
        size_t n = (end ? end : text + bytes) - p;
        e->texts[e->n] = (struct text){p, n};
        if (n == 0)
            return cmd_failf("embed", "%s: line %zu is empty", file, e->n + 1);
    }
    return lines ? -1 : cmd_failf("embed", "%s: the file is empty", file);
}

static int take_operands(struct embedder *e, const struct arguments *a)
{
    e->n = (size_t)a->n_texts;
    e->texts = mem_array(e->n, sizeof(*e->texts));
    if (!e->texts)
        return cmd_failf("embed", "out of memory");
    for (size_t i = 0; i < e->n; i++) {
        e->texts[i] = (struct text){a->texts[i], strlen(a->texts[i])};
        if (e->texts[i].n == 0)
            return cmd_usage("embed", "a text is empty");
    }
    return -1;
}

static int start(struct embedder *e, struct realm_model *m, size_t at, struct realm_error *err)
{
    struct realm_request r;
    realm_request_init(&r, REALM_DOOR_CLI);
    r.text = e->texts[at].p;
    r.text_bytes = e->texts[at].n;
    r.text_flags = REALM_TEXT_BOS | REALM_TEXT_END;
    r.prompt_only = true;
    r.pooling = e->pooling;
    return realm_gen_start(&e->gens[at % AT_ONCE], m, &r, err);
}

static int print_one(struct embedder *e, size_t at)
{
    struct realm_event event;
    struct realm_gen **gen = &e->gens[at % AT_ONCE];
    int status = realm_gen_next(*gen, &event, NULL);
    if (!status)
        status = event.status;
    if (status)
        return cmd_failf("embed", "text %zu: %s", at + 1, realm_status_name(status));
    memcpy(e->vector, event.embedding, e->width * sizeof(*e->vector));
    if (!e->raw)
        realm_normalise(e->vector, e->width);
    for (size_t i = 0; i < e->width; i++)
        printf("%s%.9g", i ? "," : "[", (double)e->vector[i]);
    puts("]");
    realm_gen_close(*gen);
    *gen = NULL;
    return -1;
}

/* In order, with some of those that follow under way. */
static int embed_all(struct embedder *e, struct realm_model *m)
{
    struct realm_error err = {0};
    size_t begun = 0;
    for (size_t i = 0; i < e->n; i++) {
        for (; begun < e->n && begun < i + AT_ONCE; begun++)
            if (start(e, m, begun, &err))
                return cmd_failf("embed", "text %zu: %s", begun + 1, err.message);
        int status = print_one(e, i);
        if (status >= 0)
            return status;
    }
    return EXIT_DONE;
}

static int embed(struct embedder *e, const struct arguments *a, struct realm_model *m)
{
    struct realm_model_info info;
    realm_model_info(m, &info);
    e->raw = a->raw;
    e->width = info.hidden_size;
    e->pooling = a->pooling ? a->pooling : info.pooling ? info.pooling : REALM_POOL_MEAN;
    e->vector = mem_array(e->width, sizeof(*e->vector));
    int status = e->vector ? embed_all(e, m) : cmd_failf("embed", "out of memory");
    for (size_t i = 0; i < AT_ONCE; i++)
        realm_gen_close(e->gens[i]);
    mem_free(e->vector);
    return status;
}

static int read_arguments(int argc, char **argv, struct arguments *a)
{
    const char *pooling = NULL;
    const struct opt opts[] = {
        {"model", 'm', "FILE", "GGUF file (default: the model that comes along)", &a->model, NULL},
        {"file", 'f', "FILE", "each line of FILE is a text (- is standard input)", &a->file, NULL},
        {"pooling", 0, "KIND", "mean, cls (the first token) or last (default: the model's)",
         &pooling, NULL},
        {"raw", 0, NULL, "as the model has it, not of length 1", NULL, &a->raw},
    };
    int status = opt_parse(argc, argv, opts, ARRAY_LEN(opts), &help, &a->n_texts);
    if (status >= 0)
        return status;
    a->texts = argv;
    if ((a->n_texts > 0) == (a->file != NULL))
        return cmd_usage("embed", "give texts, or --file FILE (- is standard input)");
    return pooling ? parse_pooling(pooling, &a->pooling) : -1;
}

int cmd_embed(int argc, char **argv)
{
    struct arguments a = {0};
    struct embedder e = {0};
    struct cmd_engine on;
    char *text = NULL;
    size_t bytes;
    int status = read_arguments(argc, argv, &a);
    if (status < 0 && a.file)
        status = cmd_text("embed", NULL, a.file, &text, &bytes);
    if (status < 0)
        status = a.file ? split_lines(&e, a.file, text, bytes) : take_operands(&e, &a);
    if (status < 0) {
        const struct realm_options options = {.kv_type = REALM_KV_F32};
        status = cmd_engine_open(&on, "embed", a.model, &options, NULL);
        if (status < 0)
            status = embed(&e, &a, on.model);
        cmd_engine_close(&on);
    }
    mem_free(e.texts);
    mem_free(text);
    return status;
}
