#include "api/openapi.h"

#include <string.h>

#include "api/ask_impl.h"
#include "realm/realm.h"

/* Paths that take no rows of ask: their bodies are few members. */
struct plain {
    const char *method, *path, *summary;
    const char *body;   /* JSON Schema; NULL: none */
    const char *answer; /* media type */
};

static const struct plain plains[] = {
    {"get", "/v1/models", "The models that can be named, and which are loaded", NULL,
     "application/json"},
    {"get", "/health", "Whether the process works: its engine steps", NULL, "application/json"},
    {"get", "/ready", "Whether it takes requests", NULL, "application/json"},
    {"get", "/metrics", "Counters for Prometheus; for callers of this machine", NULL, "text/plain"},
    {"get", "/props", "What the main model is", NULL, "application/json"},
    {"post", "/tokenize", "Ids of a text",
     "{\"type\":\"object\",\"required\":[\"content\"],\"properties\":{\"content\":"
     "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{\"anyOf\":["
     "{\"type\":\"string\"},{\"type\":\"integer\",\"minimum\":0}]}}]},"
     "\"add_special\":{\"type\":\"boolean\",\"default\":false},"
     "\"parse_special\":{\"type\":\"boolean\",\"default\":true},"
     "\"with_pieces\":{\"type\":\"boolean\",\"default\":false},"
     "\"model\":{\"type\":\"string\"}}}",
     "application/json"},
    {"post", "/detokenize", "Text of ids",
     "{\"type\":\"object\",\"required\":[\"tokens\"],\"properties\":{\"tokens\":{\"type\":"
     "\"array\",\"items\":{\"type\":\"integer\",\"minimum\":0}},\"model\":{\"type\":\"string\"}}}",
     "application/json"},
};

/* What several bodies have; rows refer to them. */
static const char COMPONENTS[] =
    "{\"TextBlock\":{\"type\":\"object\",\"required\":[\"type\",\"text\"],\"properties\":{"
    "\"type\":{\"const\":\"text\"},\"text\":{\"type\":\"string\"}}},"
    "\"Content\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{\"$ref\":"
    "\"#/components/schemas/TextBlock\"}}]},"
    "\"Message\":{\"type\":\"object\",\"required\":[\"role\",\"content\"],\"properties\":{"
    "\"role\":{\"enum\":[\"system\",\"developer\",\"user\",\"assistant\",\"tool\"]},"
    "\"content\":{\"$ref\":\"#/components/schemas/Content\"}}},"
    "\"AnthropicMessage\":{\"type\":\"object\",\"required\":[\"role\",\"content\"],\"properties\":"
    "{\"role\":{\"enum\":[\"user\",\"assistant\",\"system\"]},"
    "\"content\":{\"$ref\":\"#/components/schemas/Content\"}}},"
    "\"Error\":{\"type\":\"object\",\"required\":[\"error\"],\"properties\":{\"error\":{\"type\":"
    "\"object\",\"required\":[\"message\",\"type\"],\"properties\":{\"message\":{\"type\":"
    "\"string\"},\"type\":{\"type\":\"string\"},\"code\":{\"type\":[\"string\",\"null\"]},"
    "\"param\":{\"type\":[\"string\",\"null\"]},\"request_id\":{\"type\":\"string\"}}}}}}";

/* ---- schemas of members ---- */

static json_t *types_of(unsigned types)
{
    static const struct {
        enum ask_type type;
        const char *name;
    } names[] = {{ASK_STRING, "string"}, {ASK_BOOL, "boolean"}, {ASK_INT, "integer"},
                 {ASK_NUMBER, "number"}, {ASK_ARRAY, "array"},  {ASK_OBJECT, "object"}};
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (types & names[i].type)
            json_array_append_new(list, json_string(names[i].name));
    json_array_append_new(list, json_string("null"));
    return list;
}

static void set_bounds(json_t *schema, const struct realm_param *p, double max)
{
    json_object_set_new(schema, p->above_min ? "exclusiveMinimum" : "minimum", json_real(p->min));
    if (max > 0 && max < p->max)
        json_object_set_new(schema, "maximum", json_real(max));
    else if (p->type != REALM_PARAM_U64)
        json_object_set_new(schema, p->below_max ? "exclusiveMaximum" : "maximum",
                            json_real(p->max));
}

static void describe_param(json_t *schema, const struct ask_member *m,
                           const struct realm_sampling *defaults)
{
    const struct realm_param *p = ask_param_of(m->param ? m->param : m->name);
    const void *field = (const char *)defaults + p->offset;
    json_object_set_new(schema, "type",
                        types_of(p->type == REALM_PARAM_F32 ? ASK_NUMBER : ASK_INT));
    json_object_set_new(schema, "description", json_string(p->help));
    set_bounds(schema, p, m->max);
    if (p->type == REALM_PARAM_F32)
        json_object_set_new(schema, "default", json_real((double)*(const float *)field));
    else if (p->type == REALM_PARAM_U32 && *(const uint32_t *)field >= p->min)
        json_object_set_new(schema, "default", json_integer(*(const uint32_t *)field));
}

static void describe_count(json_t *schema, const struct ask_member *m)
{
    json_object_set_new(schema, "type", types_of(ASK_INT));
    json_object_set_new(schema, "minimum", json_real(m->min));
    json_object_set_new(schema, "maximum", json_real(m->max));
}

static void describe(json_t *schema, const struct ask_member *m,
                     const struct realm_sampling *defaults)
{
    switch (m->kind) {
    case ASK_PARAM:
        describe_param(schema, m, defaults);
        break;
    case ASK_COUNT:
        describe_count(schema, m);
        break;
    case ASK_FLAG:
        json_object_set_new(schema, "type", types_of(ASK_BOOL));
        break;
    case ASK_READ:
        if (m->types != ASK_ANY)
            json_object_set_new(schema, "type", types_of(m->types));
        break;
    case ASK_PASS:
        json_object_set_new(schema, "type", types_of(m->types));
        json_object_set_new(schema, "description", json_string("accepted without effect"));
        break;
    case ASK_NEUTRAL:
        json_object_set_new(schema, "description",
                            json_string("accepted where its value changes nothing"));
        break;
    case ASK_REFUSE:
        json_object_set_new(schema, "type", json_string("null"));
        json_object_set_new(schema, "description", json_string("not supported"));
        break;
    }
    if (m->help)
        json_object_set_new(schema, "description", json_string(m->help));
    json_t *more = m->schema ? json_loads(m->schema, 0, NULL) : NULL;
    if (more)
        json_object_update(schema, more);
    json_decref(more);
}

static void add_group(json_t *properties, json_t *required, const struct ask_group *g,
                      const struct realm_sampling *defaults)
{
    for (size_t i = 0; g && i < g->n; i++) {
        const struct ask_member *m = &g->rows[i];
        json_t *schema = json_object();
        if (json_object_get(properties, m->name)) {
            json_decref(schema);
            continue;
        }
        describe(schema, m, defaults);
        json_object_set_new(properties, m->name, schema);
        if (m->required)
            json_array_append_new(required, json_string(m->name));
    }
}

static json_t *body_schema(const struct ask_endpoint *e)
{
    json_t *properties = json_object(), *required = json_array();
    struct realm_sampling defaults = {0};
    if (e->defaults)
        e->defaults(&defaults);
    add_group(properties, required, &e->own, &defaults);
    for (size_t i = 0; i < ASK_SHARED_MAX; i++)
        add_group(properties, required, e->shared[i], &defaults);
    return json_pack("{s:s,s:o,s:o}", "type", "object", "properties", properties, "required",
                     required);
}

/* ---- operations ---- */

static json_t *operation(const char *summary, json_t *body, const char *answer)
{
    json_t *op = json_pack(
        "{s:s,s:{s:{s:s,s:{s:{}}},s:{s:s,s:{s:{s:{s:s}}}}}}", "summary", summary, "responses",
        "200", "description", "the answer", "content", answer, "default", "description",
        "an error, with a sentence, a code and, where one is to blame, the parameter's name",
        "content", "application/json", "schema", "$ref", "#/components/schemas/Error");
    if (body)
        json_object_set_new(op, "requestBody",
                            json_pack("{s:b,s:{s:{s:o}}}", "required", 1, "content",
                                      "application/json", "schema", body));
    return op;
}

static void add_endpoints(json_t *paths)
{
    static const struct ask_endpoint *const endpoints[] = {
        &ask_chat_endpoint,     &ask_completion_endpoint, &ask_embeddings_endpoint,
        &ask_messages_endpoint, &ask_count_endpoint,      &ask_llama_endpoint,
    };
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
        const struct ask_endpoint *e = endpoints[i];
        json_t *op = operation(e->summary, body_schema(e), "application/json");
        json_object_set_new(paths, e->path, json_pack("{s:o}", "post", op));
    }
    json_object_set_new(
        paths, "/apply-template",
        json_pack("{s:o}", "post",
                  operation("A conversation as the model's template makes a prompt of it",
                            body_schema(&ask_chat_endpoint), "application/json")));
}

static void add_plains(json_t *paths)
{
    for (size_t i = 0; i < ARRAY_LEN(plains); i++) {
        json_t *body = plains[i].body ? json_loads(plains[i].body, 0, NULL) : NULL;
        json_t *op = operation(plains[i].summary, body, plains[i].answer);
        json_object_set_new(paths, plains[i].path, json_pack("{s:o}", plains[i].method, op));
    }
    json_t *get = operation("One model", NULL, "application/json");
    json_object_set_new(get, "parameters",
                        json_pack("[{s:s,s:s,s:b,s:{s:s}}]", "name", "id", "in", "path", "required",
                                  1, "schema", "type", "string"));
    json_object_set_new(paths, "/v1/models/{id}", json_pack("{s:o}", "get", get));
}

json_t *openapi_document(void)
{
    json_t *paths = json_object();
    add_endpoints(paths);
    add_plains(paths);
    return json_pack("{s:s,s:{s:s,s:s,s:s},s:o,s:{s:o}}", "openapi", "3.1.0", "info", "title",
                     "Realm", "version", realm_version(), "description",
                     "Open-weight language models: OpenAI's, Anthropic's and llama-server's calls",
                     "paths", paths, "components", "schemas", json_loads(COMPONENTS, 0, NULL));
}
