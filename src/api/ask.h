/* api/ask.h - what a request asks of a model, whatever door it came through.
 *
 * The readers check a request's JSON whole before anything is computed: every member that
 * an official client can send is either honoured, or accepted because it changes nothing
 * (metadata, user, …), or refused with its name.  Unknown members are left alone.
 * Ranges and defaults come from realm_params. */
#ifndef API_ASK_H
#define API_ASK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "api/error.h"
#include "base/compiler.h"
#include "base/limits.h"
#include "realm/realm.h"

/* A prompt of its own: text, or ids, or (llama-server's) both by turns. */
struct ask_prompt {
    const char *text; /* of the body; NULL: ids, or parts */
    size_t bytes;
    const json_t *parts; /* of the body: strings and ids, checked; NULL: text or ids */
    uint32_t *ids;       /* owned */
    size_t n_ids;
};

struct ask {
    json_t *body;      /* owned; all texts below are its */
    const char *model; /* NULL: the default one */

    /* A conversation (checked, see chat_check), or else prompts. */
    const json_t *messages;     /* of the body, or own_messages */
    json_t *own_messages;       /* made by a translation; owned, may be NULL */
    json_t *variables;          /* further variables of the template; owned, may be NULL */
    struct ask_prompt *prompts; /* owned; (n_prompts) */
    size_t n_prompts;

    uint32_t n; /* answers to each prompt; n times prompts is at most CHOICES_MAX */
    struct realm_sampling sampling;
    const char *stop[STOP_MAX];
    size_t n_stop;
    struct realm_logit_bias *bias; /* owned; ids are not yet checked against a vocabulary */
    size_t n_bias;
    bool logprobs;
    uint32_t top_logprobs;
    int32_t priority; /* among the tenant's requests that wait */
    bool ignore_end;
    bool special; /* control tokens in prompts' text are read as such (llama-server's way) */

    bool stream;
    bool include_usage;       /* stream_options */
    bool include_obfuscation; /* stream_options: chunks of even length */
    bool echo;                /* the prompt comes first; with it max_tokens may be 0: */
    bool prompt_only;         /* nothing is drawn */
    bool timings;             /* llama-server's timings are wanted in each chunk */
    bool return_tokens;       /* llama-server: ids of the answer */

    /* embeddings */
    enum realm_pooling pooling; /* of an embedding */
    bool base64;
    uint32_t dimensions; /* 0: all */
    bool raw;            /* as the model has it, not of length 1 */
};

void ask_free(struct ask *a);

/* What requests at one path may have (ask_impl.h). */
struct ask_endpoint;
extern const struct ask_endpoint ask_chat_endpoint, ask_completion_endpoint, ask_messages_endpoint,
    ask_llama_endpoint, ask_generate_endpoint, ask_call_endpoint;

/* Puts options into body, an object, by the names that the endpoint has for them, where none of
 * these is given; defaults (NULL: none) has those of realm_params.  REALM_E_NOMEM. */
MUST_USE int ask_add_defaults(const struct ask_endpoint *endpoint, json_t *body,
                              const json_t *defaults);

/* A request's body, an object.  -1: *e says what is wrong with it; json_too_deep is the code
 * of what has too many levels or values. */
MUST_USE int ask_json(json_t **out, const void *text, size_t bytes, struct api_error *e);

/* Each takes over body, also when it fails (free a in both cases).  -1: *e says why. */
MUST_USE int ask_chat(struct ask *a, json_t *body, struct api_error *e); /* OpenAI's */
MUST_USE int ask_completion(struct ask *a, json_t *body,
                            struct api_error *e);                            /* OpenAI's, legacy */
MUST_USE int ask_messages(struct ask *a, json_t *body, struct api_error *e); /* Anthropic's */
/* Anthropic's count_tokens: the conversation alone. */
MUST_USE int ask_count(struct ask *a, json_t *body, struct api_error *e);
MUST_USE int ask_llama(struct ask *a, json_t *body, struct api_error *e);      /* llama-server's */
MUST_USE int ask_embeddings(struct ask *a, json_t *body, struct api_error *e); /* OpenAI's */
MUST_USE int ask_llama_embeddings(struct ask *a, json_t *body,
                                  struct api_error *e); /* llama-server's */
/* The dispatch protocol's params of generate (chat: false) or chat. */
MUST_USE int ask_dispatch(struct ask *a, json_t *params, bool chat, struct api_error *e);

#endif
