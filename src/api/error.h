/* api/error.h - what a client is told when something goes wrong.
 *
 * One struct for every door; each door writes it in its own form: OpenAI's and
 * llama-server's {"error":{message,type,code,param,request_id}}, Anthropic's
 * {"type":"error","error":{type,message},request_id}, the WebSocket's {code,message,…}.
 * No message holds a pointer, a path, a key or a prompt. */
#ifndef API_ERROR_H
#define API_ERROR_H

#include <jansson.h>
#include <stdint.h>

#include "base/compiler.h"
#include "realm/status.h"

/* Of a path that nobody serves, and of one that the caller is not to know of.  `realm` knows a
 * server that does not let it administer by how the sentence begins. */
#define API_NOTHING                                                                                \
    "there is nothing at this path; `/openapi.json` lists those that there are, `/v1/models` the " \
    "models"

struct api_error {
    int http;         /* status code */
    const char *type; /* "invalid_request_error", "server_error", … */
    const char *code; /* "context_length_exceeded", …; NULL: none */
    char param[96];   /* "messages[3].content"; "": none */
    char message[REALM_ERROR_MAX];
    uint32_t retry_ms; /* when to come again; 0: that would not help */
};

/* Each returns -1, so that a failing function ends in `return api_bad(...)`. */

/* 400 invalid_request_error; param and code may be NULL. */
int api_bad(struct api_error *e, const char *param, const char *code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* Any other status with the type that belongs to it. */
int api_fail(struct api_error *e, int http, const char *code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* From a failure of the engine, a guest, a template: 404 model_not_found, 400
 * context_length_exceeded, 503 overloaded with a time to come again, 507
 * insufficient_memory, 422 model_invalid, 500 numerical_error, 502 tenant_program_error,
 * 499 cancelled, 504 timeout, 503 shutdown, … */
int api_from_status(struct api_error *e, int status, const struct realm_error *err);

/* Whole seconds until that has passed. */
static inline uint32_t api_retry_seconds(uint32_t retry_ms)
{
    return retry_ms / 1000 + (retry_ms % 1000 > 0);
}

/* {"error":{…}} as OpenAI writes it; NULL when memory is short. */
json_t *api_error_openai(const struct api_error *e, const char *request_id);
json_t *api_error_anthropic(const struct api_error *e, const char *request_id);

/* One of the two above. */
typedef json_t *api_error_form(const struct api_error *e, const char *request_id);
/* The same without memory, of an error with a code and no param, whose sentence and code, and the
 * request's id, have nothing to be escaped. */
void api_error_plain(char *out, size_t max, const struct api_error *e, api_error_form *form,
                     const char *request_id);
struct api_error_text {
    char *text;
    char spare[REALM_ERROR_MAX + 320];
};
/* As text.  When memory is short for it *e becomes that (503), and the text is one that needs
 * none. */
void api_error_write(struct api_error_text *t, struct api_error *e, api_error_form *form,
                     const char *request_id);
void api_error_text_free(struct api_error_text *t);

/* {code,message,details?,retry_after?} of the dispatch protocol. */
json_t *api_error_ws(const struct api_error *e);

#endif
