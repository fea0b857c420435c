/* api/tokenize.c - llama-server's POST /tokenize, /detokenize and /apply-template. */
#include <string.h>

#include "api/api_impl.h"
#include "base/mem.h"
#include "chat/chat.h"

static void finish(struct job *j)
{
    job_answer(j, 200);
}

/* "model", which all of them may have. */
static int read_model(struct ask *a, json_t *body, struct api_error *e)
{
    const json_t *model = json_object_get(body, "model");
    a->body = body;
    if (model && !json_is_null(model) &&
        (!json_is_string(model) || strlen(json_string_value(model)) != json_string_length(model)))
        return api_bad(e, "model", NULL, "model must be a string");
    a->model = json_string_value(model);
    return 0;
}

static int read_flag(const json_t *body, const char *name, bool *out, struct api_error *e)
{
    const json_t *value = json_object_get(body, name);
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_boolean(value))
        return api_bad(e, name, NULL, "%s must be true or false", name);
    *out = json_is_true(value);
    return 0;
}

/* ---- tokenize ---- */

static int read_tokenize(struct ask *a, json_t *body, struct api_error *e)
{
    bool flag;
    if (read_model(a, body, e))
        return -1;
    const json_t *content = json_object_get(body, "content");
    if (!json_is_string(content) && !json_is_array(content))
        return api_bad(e, "content", NULL,
                       "content must be a string, or an array of strings and ids");
    if (read_flag(body, "add_special", &flag, e) || read_flag(body, "parse_special", &flag, e))
        return -1;
    return read_flag(body, "with_pieces", &flag, e);
}

/* {"id":…,"piece":…}; a piece that is no text is an array of its bytes. */
static void write_piece(struct job *j, uint32_t id)
{
    write_f(&j->w, "{\"id\":%u,\"piece\":", id);
    write_token_or_bytes(j, id);
    write_text(&j->w, "}");
}

static int write_tokens(struct job *j, const uint32_t *ids, size_t n, bool with_pieces,
                        struct api_error *e)
{
    if (with_pieces && n > TOKEN_PIECES_MAX)
        return api_bad(e, "with_pieces", NULL,
                       "with_pieces: the text has %zu tokens, and this works for at most %d", n,
                       TOKEN_PIECES_MAX);
    write_text(&j->w, "{\"tokens\":[");
    for (size_t i = 0; i < n; i++) {
        write_text(&j->w, i ? "," : "");
        if (with_pieces)
            write_piece(j, ids[i]);
        else
            write_f(&j->w, "%u", ids[i]);
    }
    write_text(&j->w, "]}");
    return 0;
}

static int content_ids(const struct job *j, unsigned flags, uint32_t **ids, size_t *n,
                       struct api_error *e)
{
    const json_t *content = json_object_get(j->ask.body, "content");
    if (json_is_array(content))
        return job_tokenize_parts(j, "content", content, flags, ids, n, e);
    return job_tokenize(j, json_string_value(content), json_string_length(content), flags, ids, n,
                        e);
}

static int tokenize(struct job *j, struct api_error *e)
{
    bool add_special = false, parse_special = true, with_pieces = false;
    if (job_open_model(j, e) || read_flag(j->ask.body, "add_special", &add_special, e) ||
        read_flag(j->ask.body, "parse_special", &parse_special, e) ||
        read_flag(j->ask.body, "with_pieces", &with_pieces, e))
        return -1;
    uint32_t *ids;
    size_t n;
    unsigned flags = (add_special ? REALM_TEXT_BOS : 0) | (parse_special ? REALM_TEXT_SPECIAL : 0);
    if (content_ids(j, flags, &ids, &n, e))
        return -1;
    int status = write_tokens(j, ids, n, with_pieces, e);
    mem_free(ids);
    return status;
}

const struct door door_tokenize = {
    .name = "tokenize",
    .read = read_tokenize,
    .work = tokenize,
    .error = api_error_openai,
    .finish = finish,
};

/* ---- detokenize ---- */

static int read_detokenize(struct ask *a, json_t *body, struct api_error *e)
{
    if (read_model(a, body, e))
        return -1;
    if (!json_is_array(json_object_get(body, "tokens")))
        return api_bad(e, "tokens", NULL, "tokens must be an array of ids");
    return 0;
}

/* The ids of the body, for mem_free. */
static int take_ids(const struct job *j, uint32_t **ids, size_t *n, struct api_error *e)
{
    const json_t *tokens = json_object_get(j->ask.body, "tokens"), *id;
    size_t i;
    *n = json_array_size(tokens);
    *ids = mem_array(*n, sizeof(**ids));
    if (!*ids)
        return api_from_status(e, REALM_E_NOMEM, NULL);
    json_array_foreach(tokens, i, id)
    {
        if (job_read_id(j, id, &(*ids)[i])) {
            mem_free(*ids);
            return api_bad(e, "tokens", NULL, "tokens[%zu] must be a whole number from 0 to %u", i,
                           j->info.vocab_size - 1);
        }
    }
    return 0;
}

static int write_text_of(struct job *j, const uint32_t *ids, size_t n)
{
    size_t bytes = 0;
    (void)realm_detokenize(j->model, ids, n, true, NULL, 0, &bytes);
    char *text = mem_alloc(bytes + 1);
    if (!text)
        return REALM_E_NOMEM;
    int status = realm_detokenize(j->model, ids, n, true, text, bytes, &bytes);
    write_text(&j->w, "{\"content\":");
    write_string(&j->w, text, status ? 0 : bytes);
    write_text(&j->w, "}");
    mem_free(text);
    return status;
}

static int detokenize(struct job *j, struct api_error *e)
{
    uint32_t *ids;
    size_t n;
    if (job_open_model(j, e) || take_ids(j, &ids, &n, e))
        return -1;
    int status = write_text_of(j, ids, n);
    mem_free(ids);
    return status ? api_from_status(e, status, NULL) : 0;
}

const struct door door_detokenize = {
    .name = "detokenize",
    .read = read_detokenize,
    .work = detokenize,
    .error = api_error_openai,
    .finish = finish,
};

/* ---- apply-template ---- */

/* What the prompt says to those who read it: without the guards before what only looks like a
 * control token, which the tokeniser drops, too. */
static int drop_guards(const char *text, size_t n, struct buf *plain)
{
    const size_t guard = strlen(REALM_TEXT_GUARD);
    int status = 0;
    while (n && !status) {
        const char *at = memmem(text, n, REALM_TEXT_GUARD, guard);
        size_t before = at ? (size_t)(at - text) : n;
        status = buf_add(plain, text, before);
        before += at ? guard : 0;
        text += before;
        n -= before;
    }
    return status;
}

static int apply_template(struct job *j, struct api_error *e)
{
    if (job_open_model(j, e) || job_render(j, e))
        return -1;
    write_text(&j->w, "{\"prompt\":");
    struct buf plain;
    buf_init(&plain, j->rendered.bytes);
    int status = drop_guards(j->rendered.text, j->rendered.bytes, &plain);
    write_string(&j->w, plain.p, plain.n);
    write_text(&j->w, "}");
    buf_free(&plain);
    return status ? api_from_status(e, status, NULL) : 0;
}

const struct door door_apply_template = {
    .name = "apply_template",
    .counts = true,
    .read = ask_chat,
    .work = apply_template,
    .error = api_error_openai,
    .finish = finish,
};
