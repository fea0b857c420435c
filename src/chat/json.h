/* chat/json.h - JSON that a stranger wrote. */
#ifndef CHAT_JSON_H
#define CHAT_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "base/compiler.h"
#include "realm/status.h"

/* An object; depth and number of values are checked before anything is built,
 * and a key that stands twice is refused.  REALM_E_ARG says where it is wrong, REALM_E_LIMIT
 * is for too many levels or values. */
MUST_USE int json_read(const char *text, size_t bytes, json_t **out, struct realm_error *err);

#endif
