/* Encodes texts for check_text.py: encode_file VOCAB.gguf reads texts from
 * standard input, each with its length before it (32 bits, little endian), and
 * prints the ids of each on a line. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/limits.h"
#include "base/mem.h"
#include "text/vocab.h"

static int encode(const struct vocab *v, struct slice text)
{
    size_t n, max = vocab_bound(v, text.n);
    uint32_t *ids = mem_array(max, sizeof(*ids));
    int status =
        ids ? vocab_encode(v, (const char *)text.p, text.n, 0, ids, max, &n) : REALM_E_NOMEM;
    for (size_t i = 0; !status && i < n; i++)
        printf(i ? " %u" : "%u", ids[i]);
    putchar('\n');
    mem_free(ids);
    return status;
}

static int encode_all(const struct vocab *v, struct bytes texts)
{
    while (bytes_left(&texts)) {
        uint32_t n;
        struct slice text;
        int status =
            rd_u32(&texts, &n) && rd_slice(&texts, n, &text) ? encode(v, text) : REALM_E_FORMAT;
        if (status)
            return status;
    }
    return 0;
}

static int run(const char *path, struct realm_error *err)
{
    static uint8_t texts[8 << 20];
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
    status = encode_all(v, bytes_from(texts, fread(texts, 1, sizeof(texts), stdin)));
    vocab_close(v);
    return status;
}

int main(int argc, char **argv)
{
    struct realm_error err = {0};
    if (argc != 2) {
        fprintf(stderr, "usage: encode_file VOCAB.gguf < TEXTS\n");
        return 2;
    }
    int status = run(argv[1], &err);
    if (status)
        fprintf(stderr, "%s: %s %s\n", argv[1], realm_status_name(status), err.message);
    return status != 0;
}
