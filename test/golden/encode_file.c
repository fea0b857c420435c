/* Encodes texts for check_text.py: encode_file VOCAB.gguf reads texts from standard
 * input, each with its length before it (32 bits, little endian), and prints the ids of
 * each on a line, with a bar and the bytes (in hexadecimal) that they stand for after them.
 * encode_file VOCAB.gguf --special lets the texts spell special tokens;
 * encode_file VOCAB.gguf --time encodes all that is read as one text and prints MB/s. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/limits.h"
#include "base/mem.h"
#include "text/detok.h"

static void print_bytes(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf("%02x", (uint8_t)bytes[i]);
}

static int decode(const struct vocab *v, const uint32_t *ids, size_t n)
{
    struct detok d;
    char last[4];
    detok_init(&d, v, true, false);
    for (size_t i = 0; i < n; i++) {
        char *out = mem_alloc(detok_bound(&d, ids[i]) + 1);
        if (!out)
            return REALM_E_NOMEM;
        print_bytes(out, detok_push(&d, ids[i], out));
        mem_free(out);
    }
    print_bytes(last, detok_end(&d, last));
    return 0;
}

static int encode(const struct vocab *v, struct slice text, unsigned flags)
{
    size_t n, max = vocab_bound(v, text.n);
    uint32_t *ids = mem_array(max, sizeof(*ids));
    int status =
        ids ? vocab_encode(v, (const char *)text.p, text.n, flags, ids, max, &n) : REALM_E_NOMEM;
    for (size_t i = 0; !status && i < n; i++)
        printf(i ? " %u" : "%u", ids[i]);
    putchar('|');
    if (!status)
        status = decode(v, ids, n);
    putchar('\n');
    mem_free(ids);
    return status;
}

static int encode_all(const struct vocab *v, struct bytes texts, unsigned flags)
{
    while (bytes_left(&texts)) {
        uint32_t n;
        struct slice text;
        int status = rd_u32(&texts, &n) && rd_slice(&texts, n, &text) ? encode(v, text, flags)
                                                                      : REALM_E_FORMAT;
        if (status)
            return status;
    }
    return 0;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The best of three. */
static int measure(const struct vocab *v, struct slice text)
{
    size_t n, max = vocab_bound(v, text.n);
    uint32_t *ids = mem_array(max, sizeof(*ids));
    double best = 1e9;
    int status = ids ? 0 : REALM_E_NOMEM;
    for (int i = 0; i < 3 && !status; i++) {
        double start = seconds();
        status = vocab_encode(v, (const char *)text.p, text.n, 0, ids, max, &n);
        double took = seconds() - start;
        best = took < best ? took : best;
    }
    printf("%.2f\n", (double)text.n / 1e6 / best);
    mem_free(ids);
    return status;
}

static int run(const char *path, const char *option, struct realm_error *err)
{
    static uint8_t texts[64 << 20];
    uint8_t *file;
    size_t n;
    struct gguf *g;
    struct vocab *v;
    int status = io_read_file(io_system(), path, 64 * MiB, &file, &n, err);
    if (status)
        return status;
    status = gguf_parse(&g, file, n, n, err);
    if (!status) {
        status = vocab_open(&v, g, err);
        gguf_close(g);
    }
    mem_free(file);
    if (status)
        return status;
    n = fread(texts, 1, sizeof(texts), stdin);
    if (strcmp(option, "--time") == 0)
        status = measure(v, (struct slice){texts, n});
    else
        status = encode_all(v, bytes_from(texts, n), *option ? VOCAB_SPECIAL : 0);
    vocab_close(v);
    return status;
}

int main(int argc, char **argv)
{
    struct realm_error err = {0};
    const char *option = argc == 3 ? argv[2] : "";
    bool known = !*option || strcmp(option, "--special") == 0 || strcmp(option, "--time") == 0;
    if (argc < 2 || argc > 3 || !known) {
        fprintf(stderr, "usage: encode_file VOCAB.gguf [--special | --time] < TEXTS\n");
        return 2;
    }
    int status = run(argv[1], option, &err);
    if (status)
        fprintf(stderr, "%s: %s %s\n", argv[1], realm_status_name(status), err.message);
    return status != 0;
}
