/* api/ask.c - requests read by the rows of their endpoint. */
#include "api/ask_impl.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "chat/json.h"

void ask_free(struct ask *a)
{
    for (size_t i = 0; i < a->n_prompts; i++)
        mem_free(a->prompts[i].ids);
    mem_free(a->prompts);
    mem_free(a->bias);
    json_decref(a->variables);
    json_decref(a->own_messages);
    json_decref(a->body);
    *a = (struct ask){0};
}

int ask_refuse(struct api_error *e, const char *param, const char *fmt, ...)
{
    char message[REALM_ERROR_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    return api_bad(e, param, "unsupported_parameter", "%s", message);
}

int ask_nomem(struct api_error *e)
{
    return api_from_status(e, REALM_E_NOMEM, NULL);
}

int ask_json(json_t **out, const void *text, size_t bytes, struct api_error *e)
{
    struct realm_error err;
    int status = json_read(text, bytes, out, &err);
    if (!status)
        return 0;
    bool deep = status == REALM_E_LIMIT;
    return api_bad(e, NULL, deep ? "json_too_deep" : "invalid_json", "%s", err.message);
}

/* ------------------------------------------------------------- one member -- */

static unsigned type_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return ASK_STRING;
    case JSON_TRUE:
    case JSON_FALSE:
        return ASK_BOOL;
    case JSON_INTEGER:
        return ASK_INT | ASK_NUMBER;
    case JSON_REAL:
        return ASK_NUMBER;
    case JSON_ARRAY:
        return ASK_ARRAY;
    case JSON_OBJECT:
        return ASK_OBJECT;
    case JSON_NULL:
        break;
    }
    return 0;
}

/* "a string or an array" */
static void name_types(unsigned types, char *out, size_t max)
{
    static const char *const names[] = {"a string", "true or false", "a whole number",
                                        "a number", "an array",      "an object"};
    size_t n = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < ARRAY_LEN(names) && n < max; i++)
        if (types & 1u << i)
            n += (size_t)snprintf(out + n, max - n, "%s%s", n ? " or " : "", names[i]);
}

static int check_type(const struct ask_member *m, const json_t *value, struct api_error *e)
{
    char names[96];
    if (type_of(value) & m->types)
        return 0;
    name_types(m->types, names, sizeof(names));
    return api_bad(e, m->name, NULL, "%s must be %s", m->name, names);
}

const struct realm_param *ask_param_of(const char *name)
{
    size_t n, i = 0;
    const struct realm_param *params = realm_params(&n);
    while (i < n && strcmp(params[i].name, name) != 0)
        i++;
    ASSERT(i < n); // else a row names no parameter
    return &params[i];
}

/* A number that is none stands for a value of another type: the sentence has the range. */
int ask_read_param(struct ask *a, const struct ask_member *m, const json_t *value,
                   struct api_error *e)
{
    const char *name = m->param ? m->param : m->name;
    bool whole = ask_param_of(name)->type != REALM_PARAM_F32;
    bool fits = whole ? json_is_integer(value) : json_is_number(value);
    double number = fits ? json_number_value(value) : NAN;
    struct realm_error err;
    if (m->max > 0 && !(number >= m->min && number <= m->max))
        return api_bad(e, m->name, NULL, "%s must be a number from %.15g to %.15g", m->name, m->min,
                       m->max);
    if (realm_sampling_set(&a->sampling, name, number, &err) == 0)
        return 0;
    return api_bad(e, m->name, NULL, "%s%s", m->name, err.message + strlen(name));
}

static int read_flag(struct ask *a, const struct ask_member *m, const json_t *value,
                     struct api_error *e)
{
    if (!json_is_boolean(value))
        return api_bad(e, m->name, NULL, "%s must be true or false", m->name);
    *(bool *)((char *)a + m->at) = json_is_true(value);
    return 0;
}

static int read_count(struct ask *a, const struct ask_member *m, const json_t *value,
                      struct api_error *e)
{
    double number = (double)json_integer_value(value);
    if (!json_is_integer(value) || number < m->min || number > m->max)
        return api_bad(e, m->name, NULL, "%s must be a whole number from %.15g to %.15g", m->name,
                       m->min, m->max);
    *(uint32_t *)((char *)a + m->at) = (uint32_t)json_integer_value(value);
    return 0;
}

/* Whether word is one of the words, each of which a space follows. */
static bool among(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = words; p && *p; p += strcspn(p, " ") + 1)
        if (strcspn(p, " ") == n && memcmp(p, word, n) == 0)
            return true;
    return false;
}

static bool is_neutral(const struct ask_member *m, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return m->words ? among(m->words, json_string_value(value))
                        : json_string_length(value) == 0;
    case JSON_TRUE:
        return m->words && among(m->words, "true");
    case JSON_FALSE:
        return !m->words || among(m->words, "false");
    case JSON_INTEGER:
    case JSON_REAL:
        return json_number_value(value) >= m->min && json_number_value(value) <= m->max;
    case JSON_ARRAY:
        return json_array_size(value) == 0;
    case JSON_OBJECT:
        return json_object_size(value) == 0;
    case JSON_NULL:
        break;
    }
    return true;
}

static int read_neutral(const struct ask_member *m, const json_t *value, struct api_error *e)
{
    if (check_type(m, value, e))
        return -1;
    if (is_neutral(m, value))
        return 0;
    if (m->words)
        return ask_refuse(e, m->name, "%s: this server supports no value but %.*s", m->name,
                          (int)strlen(m->words) - 1, m->words);
    return ask_refuse(e, m->name, "%s is not supported by this server", m->name);
}

static int read_member(struct ask *a, const struct ask_member *m, const json_t *value,
                       struct api_error *e)
{
    switch (m->kind) {
    case ASK_PARAM:
        return ask_read_param(a, m, value, e);
    case ASK_FLAG:
        return read_flag(a, m, value, e);
    case ASK_COUNT:
        return read_count(a, m, value, e);
    case ASK_READ:
        return check_type(m, value, e) ? -1 : m->read(a, m, value, e);
    case ASK_PASS:
        return check_type(m, value, e);
    case ASK_NEUTRAL:
        return read_neutral(m, value, e);
    case ASK_REFUSE:
        break;
    }
    return ask_refuse(e, m->name, "%s is not supported by this server", m->name);
}

static int read_group(struct ask *a, const struct ask_group *g, struct api_error *e)
{
    for (size_t i = 0; i < g->n; i++) {
        const struct ask_member *m = &g->rows[i];
        const json_t *value = json_object_get(a->body, m->name);
        if (value && !json_is_null(value)) {
            if (read_member(a, m, value, e))
                return -1;
        } else if (m->required) {
            return api_bad(e, m->name, "missing_required_parameter", "%s is missing", m->name);
        }
    }
    return 0;
}

int ask_read(struct ask *a, json_t *body, const struct ask_endpoint *endpoint, struct api_error *e)
{
    *a = (struct ask){.body = body, .n = 1};
    if (!json_is_object(body))
        return api_bad(e, NULL, NULL, "the request must be a JSON object");
    if (endpoint->defaults)
        endpoint->defaults(&a->sampling);
    if (read_group(a, &endpoint->own, e))
        return -1;
    for (size_t i = 0; i < ASK_SHARED_MAX; i++)
        if (endpoint->shared[i] && read_group(a, endpoint->shared[i], e))
            return -1;
    return endpoint->finish ? endpoint->finish(a, NULL, NULL, e) : 0;
}

/* --------------------------------------------------------------- defaults -- */

/* null is as good as nothing. */
static bool gives(const json_t *body, const char *name)
{
    const json_t *value = json_object_get(body, name);
    return value && !json_is_null(value);
}

/* The group's row for a parameter: the one that body gives, else the first; NULL: none. */
static const struct ask_member *row_in(const struct ask_group *g, const char *param,
                                       const json_t *body)
{
    const struct ask_member *first = NULL;
    for (size_t i = 0; g && i < g->n; i++) {
        const struct ask_member *m = &g->rows[i];
        if ((m->kind != ASK_PARAM && m->kind != ASK_READ) ||
            strcmp(m->param ? m->param : m->name, param) != 0)
            continue;
        if (gives(body, m->name))
            return m;
        first = first ? first : m;
    }
    return first;
}

static const struct ask_member *row_at(const struct ask_endpoint *endpoint, const char *param,
                                       const json_t *body)
{
    const struct ask_member *m = row_in(&endpoint->own, param, body);
    for (size_t i = 0; i < ASK_SHARED_MAX && !m; i++)
        m = row_in(endpoint->shared[i], param, body);
    return m;
}

/* Where a door's range is narrower than the table's, which defaults were checked by, its end
 * stands for what is beyond it: the request did not ask for that. */
static int add_default(json_t *body, const char *name, const struct ask_member *m, json_t *value)
{
    if (m && m->kind == ASK_PARAM && m->max > 0 && json_number_value(value) > m->max)
        return json_object_set_new(body, name, json_real(m->max));
    return json_object_set(body, name, value);
}

int ask_add_defaults(const struct ask_endpoint *endpoint, json_t *body, const json_t *defaults)
{
    const char *param;
    json_t *value;
    json_object_foreach((json_t *)defaults, param, value)
    {
        const struct ask_member *m = row_at(endpoint, param, body);
        /* What the endpoint has no row for keeps its name, for programs that read the request. */
        const char *name = m ? m->name : param;
        if (!gives(body, name) && add_default(body, name, m, value))
            return REALM_E_NOMEM;
    }
    return 0;
}
