/* api/shared.h - beginnings of prompts that the operator declares to be no secret.
 *
 * A system message (or a prompt's own beginning) that is one of them word for word may be found in
 * the cache by every tenant that says it, and what a template puts before it with it.  Nothing else
 * that a tenant says is ever told to another, not even by how long an answer takes.
 *
 * Threads: any.  Lock: one mutex, held for a comparison. */
#ifndef API_SHARED_H
#define API_SHARED_H

#include <stddef.h>

#include "api/ask.h"
#include "base/compiler.h"
#include "chat/chat.h"

struct shared;

MUST_USE int shared_open(struct shared **out); /* REALM_E_NOMEM, REALM_E_SYS */
void shared_close(struct shared *s);
/* Replaces them; copied.  REALM_E_NOMEM. */
MUST_USE int shared_set(struct shared *s, const char *const *texts, size_t n);

/* How much of a rendered conversation, or of a prompt's text, is declared. */
size_t shared_of_messages(struct shared *s, const struct ask *a, const struct chat_prompt *p);
size_t shared_of_text(struct shared *s, const char *text, size_t bytes);

#endif
