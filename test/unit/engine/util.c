#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util.h"

const char *tiny_path;

struct realm *open_engine(const struct realm_options *options)
{
    struct realm *r;
    struct realm_error err = {0};
    if (realm_open(&r, options, &err))
        fail_msg("realm_open: %s", err.message);
    return r;
}

struct realm_model *open_tiny(struct realm *r)
{
    struct realm_model *m;
    struct realm_error err = {0};
    if (realm_model_open(&m, r, tiny_path, NULL, &err))
        fail_msg("realm_model_open: %s", err.message);
    return m;
}

struct realm_request request_for(const char *text, uint32_t max_tokens)
{
    struct realm_request request;
    realm_request_init(&request, REALM_DOOR_OPENAI);
    request.text = text;
    request.text_bytes = text ? strlen(text) : 0;
    request.text_flags = REALM_TEXT_BOS;
    request.sampling.temperature = 0;
    request.sampling.max_tokens = max_tokens;
    request.ignore_end = true;
    return request;
}

void long_ids(struct realm_model *m, uint32_t *ids, size_t n)
{
    struct realm_model_info info;
    realm_model_info(m, &info);
    for (size_t i = 0; i < n; i++)
        ids[i] = 300 + (uint32_t)(i * 7919 % (info.vocab_size - 300));
}

static void add_text(struct answer *out, const struct realm_event *e)
{
    assert_true(out->text_bytes + e->text_bytes < sizeof(out->text));
    memcpy(out->text + out->text_bytes, e->text, e->text_bytes);
    out->text_bytes += e->text_bytes;
    out->text[out->text_bytes] = '\0';
}

void read_answer(struct realm_gen *g, struct answer *out)
{
    struct realm_event e;
    *out = (struct answer){.seed = realm_gen_seed(g)};
    do {
        assert_int_equal(realm_gen_next(g, &e, NULL), 0);
        add_text(out, &e);
        if (e.kind == REALM_EVENT_TOKEN) {
            assert_int_equal(e.index, out->n);
            assert_true(out->n < ANSWER_MAX);
            out->logprobs[out->n] = e.logprob;
            out->tokens[out->n++] = e.token;
        }
    } while (e.kind != REALM_EVENT_END);
    out->status = e.status;
    out->finish = e.finish;
    out->usage = e.usage;
    realm_gen_close(g);
}

void ask(struct realm_model *m, const struct realm_request *request, struct answer *out)
{
    struct realm_gen *g;
    int status = realm_gen_start(&g, m, request, NULL);
    if (status)
        *out = (struct answer){.status = status, .finish = REALM_FINISH_ERROR};
    else
        read_answer(g, out);
}

void assert_same_answer(const struct answer *a, const struct answer *b)
{
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->finish, b->finish);
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->tokens, b->tokens, a->n * sizeof(*a->tokens));
    assert_memory_equal(a->logprobs, b->logprobs, a->n * sizeof(*a->logprobs));
    assert_string_equal(a->text, b->text);
}

void *read_tiny(size_t *n)
{
    FILE *f = fopen(tiny_path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *n = (size_t)ftell(f);
    rewind(f);
    void *bytes = malloc(*n);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *n, f), *n);
    fclose(f);
    return bytes;
}

void copy_tiny(const char *path)
{
    size_t n;
    void *bytes = read_tiny(&n);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    free(bytes);
}

struct realm_stats stats_of(struct realm *r)
{
    struct realm_stats s;
    realm_stats(r, &s);
    return s;
}
