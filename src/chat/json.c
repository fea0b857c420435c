/* chat/json.c - JSON from outside, bounded before anything is built. */
#include "chat/json.h"

#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"

/* Brackets and commas outside strings: no recursion, nothing built. */
static int check_shape(const char *text, size_t n, struct realm_error *err)
{
    size_t depth = 0, values = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
            continue;
        }
        if (c == '"')
            quoted = true;
        else if (c == ']' || c == '}')
            depth -= depth > 0;
        else if (c == '[' || c == '{' || c == ',') {
            values++;
            depth += c != ',';
        }
        if (depth > JSON_DEPTH_MAX || values > JSON_VALUES_MAX)
            return err_set(err, REALM_E_LIMIT, "the JSON is over %d levels deep or %d values long",
                           JSON_DEPTH_MAX, JSON_VALUES_MAX);
    }
    return 0;
}

/* What is wrong, without what stands there: that may be a prompt, and ends in a log. */
static int whats_wrong(json_error_t *why)
{
    char *near = strstr(why->text, " near ");
    return (int)(near ? (size_t)(near - why->text) : strlen(why->text));
}

int json_read(const char *text, size_t bytes, json_t **out, struct realm_error *err)
{
    json_error_t why;
    *out = NULL;
    int status = check_shape(text, bytes, err);
    if (status)
        return status;
    json_t *value = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!value)
        return err_set(err, REALM_E_ARG, "the JSON is wrong at line %d, column %d: %.*s", why.line,
                       why.column, whats_wrong(&why), why.text);
    if (!json_is_object(value)) {
        json_decref(value);
        return err_set(err, REALM_E_ARG, "the JSON must be an object");
    }
    *out = value;
    return 0;
}
