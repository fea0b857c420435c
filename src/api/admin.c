/* api/admin.c - /admin/…: models and the store. */
#include <string.h>

#include "api/api_impl.h"

static void refuse(struct http_exchange *x, int status, const struct realm_error *err)
{
    struct api_error e = {0};
    (void)api_from_status(&e, status, err);
    api_refuse(x, &e);
}

static void cache_stats(struct api *a, struct http_exchange *x)
{
    struct realm_stats s;
    realm_stats(a->options.engine, &s);
    api_answer_json(
        x, 200,
        json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:i,s:i,s:i,s:I,s:I,s:I}", "hits",
                  (json_int_t)s.hits, "misses", (json_int_t)s.misses, "loads", (json_int_t)s.loads,
                  "loads_failed", (json_int_t)s.loads_failed, "evictions", (json_int_t)s.evictions,
                  "bytes", (json_int_t)s.bytes, "bytes_peak", (json_int_t)s.bytes_peak, "bytes_max",
                  (json_int_t)s.bytes_max, "models", (int)s.models, "leases", (int)s.leases,
                  "loading", (int)s.loading, "kv_pages", (json_int_t)s.kv_pages, "kv_bytes",
                  (json_int_t)s.kv_bytes, "kv_bytes_max", (json_int_t)s.kv_bytes_max));
}

static void cache_clear(struct api *a, struct http_exchange *x)
{
    job_open_http(a, x, &door_clear, NULL, NULL);
}

static void unload(struct api *a, struct http_exchange *x, const char *id)
{
    job_open_http(a, x, &door_unload, NULL, id);
}

static void unpin(struct api *a, struct http_exchange *x, const char *id)
{
    struct catalog_model m;
    struct realm_error err = {0};
    struct realm_model *model = NULL;
    int status = catalog_find(a->catalog, id, &m, &err);
    if (!status)
        status = realm_model_find(&model, a->options.engine, m.path, &err);
    if (status) {
        refuse(x, status, &err);
        return;
    }
    realm_model_pin(model, false);
    realm_model_drop(model);
    api_answer_json(x, 200, json_pack("{s:s,s:b}", "id", m.id, "pinned", 0));
}

static void pin(struct api *a, struct http_exchange *x, const char *id)
{
    job_open_http(a, x, &door_pin, NULL, id);
}

static void load(struct api *a, struct http_exchange *x, const char *id)
{
    job_open_http(a, x, &door_load, NULL, id);
}

static const struct {
    const char *name;
    void (*answer)(struct api *a, struct http_exchange *x, const char *id);
} model_calls[] = {{"load", load}, {"unload", unload}, {"pin", pin}, {"unpin", unpin}};

/* {id}/load and the like; false: there is no such call. */
static bool route_model(struct api *a, struct http_exchange *x, const char *rest)
{
    const char *slash = strrchr(rest, '/');
    char id[MODEL_NAME_MAX + 1];
    if (!slash || slash == rest || (size_t)(slash - rest) >= sizeof(id))
        return false;
    memcpy(id, rest, (size_t)(slash - rest));
    id[slash - rest] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(model_calls); i++) {
        if (strcmp(slash + 1, model_calls[i].name) == 0) {
            model_calls[i].answer(a, x, id);
            return true;
        }
    }
    return false;
}

void admin_route(struct api *a, struct http_exchange *x)
{
    static const char MODELS[] = "/admin/models/";
    const char *path = http_path(x);
    bool get = strcmp(http_method(x), "GET") == 0, post = strcmp(http_method(x), "POST") == 0;
    if (get && strcmp(path, "/admin/models") == 0) {
        job_open_http(a, x, &door_models, NULL, NULL);
    } else if (get && strcmp(path, "/admin/cache") == 0) {
        cache_stats(a, x);
    } else if (post && strcmp(path, "/admin/cache/clear") == 0) {
        cache_clear(a, x);
    } else if (!post || strncmp(path, MODELS, strlen(MODELS)) != 0 ||
               !route_model(a, x, path + strlen(MODELS))) {
        struct api_error e = {0};
        (void)api_fail(&e, 404, "not_found", "there is no such admin call");
        api_refuse(x, &e);
    }
}
