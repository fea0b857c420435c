/* The tokenisers over any text, and vocabularies from any GGUF.
 *
 * The first byte chooses: a built-in small vocabulary, with which the rest is
 * encoded and decoded again; or the rest is the GGUF that a vocabulary is read
 * from, which then encodes a fixed text. */
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "make.h"
#include "text/detok.h"

/* Kinds from LATER on have the first bytes from LATER_BYTE on, so that the corpus stays
 * what it was. */
enum { FROM_GGUF = 6, LATER = 7, PLAIN = 31, KINDS = 33, FLAGS = 4, LATER_BYTE = LATER * FLAGS };

static const struct vocab *built_in(size_t kind)
{
    static const char *const pres[KINDS] = {"",
                                            "default",
                                            "gpt-2",
                                            "starcoder",
                                            "llama-bpe",
                                            "qwen2",
                                            "",
                                            "",
                                            "",
                                            "qwen35",
                                            "gpt-4o",
                                            "tekken",
                                            "kimi-k2",
                                            "tiny_aya",
                                            "youtu",
                                            "falcon",
                                            "deepseek-llm",
                                            "deepseek-coder",
                                            "deepseek-v3",
                                            "exaone-moe",
                                            "jais-2",
                                            "viking",
                                            "minicpm5",
                                            "laguna",
                                            "bailingmoe",
                                            "seed-coder",
                                            "bloom",
                                            "afmoe",
                                            "superbpe",
                                            "spark2_5",
                                            "ufakzeka",
                                            "",
                                            "whitespace"};
    static struct vocab *vocabs[KINDS];
    static struct small s;
    if (!vocabs[kind]) {
        if (kind == 0)
            small_spm(&s);
        else if (kind == LATER)
            small_wordpiece(&s);
        else if (kind == LATER + 1)
            small_unigram(&s);
        else if (kind >= PLAIN)
            small_plain(&s);
        else
            small_bpe(&s);
        s.pre = pres[kind];
        if (kind > PLAIN)
            s.model = pres[kind];
        int status = small_open(&s, &vocabs[kind], NULL);
        ASSERT(status == 0);
    }
    return vocabs[kind];
}

/* Every part that streams out is UTF-8; together they are returned. */
static struct slice decode(const struct vocab *v, const uint32_t *ids, size_t n, bool at_start,
                           char **out)
{
    struct detok d;
    size_t at = 0, max = 3;
    detok_init(&d, v, at_start, !at_start);
    for (size_t i = 0; i < n; i++)
        max += 3 * vocab_piece(v, ids[i], true).n;
    *out = mem_alloc(max);
    ASSERT(*out);
    for (size_t i = 0; i < n; i++) {
        size_t bound = detok_bound(&d, ids[i]), got = detok_push(&d, ids[i], *out + at);
        ASSERT(got <= bound && utf8_valid(*out + at, got));
        at += got;
    }
    at += detok_end(&d, *out + at);
    ASSERT(at <= max && utf8_valid(*out, at));
    return (struct slice){(const uint8_t *)*out, at};
}

/* Any ids, in any order: the bytes of the text are taken for some. */
static void check_ids(const struct vocab *v, const char *text, size_t n)
{
    uint32_t *ids = mem_array(n, sizeof(*ids));
    char *out;
    ASSERT(ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = (uint8_t)text[i] % vocab_size(v);
    for (int at_start = 0; at_start <= 1; at_start++) {
        (void)decode(v, ids, n, at_start, &out);
        mem_free(out);
    }
    mem_free(ids);
}

static void check_text(const struct vocab *v, const char *text, size_t n, unsigned flags)
{
    size_t n_ids, wanted, bound = vocab_bound(v, n);
    uint32_t *ids = mem_array(bound, sizeof(*ids));
    ASSERT(ids);
    int status = vocab_encode(v, text, n, flags, ids, bound, &n_ids);
    ASSERT(status == (utf8_valid(text, n) ? 0 : REALM_E_UTF8));
    int short_status = vocab_encode(v, text, n, flags, ids, n_ids / 2, &wanted);
    ASSERT(wanted == n_ids && short_status == (n_ids ? REALM_E_TOO_SMALL : status));
    status = vocab_encode(v, text, n, flags, ids, n_ids, &n_ids);
    char *out;
    for (size_t i = 0; i < n_ids; i++)
        ASSERT(ids[i] < vocab_size(v));
    struct slice back = decode(v, ids, n_ids, false, &out);
    bool exact = status == 0 && flags == 0 && v == built_in(2);
    ASSERT(!exact || slice_equal(back, (struct slice){(const uint8_t *)text, n}));
    size_t start, len;
    for (size_t at = 0;
         vocab_find_special(v, (struct slice){(const uint8_t *)text, n}, at, &start, &len);
         at = start + len)
        ASSERT(start >= at && len > 0 && start + len <= n);
    mem_free(out);
    mem_free(ids);
    check_ids(v, text, n);
}

static void check_tokens(const struct vocab *v)
{
    uint32_t n = vocab_size(v), bos = vocab_bos(v), eos = vocab_eos(v);
    ASSERT((bos < n || bos == TOKEN_NONE) && (eos < n || eos == TOKEN_NONE));
    ASSERT(eos == TOKEN_NONE || vocab_is_end(v, eos));
    uint64_t bytes = 0;
    for (uint32_t id = 0; id < n; id++) {
        enum token_kind kind = vocab_kind(v, id);
        ASSERT(kind >= TOKEN_NORMAL && kind <= TOKEN_BYTE);
        ASSERT(vocab_piece(v, id, false).n <= vocab_piece(v, id, true).n);
        bytes += vocab_text(v, id).n;
    }
    ASSERT(vocab_bytes(v) > bytes);
}

static void check_gguf(const uint8_t *data, size_t n, unsigned flags)
{
    static const char text[] = "Hello, w\u00f6rld!  12345\n\t<|im_end|>\u2581the</s> \U0001F600 "
                               "don't e\u0301\u212b \u4e2d";
    struct gguf *g;
    struct vocab *v;
    struct realm_error err = {0};
    uint64_t live = mem_live();
    if (gguf_parse(&g, data, n, n, &err))
        return;
    int status = vocab_open(&v, g, &err);
    gguf_close(g); // a vocabulary keeps what it needs
    ASSERT(status == 0 || (!v && err.message[0]));
    if (v) {
        check_tokens(v);
        check_text(v, text, sizeof(text) - 1, flags);
    }
    vocab_close(v);
    ASSERT(mem_live() == live);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    const bool later = data[0] >= LATER_BYTE;
    const unsigned choice = later ? data[0] - LATER_BYTE : data[0];
    const size_t kind = later ? LATER + choice % (KINDS - LATER) : choice % LATER;
    const unsigned flags = later ? choice / (KINDS - LATER) % (2 * FLAGS) : choice / LATER % FLAGS;
    (void)built_in(2); // before allocations are counted
    if (kind == FROM_GGUF)
        check_gguf(data + 1, n - 1, flags);
    else
        check_text(built_in(kind), (const char *)data + 1, n - 1, flags);
    return 0;
}
