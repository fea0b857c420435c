/* chat/chat.h - from a conversation to a prompt, by the model's own template.
 *
 * Templates come with model files, so they are rendered in the helper process
 * under limits.  What users wrote never becomes a control token: their text is
 * guarded before it is rendered (REALM_TEXT_GUARD).
 *
 * Threads: any; renderings take turns. */
#ifndef CHAT_CHAT_H
#define CHAT_CHAT_H

#include <jansson.h>
#include <stddef.h>

#include "base/compiler.h"
#include "helper/helper.h"
#include "realm/realm.h"

struct chat;

/* A prompt for struct realm_request: text (freed with mem_free) and text_flags. */
struct chat_prompt {
    char *text;
    size_t bytes;
    unsigned flags;
};

/* helper_exe: see helper_open. */
MUST_USE int chat_open(struct chat **out, const char *helper_exe);
void chat_close(struct chat *c);

/* Checks a messages array: an array of 1 to MESSAGES_MAX objects, each with a
 * known role and with content that is a string, or an array of text parts, or
 * (beside tool calls alone) absent.  REALM_E_ARG names the place:
 * "messages[3].content ...". */
MUST_USE int chat_check(const json_t *messages, struct realm_error *err);

struct chat_request {
    const json_t *messages;        /* checked */
    const json_t *extra;           /* an object whose members are variables too (tools,
                               enable_thinking, ...), or NULL */
    const char *tenant;            /* in whose turn it is rendered; NULL: nobody's in particular */
    const struct realm_wait *wait; /* may be NULL */
};

/* Renders messages with the template of m, ending where the assistant is to speak.
 *   REALM_E_UNSUPPORTED  m has no template, or no tokenizer
 *   REALM_E_ARG          the template refuses the conversation; the sentence is its own
 *   REALM_E_FORMAT       the template does not compile
 *   REALM_E_CANCELLED, REALM_E_DEADLINE  as wait says, or after
 *                        HELPER_RENDER_MS_MAX
 *   REALM_E_LIMIT, REALM_E_NOMEM, REALM_E_SYS */
MUST_USE int chat_render(struct chat *c, const struct realm_model *m,
                         const struct chat_request *request, struct chat_prompt *out,
                         struct realm_error *err);

/* The child's work for HELPER_RENDER. */
int chat_render_work(const struct slice *parts, size_t n_parts, struct buf *out,
                     struct realm_error *err);

#endif
