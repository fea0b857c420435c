/* cmd/realm/cmd_tokenize.c - `realm tokenize`: from text to token ids.
 *
 * It reads the vocabulary alone, so that files without tensors, or of models that
 * cannot be run, serve as well. */
#include <string.h>

#include "base/mem.h"
#include "cmd.h"
#include "gguf/file.h"
#include "text/vocab.h"

static const struct opt_help help = {
    .usage = "tokenize [TEXT | --file FILE] [-m FILE] [--no-bos] [--special] [--json]",
    .about = "Prints the ids that a text becomes, on one line; a file is one text, with all its\n"
             "line ends.  A file with a vocabulary alone is enough for -m.",
    .examples = "  realm tokenize \"Hello world\"\n"
                "  realm tokenize --special --json \"<|im_start|>user\"\n"
                "  realm tokenize --file story.txt | wc -w",
};

struct arguments {
    const char *model, *file, *text;
    bool no_bos, special, json;
};

static int open_vocab(const char *path, struct vocab **out, struct realm_error *err)
{
    struct gguf_file *f;
    int status = gguf_file_open(&f, io_system(), path, 0, err);
    if (status)
        return status;
    status = vocab_open(out, gguf_file_header(f), err);
    gguf_file_close(f);
    return status;
}

static void print_ids(const uint32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf(i ? " %u" : "%u", ids[i]);
    putchar('\n');
}

static void print_json(const struct vocab *v, const uint32_t *ids, size_t n)
{
    putchar('[');
    for (size_t i = 0; i < n; i++) {
        struct slice piece = vocab_piece(v, ids[i], true);
        printf("%s{\"id\":%u,\"piece\":", i ? "," : "", ids[i]);
        print_json_text((const char *)piece.p, piece.n);
        putchar('}');
    }
    printf("]\n");
}

static int tokenize(const struct arguments *a, const struct vocab *v, const char *text,
                    size_t bytes)
{
    unsigned flags = (a->no_bos ? 0 : VOCAB_BOS) | (a->special ? VOCAB_SPECIAL : 0);
    size_t n, max = vocab_bound(v, bytes);
    uint32_t *ids = mem_array(max, sizeof(*ids));
    int status = ids ? vocab_encode(v, text, bytes, flags, ids, max, &n) : REALM_E_NOMEM;
    if (status == REALM_E_UTF8)
        status = cmd_failf("tokenize", "the text is not UTF-8");
    else if (status)
        status = cmd_failf("tokenize", "the text cannot be turned into tokens: %s",
                           realm_status_name(status));
    else if (a->json)
        print_json(v, ids, n);
    else
        print_ids(ids, n);
    mem_free(ids);
    return status;
}

static int read_arguments(int argc, char **argv, struct arguments *a)
{
    int n_rest;
    const struct opt opts[] = {
        {"model", 'm', "FILE", "GGUF file (default: the model that comes along)", &a->model, NULL},
        {"file", 'f', "FILE", "read the text from FILE (- is standard input)", &a->file, NULL},
        {"no-bos", 0, NULL, "leave out the BOS token", NULL, &a->no_bos},
        {"special", 0, NULL, "control tokens spelled in the text become their ids", NULL,
         &a->special},
        {"json", 0, NULL, "print [{\"id\":..,\"piece\":\"..\"},..]", NULL, &a->json},
    };
    int status = opt_parse(argc, argv, opts, ARRAY_LEN(opts), &help, &n_rest);
    if (status >= 0)
        return status;
    if (n_rest > 1)
        return cmd_usage("tokenize", "more than one text; put quotes around it");
    a->text = n_rest ? argv[0] : NULL;
    return -1;
}

int cmd_tokenize(int argc, char **argv)
{
    struct arguments a = {0};
    struct realm_error err;
    struct vocab *v;
    char *text;
    size_t n;
    int status = read_arguments(argc, argv, &a);
    if (status >= 0)
        return status;
    status = cmd_text("tokenize", a.text, a.file, &text, &n);
    if (status >= 0)
        return status;
    char *path = cmd_model_path("tokenize", a.model);
    if (!path) {
        status = EXIT_FAILED;
    } else if (open_vocab(path, &v, &err)) {
        status = cmd_fail_file("tokenize", path, &err);
    } else {
        status = tokenize(&a, v, text, n);
        vocab_close(v);
    }
    mem_free(path);
    mem_free(text);
    if (!status && fflush(stdout))
        status = cmd_failf("tokenize", "the output cannot be written");
    return status;
}
