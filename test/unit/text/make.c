#include "make.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"

static void add(struct buf *b, const void *p, size_t n)
{
    int status = buf_add(b, p, n);
    ASSERT(status == 0);
}

static void add_u64(struct buf *b, uint64_t value)
{
    add(b, &value, sizeof(value));
}

static void add_text(struct buf *b, struct slice text)
{
    add_u64(b, text.n);
    add(b, text.p, text.n);
}

static void add_key(struct make *m, const char *key, uint32_t type)
{
    add_text(&m->values, slice_of(key));
    add(&m->values, &type, sizeof(type));
    m->n++;
}

static void add_array(struct make *m, const char *key, uint32_t item_type, uint64_t n)
{
    add_key(m, key, GGUF_ARRAY);
    add(&m->values, &item_type, sizeof(item_type));
    add_u64(&m->values, n);
}

void make_init(struct make *m)
{
    buf_init(&m->values, SIZE_MAX);
    buf_init(&m->file, SIZE_MAX);
    m->n = 0;
}

void make_free(struct make *m)
{
    buf_free(&m->values);
    buf_free(&m->file);
}

void make_u32(struct make *m, const char *key, uint32_t value)
{
    add_key(m, key, GGUF_U32);
    add(&m->values, &value, sizeof(value));
}

void make_i32(struct make *m, const char *key, int32_t value)
{
    add_key(m, key, GGUF_I32);
    add(&m->values, &value, sizeof(value));
}

void make_bool(struct make *m, const char *key, bool value)
{
    add_key(m, key, GGUF_BOOL);
    add(&m->values, &(uint8_t){value}, 1);
}

void make_string(struct make *m, const char *key, const char *value)
{
    add_key(m, key, GGUF_STRING);
    add_text(&m->values, slice_of(value));
}

void make_strings(struct make *m, const char *key, const struct slice *items, size_t n)
{
    add_array(m, key, GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        add_text(&m->values, items[i]);
}

void make_i32s(struct make *m, const char *key, const int32_t *items, size_t n)
{
    add_array(m, key, GGUF_I32, n);
    add(&m->values, items, n * sizeof(*items));
}

void make_f32s(struct make *m, const char *key, const float *items, size_t n)
{
    add_array(m, key, GGUF_F32, n);
    add(&m->values, items, n * sizeof(*items));
}

struct gguf *make_gguf(struct make *m)
{
    static const uint32_t version = 3;
    buf_clear(&m->file);
    add(&m->file, "GGUF", 4);
    add(&m->file, &version, sizeof(version));
    add_u64(&m->file, 0);
    add_u64(&m->file, m->n);
    add(&m->file, m->values.p, m->values.n);
    while (m->file.n % 32)
        add(&m->file, "", 1);
    struct gguf *g;
    return gguf_parse(&g, m->file.p, m->file.n, m->file.n, NULL) ? NULL : g;
}

uint32_t small_add(struct small *s, const char *text, int32_t type, float score)
{
    ASSERT(s->n < SMALL_MAX);
    s->tokens[s->n] = slice_of(text);
    s->types[s->n] = type;
    s->scores[s->n] = score;
    return (uint32_t)s->n++;
}

static void add_bytes(struct small *s)
{
    for (unsigned b = 0; b < 256; b++) {
        snprintf(s->names[b], sizeof(s->names[b]), "<0x%02X>", b);
        small_add(s, s->names[b], TOKEN_BYTE, 0);
    }
}

void small_spm(struct small *s)
{
    static const char *const words[] = {
        "\u2581t",   "he",      "\u2581the",   "in",     "re",
        "on",        "\u2581a", "ll",          "er",     "\u2581\u2581",
        "hell",      "hello",   "\u2581hello", "\u2581", "e",
        "t",         "a",       "o",           "n",      "i",
        "h",         "l",       "r",           "s",      "\u00e4",
        "\U0001F600"};
    *s = (struct small){.spm = true, .bos = 1, .eos = 2, .unknown = 0};
    small_add(s, "<unk>", TOKEN_UNKNOWN, 0);
    small_add(s, "<s>", TOKEN_CONTROL, 0);
    small_add(s, "</s>", TOKEN_CONTROL, 0);
    add_bytes(s);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        small_add(s, words[i], TOKEN_NORMAL, -(float)i);
    small_add(s, "<|end|>", TOKEN_CONTROL, 0);
    small_add(s, "<|end|><|end|>", TOKEN_CONTROL, 0);
    small_add(s, "<tool>", TOKEN_USER_DEFINED, 0);
}

void small_bpe(struct small *s)
{
    static const char *const merges[] = {
        "h e", "l l", "he ll", "hell o", "\u0120 t",      "\u0120 a",      "\u0120t he", "i n",
        "r e", "o n", "a a",   "aa aa",  "\u0120 \u0120", "\u00c3 \u00a4", "1 2",        "aaaa a"};
    static const char *const joined[] = {
        "he", "ll", "hell", "hello", "\u0120t",      "\u0120a",      "\u0120the", "in",
        "re", "on", "aa",   "aaaa",  "\u0120\u0120", "\u00c3\u00a4", "12",        "aaaaa"};
    *s = (struct small){.bos = 256, .eos = 256, .unknown = -1, .pre = "gpt-2"};
    uint32_t other = 0x100;
    for (unsigned b = 0; b < 256; b++) {
        bool itself = (b > 0x20 && b < 0x7F) || (b > 0xA0 && b != 0xAD);
        uint8_t *name = (uint8_t *)s->names[b];
        name[utf8_encode(itself ? b : other++, name)] = 0;
        small_add(s, s->names[b], TOKEN_NORMAL, 0);
    }
    small_add(s, "<|endoftext|>", TOKEN_CONTROL, 0);
    for (size_t i = 0; i < ARRAY_LEN(joined); i++) {
        small_add(s, joined[i], TOKEN_NORMAL, 0);
        s->merges[s->n_merges++] = slice_of(merges[i]);
    }
    small_add(s, "<|im_end|>", TOKEN_CONTROL, 0);
    small_add(s, "<|im_end|><", TOKEN_CONTROL, 0);
    small_add(s, "<tool>", TOKEN_USER_DEFINED, 0);
}

void small_wordpiece(struct small *s)
{
    static const char *const words[] = {"\u2581hello",  "\u2581he", "\u2581th", "llo", "e",
                                        "\u2581!",      "\u2581a",  "a",        "aaa", "\u2581.",
                                        "\u2581\u4e2d", "s",        "\u2581'",  "in",  "\u2581in"};
    *s = (struct small){.model = "bert", .bos = -1, .eos = -1, .unknown = -1};
    small_add(s, "[PAD]", TOKEN_CONTROL, 0);
    small_add(s, "[UNK]", TOKEN_UNKNOWN, 0);
    small_add(s, "[CLS]", TOKEN_CONTROL, 0);
    small_add(s, "[SEP]", TOKEN_CONTROL, 0);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        small_add(s, words[i], TOKEN_NORMAL, 0);
}

void small_unigram(struct small *s)
{
    static const struct {
        const char *text;
        float score;
    } words[] = {{"\u2581", -3},
                 {"\u2581hello", -4},
                 {"\u2581he", -3},
                 {"llo", -3},
                 {"l", -5},
                 {"h", -5},
                 {"e", -5},
                 {"a", -2},
                 {"aa", -3},
                 {"aaaa", -9},
                 {"\u2581\u2581", -4},
                 {"\u4e2d", -6}};
    *s = (struct small){.model = "t5", .bos = -1, .eos = 1, .unknown = 0};
    small_add(s, "<unk>", TOKEN_UNKNOWN, 0);
    small_add(s, "</s>", TOKEN_CONTROL, 0);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        small_add(s, words[i].text, TOKEN_NORMAL, words[i].score);
    small_add(s, "<tool>", TOKEN_USER_DEFINED, 0);
}

void small_plain(struct small *s)
{
    static const char *const letters[] = {"\u2581", "\n", "t", "h", "e", "a", "l", "o", "("};
    static const char *const merges[] = {"\u2581 \u2581", "\n \n",      "t h",
                                         "th e",          "\u2581 the", "l l"};
    static const char *const joined[] = {"\u2581\u2581", "\n\n", "th", "the", "\u2581the", "ll"};
    *s = (struct small){.model = "gemma4", .bos = 1, .eos = 2, .unknown = 0};
    small_add(s, "<unk>", TOKEN_UNKNOWN, 0);
    small_add(s, "<bos>", TOKEN_CONTROL, 0);
    small_add(s, "<turn|>", TOKEN_CONTROL, 0);
    add_bytes(s);
    for (size_t i = 0; i < ARRAY_LEN(letters); i++)
        small_add(s, letters[i], TOKEN_NORMAL, 0);
    for (size_t i = 0; i < ARRAY_LEN(joined); i++) {
        small_add(s, joined[i], TOKEN_NORMAL, 0);
        s->merges[s->n_merges++] = slice_of(merges[i]);
    }
}

void small_write(const struct small *s, struct make *m)
{
    bool scored = s->spm || (s->model && strcmp(s->model, "t5") == 0);
    make_string(m, "general.architecture", "none");
    make_string(m, "tokenizer.ggml.model", s->model ? s->model : s->spm ? "llama" : "gpt2");
    if (s->pre)
        make_string(m, "tokenizer.ggml.pre", s->pre);
    make_strings(m, "tokenizer.ggml.tokens", s->tokens, s->n);
    make_i32s(m, "tokenizer.ggml.token_type", s->types, s->n);
    if (scored)
        make_f32s(m, "tokenizer.ggml.scores", s->scores, s->n);
    else if (!s->model || s->n_merges)
        make_strings(m, "tokenizer.ggml.merges", s->merges, s->n_merges);
    if (s->bos >= 0)
        make_u32(m, "tokenizer.ggml.bos_token_id", (uint32_t)s->bos);
    if (s->eos >= 0)
        make_u32(m, "tokenizer.ggml.eos_token_id", (uint32_t)s->eos);
    if (s->unknown >= 0)
        make_u32(m, "tokenizer.ggml.unknown_token_id", (uint32_t)s->unknown);
}

int small_open(const struct small *s, struct vocab **out, struct realm_error *err)
{
    struct make m;
    make_init(&m);
    small_write(s, &m);
    struct gguf *g = make_gguf(&m);
    ASSERT(g);
    int status = vocab_open(out, g, err);
    gguf_close(g);
    make_free(&m);
    return status;
}

double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

size_t small_encode(const struct vocab *v, const char *text, unsigned flags, uint32_t *ids,
                    char out[4096])
{
    size_t n, at = 0;
    int status = vocab_encode(v, text, strlen(text), flags, ids, SMALL_IDS, &n);
    ASSERT(status == 0);
    ASSERT(n <= vocab_bound(v, strlen(text)) && n >= vocab_least(v, text, strlen(text), flags));
    for (size_t i = 0; i < n; i++) {
        struct slice t = vocab_text(v, ids[i]);
        if (i)
            out[at++] = '|';
        memcpy(out + at, t.p, t.n);
        at += t.n;
    }
    out[at] = 0;
    return n;
}

void small_memory_fails(const struct small *s, const char *text, size_t tokens)
{
    struct make m;
    make_init(&m);
    small_write(s, &m);
    struct gguf *g = make_gguf(&m);
    const uint64_t live = mem_live();
    for (uint64_t at = 1, done = 0; !done; at++) {
        struct vocab *v;
        uint32_t ids[32];
        size_t n;
        mem_fail_at(at, at % 2);
        int status = vocab_open(&v, g, NULL);
        mem_fail_at(0, 0);
        done = status == 0;
        ASSERT(status == 0 || status == REALM_E_NOMEM);
        for (uint64_t in = 1, encoded = 0; v && !encoded; in++) {
            mem_fail_at(in, 0);
            status = vocab_encode(v, text, strlen(text), 0, ids, ARRAY_LEN(ids), &n);
            mem_fail_at(0, 0);
            ASSERT(status == 0 ? n == tokens : status == REALM_E_NOMEM && n == 0);
            encoded = status == 0;
        }
        vocab_close(v);
        ASSERT(mem_live() == live);
    }
    gguf_close(g);
    make_free(&m);
}
