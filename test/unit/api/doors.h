/* The doors by their readers, for tests. */
#ifndef TEST_API_DOORS_H
#define TEST_API_DOORS_H

#include <setjmp.h> // cmocka.h wants these four before it
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/ask_impl.h"
#include "base/mem.h"

#define TALK "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"

static UNUSED int ask_generate(struct ask *a, json_t *body, struct api_error *e)
{
    return ask_dispatch(a, body, false, e);
}

static UNUSED int ask_call(struct ask *a, json_t *body, struct api_error *e)
{
    return ask_dispatch(a, body, true, e);
}

/* Copies what stands before one of the bytes of end. */
static UNUSED void copy_word(const char *text, const char *end, char *out, size_t max)
{
    size_t n = strcspn(text, end);
    assert_true(n < max);
    memcpy(out, text, n);
    out[n] = '\0';
}

/* base: the least that a request must have. */
static UNUSED const struct door {
    const char *name;
    int (*read)(struct ask *a, json_t *body, struct api_error *e);
    const struct ask_endpoint *endpoint;
    const char *base;
} doors[] = {
    {"chat", ask_chat, &ask_chat_endpoint, TALK},
    {"completion", ask_completion, &ask_completion_endpoint, "\"prompt\":\"Hi\""},
    {"messages", ask_messages, &ask_messages_endpoint, TALK ",\"max_tokens\":16"},
    {"count", ask_count, &ask_count_endpoint, TALK},
    {"llama", ask_llama, &ask_llama_endpoint, "\"prompt\":\"Hi\""},
    {"embeddings", ask_embeddings, &ask_embeddings_endpoint, "\"input\":\"Hi\""},
    {"embedding", ask_llama_embeddings, &ask_llama_embeddings_endpoint, "\"content\":\"Hi\""},
    {"generate", ask_generate, &ask_generate_endpoint, "\"prompt\":\"Hi\""},
    {"call", ask_call, &ask_call_endpoint, TALK},
};

/* Reads the JSON text through a door; 0 or the HTTP status.  a must be freed if 0. */
static UNUSED int read_text(const struct door *d, const char *text, struct ask *a,
                            struct api_error *e)
{
    json_t *body;
    *e = (struct api_error){0};
    if (ask_json(&body, text, strlen(text), e))
        return e->http;
    if (d->read(a, body, e) == 0)
        return 0;
    ask_free(a);
    assert_true(e->http >= 400 && e->message[0] && e->type);
    return e->http;
}

/* The request's least members but for the one of this name, and that with this value. */
static UNUSED int read_with(const struct door *d, const char *name, const char *value,
                            struct ask *a, struct api_error *e)
{
    char text[65536];
    json_t *body, *member = json_loads(value, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    *e = (struct api_error){0};
    snprintf(text, sizeof(text), "{%s}", d->base);
    assert_int_equal(ask_json(&body, text, strlen(text), e), 0);
    assert_non_null(member);
    assert_int_equal(json_object_set_new(body, name, member), 0);
    if (d->read(a, body, e) == 0)
        return 0;
    ask_free(a);
    return e->http;
}

/* 0, or 400 that names the member. */
static UNUSED bool takes(const struct door *d, const char *name, const char *value)
{
    struct ask a;
    struct api_error e;
    int http = read_with(d, name, value, &a, &e);
    if (http == 0) {
        ask_free(&a);
        return true;
    }
    assert_int_equal(http, 400);
    if (strncmp(e.param, name, strlen(name)) != 0)
        fail_msg("%s: %s %s: param \"%s\": %s", d->name, name, value, e.param, e.message);
    assert_non_null(strstr(e.message, name));
    return false;
}

#endif
