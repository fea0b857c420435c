#include "util.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/thread.h"

static uint64_t fake_now(void *ctx)
{
    return atomic_load(&((struct world *)ctx)->now_ns);
}

static int64_t fake_wall(void *ctx)
{
    return atomic_load(&((struct world *)ctx)->wall_s);
}

struct world *world_new(void)
{
    struct world *w = mem_zalloc(sizeof(*w));
    assert_non_null(w);
    snprintf(w->dir, sizeof(w->dir), "/tmp/realm-tenant-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->clock = (struct clock){fake_now, w};
    atomic_init(&w->now_ns, 1000000000000u);
    atomic_init(&w->wall_s, WALL_S);
    return w;
}

int world_try(struct world *w, struct realm_error *err)
{
    const struct tenants_options options = {
        .dir = w->dir, .clock = &w->clock, .wall_s = fake_wall, .ctx = w};
    return tenants_open(&w->t, &options, err);
}

void world_open(struct world *w)
{
    struct realm_error err = {0};
    if (world_try(w, &err))
        fail_msg("%s", err.message);
}

void world_close(struct world *w)
{
    tenants_close(w->t);
    w->t = NULL;
}

void world_free(struct world *w)
{
    static const char *const files[] = {"realm.db", "realm.db-wal", "realm.db-shm", "realm.spool",
                                        "pepper"};
    char path[128];
    world_close(w);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", w->dir, files[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(w->dir), 0);
    mem_free(w);
}

json_t *json_of(const char *text)
{
    char copy[1024];
    snprintf(copy, sizeof(copy), "%s", text);
    for (char *c = copy; *c; c++)
        if (*c == '\'')
            *c = '"';
    json_t *json = json_loads(copy, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    return json;
}

void make_tenant(struct world *w, const char *body)
{
    json_t *json = json_of(body), *out;
    struct realm_error err = {0};
    if (tenants_create(w->t, json, "test", &out, &err))
        fail_msg("%s", err.message);
    json_decref(json);
    json_decref(out);
}

void make_key(struct world *w, const char *tenant, char *key)
{
    json_t *out;
    struct realm_error err = {0};
    if (tenants_key_create(w->t, tenant, NULL, "test", &out, &err))
        fail_msg("%s", err.message);
    snprintf(key, KEY_TEXT_MAX + 1, "%s", json_string_value(json_object_get(out, "key")));
    json_decref(out);
}

struct tenant_pass pass_of(struct world *w, const char *key)
{
    struct tenant_pass pass;
    assert_int_equal(tenants_auth(w->t, key, key ? strlen(key) : 0, &pass), TENANT_AUTH_OK);
    return pass;
}

struct tenant_grant *admit(struct world *w, const struct tenant_pass *pass, const char *id)
{
    struct tenant_grant *g;
    struct tenant_refusal why;
    const struct tenant_request request = {id, "chat"};
    return tenants_admit(&g, w->t, pass, &request, &why) ? NULL : g;
}

struct settled {
    struct mutex lock;
    struct cond over;
    bool is;
    int status;
};

static void on_committed(void *ctx, int status)
{
    struct settled *s = ctx;
    mutex_lock(&s->lock);
    s->is = true;
    s->status = status;
    cond_signal(&s->over);
    mutex_unlock(&s->lock);
}

void note(struct tenant_grant *g, uint64_t prompt, uint64_t completion)
{
    tenant_note(g, &(struct tenant_part){"tiny", prompt, 0, completion}, 1);
}

int settle(struct tenant_grant *g, enum tenant_outcome outcome, uint64_t prompt,
           uint64_t completion)
{
    return settle_parts(g, outcome, &(struct tenant_part){"tiny", prompt, 0, completion}, 1);
}

int settle_parts(struct tenant_grant *g, enum tenant_outcome outcome,
                 const struct tenant_part *parts, size_t n)
{
    struct settled s = {.is = false};
    assert_int_equal(mutex_init(&s.lock), 0);
    assert_int_equal(cond_init(&s.over), 0);
    const struct tenant_row row = {.outcome = outcome,
                                   .guest = "",
                                   .parts = parts,
                                   .n_parts = n,
                                   .by_limit = outcome == TENANT_REFUSED};
    tenant_settle(g, &row, on_committed, &s);
    mutex_lock(&s.lock);
    while (!s.is)
        cond_wait(&s.over, &s.lock);
    mutex_unlock(&s.lock);
    cond_destroy(&s.over);
    mutex_destroy(&s.lock);
    return s.status;
}

const char *long_model(int i)
{
    static char names[REQUEST_MODELS_MAX][MODEL_NAME_MAX + 1];
    snprintf(names[i], sizeof(names[i]), "%d\"%0*d", i, MODEL_NAME_MAX - 2, 0);
    return names[i];
}

int settle_long(struct tenant_grant *g, enum tenant_outcome outcome, uint64_t prompt,
                uint64_t completion)
{
    struct tenant_part parts[REQUEST_MODELS_MAX] = {{"tiny", prompt, 0, 0}};
    for (int i = 1; i < REQUEST_MODELS_MAX; i++)
        parts[i].model = long_model(i);
    parts[REQUEST_MODELS_MAX - 1].completion_tokens = completion;
    return settle_parts(g, outcome, parts, REQUEST_MODELS_MAX);
}

int64_t usage(struct world *w, const char *tenant, const char *member)
{
    return usage_of(w, tenant, NULL, member);
}

int64_t usage_of(struct world *w, const char *tenant, const char *model, const char *member)
{
    const struct tenant_usage_query query = {.tenant = tenant, .model = model};
    json_t *out;
    struct realm_error err = {0};
    if (tenants_usage(w->t, &query, &out, &err))
        fail_msg("%s", err.message);
    int64_t value = json_integer_value(
        json_object_get(json_array_get(json_object_get(out, "rows"), 0), member));
    json_decref(out);
    return value;
}

void spool_bytes(const struct world *w, uint8_t *bytes, size_t n, bool put)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/realm.spool", w->dir);
    FILE *f = fopen(path, put ? "r+b" : "rb");
    assert_non_null(f);
    assert_int_equal(put ? fwrite(bytes, 1, n, f) : fread(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

void in_killed_process(struct world *w, void (*what)(struct world *w, int n), int n)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        what(w, n);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}
