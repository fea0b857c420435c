/* api/error.c - what a client is told when something goes wrong. */
#include "api/error.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "realm/realm.h"

enum { RETRY_MS = 1000 };

/* What an HTTP status is called by each kind of client. */
struct kind {
    int http;
    const char *openai, *anthropic, *ws;
};

static const struct kind *kind_of(int http)
{
    static const struct kind kinds[] = {
        {400, "invalid_request_error", "invalid_request_error", "INVALID_PARAMS"},
        {401, "authentication_error", "authentication_error", "UNAUTHORIZED"},
        {403, "permission_error", "permission_error", "UNAUTHORIZED"},
        {404, "invalid_request_error", "not_found_error", "INVALID_PARAMS"},
        {413, "invalid_request_error", "request_too_large", "INVALID_PARAMS"},
        {422, "invalid_request_error", "invalid_request_error", "INTERNAL_ERROR"},
        {429, "rate_limit_error", "rate_limit_error", "RATE_LIMIT_EXCEEDED"},
        {502, "server_error", "api_error", "GUEST_ERROR"},
        {503, "server_error", "overloaded_error", "OVERLOADED"},
        {504, "server_error", "timeout_error", "INTERNAL_ERROR"},
    };
    static const struct kind client = {0, "invalid_request_error", "invalid_request_error",
                                       "INVALID_PARAMS"};
    static const struct kind server = {0, "server_error", "api_error", "INTERNAL_ERROR"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (kinds[i].http == http)
            return &kinds[i];
    return http >= 400 && http < 500 ? &client : &server;
}

/* Ends the text where it was cut, and makes it fit to stand in JSON and in a log. */
static void clean(char *text)
{
    size_t n = utf8_whole(text, strlen(text));
    bool valid = utf8_valid(text, n);
    text[n] = '\0';
    for (char *c = text; *c; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !valid))
            *c = '?';
    }
}

static void begin(struct api_error *e, int http, const char *code)
{
    *e = (struct api_error){.http = http, .type = kind_of(http)->openai, .code = code};
}

int api_bad(struct api_error *e, const char *param, const char *code, const char *fmt, ...)
{
    va_list args;
    begin(e, 400, code);
    if (param)
        snprintf(e->param, sizeof(e->param), "%s", param);
    va_start(args, fmt);
    vsnprintf(e->message, sizeof(e->message), fmt, args);
    va_end(args);
    clean(e->param);
    clean(e->message);
    return -1;
}

int api_fail(struct api_error *e, int http, const char *code, const char *fmt, ...)
{
    va_list args;
    begin(e, http, code);
    va_start(args, fmt);
    vsnprintf(e->message, sizeof(e->message), fmt, args);
    va_end(args);
    clean(e->message);
    return -1;
}

/* ------------------------------------------------------ the engine's failures -- */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool may_begin_path(char before)
{
    return before == ' ' || before == '(' || before == '"' || before == '\'' || before == '=';
}

/* Where the path that begins at p ends: its last '/' tells where the file's name begins. */
static const char *file_of(const char *p)
{
    const char *name = p;
    for (; *p && !strchr(" \"'),;", *p); p++)
        if (*p == '/')
            name = p + 1;
    return name;
}

/* A sentence may begin with the file that it is about, whatever its name looks like: what
 * comes before the colon is then its path. */
static const char *skip_folder(const char *text)
{
    const char *colon = strstr(text, ": "), *name = text;
    bool spaced = false;
    for (const char *p = text; colon && p < colon; p++) {
        spaced = spaced || *p == ' ';
        if (*p == '/')
            name = p + 1;
    }
    return spaced && text[0] != '/' ? text : name;
}

/* Copies the sentence without the folders of files. */
static void without_paths(const char *text, char *out, size_t max)
{
    size_t n = 0;
    char before = ' ';
    for (text = skip_folder(text); *text && n + 1 < max; text++) {
        bool path =
            text[0] == '/' || begins(text, "./") || begins(text, "../") || begins(text, "~/");
        if (path && may_begin_path(before))
            text = file_of(text);
        if (!*text)
            break;
        before = *text;
        out[n++] = *text;
    }
    out[n] = '\0';
}

/* The parameter that a sentence begins with, as the engine's and chat_check's do; its length. */
static size_t param_at(const char *text)
{
    static const char *const others[] = {"messages", "prompt",     "stop", "stop_ids",
                                         "ids",      "logit_bias", "n",    "top_logprobs"};
    size_t name = strspn(text, "abcdefghijklmnopqrstuvwxyz_"), n, i;
    const struct realm_param *params = realm_params(&n);
    bool known = false;
    for (i = 0; i < n; i++)
        known = known || (strlen(params[i].name) == name && begins(text, params[i].name));
    for (i = 0; i < ARRAY_LEN(others); i++)
        known = known || (strlen(others[i]) == name && begins(text, others[i]));
    if (!known)
        return 0;
    const char *end = text + name;
    while (*end == '[' || (*end == '.' && isalpha((unsigned char)end[1])))
        end += *end == '[' ? strcspn(end, "] ") + (end[strcspn(end, "] ")] == ']')
                           : 1 + strspn(end + 1, "abcdefghijklmnopqrstuvwxyz_");
    return (size_t)(end - text);
}

struct row {
    int status, http;
    const char *code;
    bool again; /* worth another try */
    const char *message;
};

/* Models that others use give their room back some time; what can never fit, or only when the
 * operator unpins a model, does not. */
static bool frees_itself(int status, const struct realm_error *err)
{
    return status == REALM_E_NO_ROOM && err && strstr(err->message, " in use");
}

static const struct row *row_of(int status)
{
    static const struct row rows[] = {
        {REALM_E_NOMEM, 503, "out_of_memory", true, "the server is short of memory"},
        {REALM_E_ARG, 400, NULL, false, "the request has a value that is out of range"},
        {REALM_E_NOT_FOUND, 404, "model_not_found", false, "there is no such model"},
        {REALM_E_FORMAT, 422, "model_invalid", false, "the model's file is damaged"},
        {REALM_E_UNSUPPORTED, 422, "model_unsupported", false, "this server cannot run the model"},
        {REALM_E_IO, 500, "io_error", false, "reading a file failed"},
        {REALM_E_NO_ROOM, 507, "insufficient_memory", false,
         "the server's budget has no room for this"},
        {REALM_E_CONTEXT, 400, "context_length_exceeded", false,
         "the prompt is longer than the model's context"},
        {REALM_E_CANCELLED, 499, "cancelled", false, "the request was cancelled"},
        {REALM_E_DEADLINE, 504, "timeout", false, "the time allowed for the request has passed"},
        {REALM_E_LIMIT, 503, "overloaded", true, "the server has too much to do"},
        {REALM_E_NUMERIC, 500, "numerical_error", false,
         "the model computed a value that is not finite"},
        {REALM_E_UTF8, 400, "invalid_utf8", false, "text is not UTF-8"},
        {REALM_E_SHUTDOWN, 503, "shutdown", true, "the server is shutting down"},
        {REALM_E_GUEST, 502, "tenant_program_error", false, "the guest program failed"},
        {REALM_E_SYS, 503, "system_error", true, "the system refused something"},
    };
    static const struct row other = {0, 500, "internal_error", false, "something went wrong"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].status == status)
            return &rows[i];
    return &other;
}

int api_from_status(struct api_error *e, int status, const struct realm_error *err)
{
    const struct row *r = row_of(frees_itself(status, err) ? REALM_E_LIMIT : status);
    char message[REALM_ERROR_MAX];
    int http = r->http;
    without_paths(err && err->message[0] ? err->message : r->message, message, sizeof(message));
    /* A model that runs, but not for what was asked: "the model has no chat template". */
    if (status == REALM_E_UNSUPPORTED && strstr(message, "the model has no "))
        http = 400;
    /* Only the queue's limit goes away by waiting; a file's or a template's stays. */
    bool stays = status == REALM_E_LIMIT && err && err->message[0] && !strstr(message, "queue");
    /* What frameworks look for in OpenAI's and Anthropic's messages to know this error. */
    const char *known =
        status == REALM_E_CONTEXT
            ? "prompt is too long, this model's maximum context length is exceeded: "
            : "";
    (void)api_fail(e, stays ? 422 : http, stays ? "limit_exceeded" : r->code, "%s%s", known,
                   message);
    if (http == 400)
        snprintf(e->param, sizeof(e->param), "%.*s", (int)param_at(message), message);
    e->retry_ms = r->again && !stays ? RETRY_MS : 0;
    return -1;
}

/* --------------------------------------------------------------- as clients read it -- */

static const char *or_null(const char *text)
{
    return text && text[0] ? text : NULL;
}

json_t *api_error_openai(const struct api_error *e, const char *request_id)
{
    return json_pack("{s{ss ss ss? ss? ss?}}", "error", "message", e->message, "type", e->type,
                     "code", or_null(e->code), "param", or_null(e->param), "request_id",
                     or_null(request_id));
}

json_t *api_error_anthropic(const struct api_error *e, const char *request_id)
{
    return json_pack("{ss s{ss ss} ss?}", "type", "error", "error", "type",
                     kind_of(e->http)->anthropic, "message", e->message, "request_id",
                     or_null(request_id));
}

void api_error_plain(char *out, size_t max, const struct api_error *e, api_error_form *form,
                     const char *request_id)
{
    if (form == api_error_anthropic)
        snprintf(out, max,
                 "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"%s\"},"
                 "\"request_id\":\"%s\"}",
                 kind_of(e->http)->anthropic, e->message, request_id);
    else
        snprintf(out, max,
                 "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"code\":\"%s\",\"param\":null,"
                 "\"request_id\":\"%s\"}}",
                 e->message, e->type, e->code, request_id);
}

void api_error_write(struct api_error_text *t, struct api_error *e, api_error_form *form,
                     const char *request_id)
{
    json_t *body = form(e, request_id);
    t->text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (t->text)
        return;
    (void)api_from_status(e, REALM_E_NOMEM, NULL);
    api_error_plain(t->spare, sizeof(t->spare), e, form, request_id);
    t->text = t->spare;
}

void api_error_text_free(struct api_error_text *t)
{
    if (t->text != t->spare)
        free(t->text);
}

/* The protocol has names of its own for some of what has one status. */
static const char *ws_code(const struct api_error *e)
{
    static const char *const own[][2] = {
        {"context_length_exceeded", "CONTEXT_LENGTH_EXCEEDED"},
        {"model_not_found", "MODEL_NOT_FOUND"},
        {"quota_exceeded", "QUOTA_EXCEEDED"},
        {"unknown_function", "UNKNOWN_FUNCTION"},
    };
    for (size_t i = 0; e->code && i < ARRAY_LEN(own); i++)
        if (strcmp(e->code, own[i][0]) == 0)
            return own[i][1];
    return kind_of(e->http)->ws;
}

json_t *api_error_ws(const struct api_error *e)
{
    json_t *error = json_pack("{ss ss}", "code", ws_code(e), "message", e->message);
    int failed = !error;
    if (!failed && e->param[0])
        failed = json_object_set_new(error, "details", json_pack("{ss}", "param", e->param));
    if (!failed && e->retry_ms)
        failed =
            json_object_set_new(error, "retry_after", json_integer(api_retry_seconds(e->retry_ms)));
    if (!failed)
        return error;
    json_decref(error);
    return NULL;
}
