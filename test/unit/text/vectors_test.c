/* The four published vocabularies: every text of the .inp file gives the ids of
 * its line in the .out file, and the ids give the text again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/limits.h"
#include "base/mem.h"
#include "text/detok.h"

enum { IDS_MAX = 1024 };

struct files {
    uint8_t *gguf, *inp, *out;
    size_t gguf_n, inp_n, out_n;
    struct gguf *g;
    struct vocab *v;
};

static bool read_one(const char *name, const char *suffix, uint8_t **p, size_t *n)
{
    const char *root = getenv("REALM_TEST_DATA");
    char path[512];
    snprintf(path, sizeof(path), "%s/vocab/ggml-vocab-%s.gguf%s", root ? root : TEST_DATA, name,
             suffix);
    return io_read_file(io_system(), path, 64 * MiB, p, n, NULL) == 0;
}

static void files_open(struct files *f, const char *name)
{
    memset(f, 0, sizeof(*f));
    assert_true(read_one(name, "", &f->gguf, &f->gguf_n));
    assert_true(read_one(name, ".inp", &f->inp, &f->inp_n));
    assert_true(read_one(name, ".out", &f->out, &f->out_n));
    assert_int_equal(gguf_parse(&f->g, f->gguf, f->gguf_n, f->gguf_n, NULL), 0);
    struct realm_error err = {0};
    if (vocab_open(&f->v, f->g, &err))
        fail_msg("%s", err.message);
    assert_int_equal(gguf_tensors(f->g), 0);
}

static void files_close(struct files *f)
{
    vocab_close(f->v);
    gguf_close(f->g);
    mem_free(f->gguf);
    mem_free(f->inp);
    mem_free(f->out);
}

/* The ids of one line, from *at, which moves on to the next. */
static size_t read_line(const char **at, uint32_t *ids)
{
    size_t n = 0;
    const char *p = *at;
    while (*p && *p != '\n') {
        char *end;
        ids[n++] = (uint32_t)strtoul(p, &end, 10);
        assert_true(end != p && n < IDS_MAX);
        p = end + strspn(end, " ");
    }
    *at = *p ? p + 1 : p;
    return n;
}

static void check_detok(const struct vocab *v, const uint32_t *ids, size_t n, struct slice text)
{
    char out[8192];
    size_t out_n = 0;
    struct detok d;
    detok_init(&d, v, true, false);
    for (size_t i = 0; i < n; i++) {
        assert_true(out_n + detok_bound(&d, ids[i]) <= sizeof(out));
        out_n += detok_push(&d, ids[i], out + out_n);
    }
    out_n += detok_end(&d, out + out_n);
    assert_int_equal(out_n, text.n);
    assert_memory_equal(out, text.p, text.n);
}

static void check_text(const struct vocab *v, struct slice text, const uint32_t *want, size_t n)
{
    uint32_t ids[IDS_MAX];
    size_t got;
    assert_true(vocab_bound(v, text.n) <= IDS_MAX);
    assert_int_equal(vocab_encode(v, (const char *)text.p, text.n, 0, ids, IDS_MAX, &got), 0);
    bool same = got == n && memcmp(ids, want, n * sizeof(*ids)) == 0;
    if (!same) {
        for (size_t i = 0; i < got || i < n; i++)
            print_message("%zu: got %d want %d\n", i, i < got ? (int)ids[i] : -1,
                          i < n ? (int)want[i] : -1);
        fail_msg("text \"%.*s\"", (int)text.n, (const char *)text.p);
    }
    check_detok(v, ids, got, text);
}

static void check_vocabulary(const char *name)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    struct files f;
    files_open(&f, name);
    const char *text = (const char *)f.inp, *line = (const char *)f.out;
    size_t cases = 0;
    for (const char *end; (end = strstr(text, separator)); cases++) {
        uint32_t want[IDS_MAX];
        size_t n = read_line(&line, want);
        check_text(f.v, (struct slice){(const uint8_t *)text, (size_t)(end - text)}, want, n);
        text = end + strlen(separator);
    }
    assert_int_equal(*line, 0); // as many lines as texts
    assert_true(cases >= 40);
    files_close(&f);
}

static void gpt_2(void **state)
{
    (void)state;
    check_vocabulary("gpt-2");
}

static void llama_spm(void **state)
{
    (void)state;
    check_vocabulary("llama-spm");
}

static void phi_3(void **state)
{
    (void)state;
    check_vocabulary("phi-3");
}

static void starcoder(void **state)
{
    (void)state;
    check_vocabulary("starcoder");
}

/* As the model's own tokenizer has it: white space after <|user|> is part of it. */
static void phi_3_template(void **state)
{
    (void)state;
    struct files f;
    files_open(&f, "phi-3");
    static const char text[] = "<|user|>\nHello<|end|>\n<|assistant|>\n";
    static const uint32_t want[] = {1, 32010, 15043, 32007, 32001};
    uint32_t ids[64];
    size_t n;
    assert_int_equal(vocab_encode(f.v, text, strlen(text), VOCAB_BOS | VOCAB_SPECIAL, ids, 64, &n),
                     0);
    assert_int_equal(n, ARRAY_LEN(want));
    assert_memory_equal(ids, want, sizeof(want));
    assert_true(vocab_is_end(f.v, 32000) && vocab_is_end(f.v, 32007) && !vocab_is_end(f.v, 32010));
    assert_true(vocab_is_end(f.v, 2));
    files_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt_2),     cmocka_unit_test(llama_spm),      cmocka_unit_test(phi_3),
        cmocka_unit_test(starcoder), cmocka_unit_test(phi_3_template),
    };
    uint8_t *first;
    size_t n;
    if (!read_one("gpt-2", "", &first, &n)) {
        printf("1..0 # SKIP no test data: set REALM_TEST_DATA\n");
        return 0;
    }
    mem_free(first);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
