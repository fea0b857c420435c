/* api/openapi.c - the server's endpoints as an OpenAPI document. */
#include "api/openapi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/ask_impl.h"
#include "base/assert.h"

/* The first failure is kept, and what is put into nothing is dropped. */
struct maker {
    bool failed;
};

static void put(struct maker *k, json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, value))
        k->failed = true;
}

static void put_text(struct maker *k, json_t *object, const char *name, const char *text)
{
    if (text)
        put(k, object, name, json_string(text));
}

/* Whole numbers are written as such. */
static void put_number(struct maker *k, json_t *object, const char *name, double value)
{
    bool whole = value > -1e15 && value < 1e15 && value == (double)(json_int_t)value;
    put(k, object, name, whole ? json_integer((json_int_t)value) : json_real(value));
}

/* ---------------------------------------------------------- one member's schema -- */

static void add_type(struct maker *k, json_t *list, const char *name)
{
    if (json_array_append_new(list, json_string(name)))
        k->failed = true;
}

static void put_types(struct maker *k, json_t *schema, unsigned types)
{
    static const char *const names[] = {"string", "boolean", "integer",
                                        "number", "array",   "object"};
    if (types == ASK_ANY)
        return;
    json_t *list = json_array();
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (types & 1u << i)
            add_type(k, list, names[i]);
    add_type(k, list, "null");
    put(k, schema, "type", list);
}

/* A door's default, with as many digits as a float has. */
static void put_default(struct maker *k, json_t *schema, const struct realm_param *p,
                        const struct realm_sampling *defaults)
{
    const char *field = (const char *)defaults + p->offset;
    char digits[32];
    if (p->type == REALM_PARAM_F32) {
        snprintf(digits, sizeof(digits), "%.6g", (double)*(const float *)(const void *)field);
        put_number(k, schema, "default", strtod(digits, NULL));
    } else if (p->offset != offsetof(struct realm_sampling, max_tokens) || defaults->max_tokens) {
        put_number(k, schema, "default", *(const uint32_t *)(const void *)field);
    }
}

static void put_param(struct maker *k, json_t *schema, const struct ask_member *m,
                      const struct realm_sampling *defaults)
{
    const struct realm_param *p = ask_param_of(m->param ? m->param : m->name);
    put_types(k, schema, p->type == REALM_PARAM_F32 ? ASK_NUMBER : ASK_INT);
    put_number(k, schema, p->above_min ? "exclusiveMinimum" : "minimum", p->min);
    put_number(k, schema, p->below_max ? "exclusiveMaximum" : "maximum",
               m->max > 0 ? m->max : p->max);
    put_default(k, schema, p, defaults);
    put_text(k, schema, "description", p->help);
}

/* What of a member that cannot be honoured may stand there. */
static void put_neutral(struct maker *k, json_t *schema, const struct ask_member *m)
{
    put_types(k, schema, m->types);
    if (m->types == ASK_ANY) {
        put(k, schema, "enum", json_pack("[nbis[]{}]", 0, 0, ""));
        return;
    }
    if (m->types & (ASK_INT | ASK_NUMBER)) {
        put_number(k, schema, "minimum", m->min);
        put_number(k, schema, "maximum", m->max);
    }
    if (m->types & ASK_BOOL)
        put(k, schema, "enum", json_pack("[bn]", m->words != NULL));
    put(k, schema, "maxItems", json_integer(0));
    put(k, schema, "maxProperties", json_integer(0));
    if (!m->words)
        put(k, schema, "maxLength", json_integer(0));
    else if (m->types == ASK_STRING) {
        json_t *words = json_pack("[n]");
        for (const char *p = m->words; *p; p += strcspn(p, " ") + 1)
            if (json_array_append_new(words, json_stringn(p, strcspn(p, " "))))
                k->failed = true;
        put(k, schema, "enum", words);
    }
    put_text(k, schema, "description", "not supported but for values that change nothing");
}

static json_t *member_schema(struct maker *k, const struct ask_member *m,
                             const struct realm_sampling *defaults)
{
    json_t *schema = json_object();
    if (m->kind == ASK_PARAM || m->param)
        put_param(k, schema, m, defaults);
    else if (m->kind == ASK_NEUTRAL)
        put_neutral(k, schema, m);
    else if (m->kind == ASK_REFUSE)
        put_text(k, schema, "type", "null");
    else if (m->kind == ASK_FLAG)
        put_types(k, schema, ASK_BOOL);
    else if (m->kind == ASK_COUNT) {
        put_types(k, schema, ASK_INT);
        put_number(k, schema, "minimum", m->min);
        put_number(k, schema, "maximum", m->max);
    } else
        put_types(k, schema, m->types);
    if (m->kind == ASK_FLAG)
        put(k, schema, "default", json_false());
    if (m->kind == ASK_PASS)
        put_text(k, schema, "description", "accepted, and changes nothing");
    if (m->kind == ASK_REFUSE)
        put_text(k, schema, "description", "not supported");
    put_text(k, schema, "description", m->help);
    json_t *more = m->schema ? json_loads(m->schema, 0, NULL) : json_object();
    if (json_object_update(schema, more))
        k->failed = true;
    json_decref(more);
    return schema;
}

static void put_group(struct maker *k, json_t *properties, json_t *required,
                      const struct ask_group *g, const struct realm_sampling *defaults)
{
    for (size_t i = 0; g && i < g->n; i++) {
        put(k, properties, g->rows[i].name, member_schema(k, &g->rows[i], defaults));
        if (g->rows[i].required)
            add_type(k, required, g->rows[i].name);
    }
}

static json_t *body_schema(struct maker *k, const struct ask_endpoint *endpoint)
{
    struct realm_sampling defaults = {0};
    json_t *schema = json_object(), *properties = json_object(), *required = json_array();
    if (endpoint->defaults)
        endpoint->defaults(&defaults);
    put_group(k, properties, required, &endpoint->own, &defaults);
    for (size_t i = 0; i < ASK_SHARED_MAX; i++)
        put_group(k, properties, required, endpoint->shared[i], &defaults);
    put_text(k, schema, "type", "object");
    put(k, schema, "properties", properties);
    put(k, schema, "required", required);
    return schema;
}

/* ------------------------------------------------------------------- endpoints -- */

/* Those that take no rows: their bodies are few members. */
struct plain {
    const char *path, *summary;
    const char *body; /* JSON Schema; NULL: a GET */
    const char *type; /* of the answer */
};

#define TEXT_SCHEMA "{\"type\":\"string\"}"

static const struct plain plains[] = {
    {"/v1/models", "The models that requests may name", NULL, "application/json"},
    {"/v1/models/{id}", "One model", NULL, "application/json"},
    {"/v1/guest/log", "What the programs of the tenant wrote last, and how their requests failed",
     NULL, "application/json"},
    {"/health", "Whether the server lives and its engine steps", NULL, "application/json"},
    {"/ready", "Whether it takes requests", NULL, "application/json"},
    {"/metrics", "Figures for Prometheus", NULL, "text/plain"},
    {"/props", "The server's main model and defaults, as llama-server says it", NULL,
     "application/json"},
    {"/openapi.json", "This document", NULL, "application/json"},
    {"/tokenize", "Ids of a text",
     "{\"type\":\"object\",\"required\":[\"content\"],\"properties\":{\"content\":"
     "{\"anyOf\":[" TEXT_SCHEMA ",{\"type\":\"array\",\"items\":{\"anyOf\":[" TEXT_SCHEMA
     ",{\"type\":\"integer\",\"minimum\":0}]}}]},\"model\":" TEXT_SCHEMA
     ",\"add_special\":{\"type\":\"boolean\",\"default\":false},"
     "\"parse_special\":{\"type\":\"boolean\",\"default\":true},"
     "\"with_pieces\":{\"type\":\"boolean\",\"default\":false}}}",
     "application/json"},
    {"/detokenize", "Text of ids",
     "{\"type\":\"object\",\"required\":[\"tokens\"],\"properties\":{\"model\":" TEXT_SCHEMA
     ",\"tokens\":{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":0}}}}",
     "application/json"},
};

/* Servers without keys take whoever comes; by a key the caller is known. */
static const char security[] = "[{},{\"key\":[]}]";

static const char components[] =
    "{\"securitySchemes\":{\"key\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":"
    "\"an API key of the server's tenants; wanted once there is one\"}},"
    "\"schemas\":{"
    "\"TextBlock\":{\"type\":\"object\",\"required\":[\"type\",\"text\"],\"properties\":{"
    "\"type\":{\"const\":\"text\"},\"text\":" TEXT_SCHEMA "}},"
    "\"Message\":{\"type\":\"object\",\"required\":[\"role\",\"content\"],\"properties\":{"
    "\"role\":{\"enum\":[\"system\",\"developer\",\"user\",\"assistant\",\"tool\"]},"
    "\"tool_call_id\":" TEXT_SCHEMA ",\"content\":{\"anyOf\":[" TEXT_SCHEMA
    ",{\"type\":\"array\",\"items\":"
    "{\"$ref\":\"#/components/schemas/TextBlock\"}}]}}},"
    "\"AnthropicMessage\":{\"type\":\"object\",\"required\":[\"role\",\"content\"],\"properties\":{"
    "\"role\":{\"enum\":[\"system\",\"user\",\"assistant\"]},"
    "\"content\":{\"anyOf\":[" TEXT_SCHEMA ",{\"type\":\"array\",\"items\":"
    "{\"$ref\":\"#/components/schemas/TextBlock\"}}]}}},"
    "\"Error\":{\"type\":\"object\",\"required\":[\"error\"],\"properties\":{\"error\":"
    "{\"type\":\"object\",\"required\":[\"message\",\"type\"],\"properties\":{"
    "\"message\":" TEXT_SCHEMA ",\"type\":" TEXT_SCHEMA
    ",\"code\":{\"type\":[\"string\",\"null\"]},"
    "\"param\":{\"type\":[\"string\",\"null\"]},"
    "\"request_id\":{\"type\":[\"string\",\"null\"]}}}}}}}";

static json_t *responses(const char *type, bool streams)
{
    json_t *content = json_pack("{s{s{ss}}}", type, "schema", "type",
                                strcmp(type, "text/plain") == 0 ? "string" : "object");
    if (streams && json_object_set_new(content, "text/event-stream",
                                       json_pack("{s{ss}}", "schema", "type", "string"))) {
        json_decref(content);
        content = NULL;
    }
    return json_pack("{s{ss so}, s{ss s{s{s{ss}}}}}", "200", "description", "the answer", "content",
                     content, "default", "description", "why there is none", "content",
                     "application/json", "schema", "$ref", "#/components/schemas/Error");
}

/* Takes over body; NULL: a GET. */
static void put_operation(struct maker *k, json_t *paths, const struct plain *p, json_t *body,
                          bool streams)
{
    json_t *operation = json_object(), *path = json_object();
    put_text(k, operation, "summary", p->summary);
    if (strchr(p->path, '{'))
        put(k, operation, "parameters",
            json_pack("[{ss ss sb s{ss}}]", "name", "id", "in", "path", "required", 1, "schema",
                      "type", "string"));
    if (body)
        put(k, operation, "requestBody",
            json_pack("{sb s{s{so}}}", "required", 1, "content", "application/json", "schema",
                      body));
    put(k, operation, "responses", responses(p->type, streams));
    put(k, path, body ? "post" : "get", operation);
    put(k, paths, p->path, path);
}

/* A conversation's prompt is what a chat would begin with. */
static void put_template(struct maker *k, json_t *paths)
{
    static const struct plain p = {"/apply-template", "The prompt that a conversation becomes",
                                   NULL, "application/json"};
    put_operation(k, paths, &p, body_schema(k, &ask_chat_endpoint), false);
}

static json_t *all_paths(struct maker *k)
{
    static const struct ask_endpoint *const endpoints[] = {
        &ask_chat_endpoint,
        &ask_completion_endpoint,
        &ask_embeddings_endpoint,
        &ask_messages_endpoint,
        &ask_count_endpoint,
        &ask_llama_endpoint,
        &ask_llama_embeddings_endpoint,
    };
    json_t *paths = json_object();
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
        const struct ask_endpoint *d = endpoints[i];
        struct plain p = {.path = d->path, .summary = d->summary, .type = "application/json"};
        put_operation(k, paths, &p, body_schema(k, d), d->defaults != NULL);
    }
    put_template(k, paths);
    for (size_t i = 0; i < ARRAY_LEN(plains); i++) {
        json_t *body = plains[i].body ? json_loads(plains[i].body, 0, NULL) : NULL;
        k->failed = k->failed || (plains[i].body && !body);
        put_operation(k, paths, &plains[i], body, false);
    }
    return paths;
}

json_t *openapi_document(void)
{
    struct maker k = {false};
    json_t *document = json_object();
    put_text(&k, document, "openapi", "3.1.0");
    put(&k, document, "info",
        json_pack("{ss ss ss}", "title", "Realm", "version", realm_version(), "summary",
                  "Language models over HTTP, for clients of OpenAI, Anthropic and llama-server"));
    put(&k, document, "paths", all_paths(&k));
    put(&k, document, "security", json_loads(security, 0, NULL));
    put(&k, document, "components", json_loads(components, 0, NULL));
    if (!k.failed)
        return document;
    json_decref(document);
    return NULL;
}
