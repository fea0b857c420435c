/* /openapi.json says what the readers do: its ranges and defaults are theirs. */
#include "api/openapi.h"
#include "doors.h"

static json_t *properties_of(json_t *document, const char *path)
{
    json_t *p = json_object_get(json_object_get(document, "paths"), path);
    static const char *const down[] = {"post",   "requestBody", "content", "application/json",
                                       "schema", "properties"};
    for (size_t i = 0; i < ARRAY_LEN(down); i++)
        p = json_object_get(p, down[i]);
    assert_non_null(p);
    return p;
}

/* A number just within its bounds is taken and one just beyond is not. */
static void check_bounds(const struct door *d, const char *name, const json_t *schema)
{
    static const struct {
        const char *key;
        int step;
        bool itself;
    } bounds[] = {{"minimum", -1, true},
                  {"maximum", 1, true},
                  {"exclusiveMinimum", 0, false},
                  {"exclusiveMaximum", 0, false}};
    char text[64];
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        const json_t *bound = json_object_get(schema, bounds[i].key);
        if (!bound || json_object_get(schema, "maxItems") || strcmp(name, "top_logprobs") == 0 ||
            strcmp(name, "best_of") == 0 || strcmp(name, "max_tokens") == 0)
            continue;
        double value = json_number_value(bound);
        snprintf(text, sizeof(text), "%.0f", value);
        assert_int_equal(takes(d, name, text), bounds[i].itself);
        snprintf(text, sizeof(text), "%.0f", value + bounds[i].step);
        assert_false(takes(d, name, text));
    }
}

static void test_bounds(void **state)
{
    (void)state;
    json_t *document = openapi_document();
    assert_non_null(document);
    for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
        const char *name;
        json_t *schema;
        if (doors[i].endpoint->path[0] != '/')
            continue; // a WebSocket's
        json_object_foreach(properties_of(document, doors[i].endpoint->path), name, schema)
        {
            check_bounds(&doors[i], name, schema);
        }
    }
    json_decref(document);
}

static void test_defaults(void **state)
{
    (void)state;
    static const struct {
        const char *path, *name;
        double value;
    } rows[] = {
        {"/v1/chat/completions", "temperature", 1},
        {"/v1/chat/completions", "top_p", 1},
        {"/v1/chat/completions", "n", 1},
        {"/completion", "temperature", 0.8},
        {"/completion", "top_k", 40},
        {"/completion", "min_p", 0.05},
        {"/completion", "n_predict", -1},
        {"/completion", "repeat_penalty", 1},
    };
    json_t *document = openapi_document();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *schema = json_object_get(properties_of(document, rows[i].path), rows[i].name);
        json_t *value = json_object_get(schema, "default");
        assert_true(json_is_number(value) && json_number_value(value) == rows[i].value);
    }
    /* The rest of the context is no number. */
    json_t *max = json_object_get(properties_of(document, "/v1/chat/completions"), "max_tokens");
    assert_null(json_object_get(max, "default"));
    json_decref(document);
}

/* Every reference leads somewhere, and every endpoint is there. */
static void test_whole(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/models",
        "/v1/models/{id}",
        "/v1/guest/log",
        "/v1/messages",
        "/completion",
        "/embedding",
        "/v1/messages/count_tokens",
        "/tokenize",
        "/detokenize",
        "/apply-template",
        "/props",
        "/health",
        "/ready",
        "/metrics",
        "/openapi.json",
    };
    json_t *document = openapi_document();
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        assert_non_null(json_object_get(json_object_get(document, "paths"), paths[i]));
    const json_t *key_scheme =
        json_object_get(json_object_get(document, "components"), "securitySchemes");
    key_scheme = json_object_get(json_object_get(key_scheme, "key"), "scheme");
    assert_string_equal(json_string_value(key_scheme), "bearer");
    assert_non_null(
        json_object_get(json_array_get(json_object_get(document, "security"), 1), "key"));
    char *text = json_dumps(document, 0), key[64];
    json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");
    static const char mark[] = "#/components/schemas/";
    size_t references = 0;
    for (char *p = strstr(text, mark); p; p = strstr(p, mark), references++) {
        p += strlen(mark);
        copy_word(p, "\"", key, sizeof(key));
        assert_non_null(json_object_get(schemas, key));
    }
    assert_true(references > 10);
    free(text);
    json_decref(document);
}

/* Each role that a message may have, and no other. */
static void test_roles(void **state)
{
    (void)state;
    static const struct door *chat = &doors[0];
    json_t *document = openapi_document(), *role;
    const json_t *node = document;
    static const char *const way[] = {"components", "schemas", "Message",
                                      "properties", "role",    "enum"};
    for (size_t i = 0; i < ARRAY_LEN(way); i++)
        node = json_object_get(node, way[i]);
    assert_int_equal(json_array_size(node), 5);
    size_t i;
    char text[128];
    json_array_foreach(node, i, role)
    {
        snprintf(text, sizeof(text), "[{\"role\":\"%s\",\"content\":\"x\",\"tool_call_id\":\"y\"}]",
                 json_string_value(role));
        assert_true(takes(chat, "messages", text));
    }
    json_decref(document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_roles),
    };
    return cmocka_run_group_tests_name("api/openapi", tests, NULL, NULL);
}
