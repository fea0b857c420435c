/* engine/model.c - leases on models, by path, by name or from memory. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "engine/engine_impl.h"

/* How often a file that was replaced while it was loaded is loaded again. */
enum { RELOADS_MAX = 3 };

/* The caller's wait, ended by the engine's closing, too. */
struct guarded_wait {
    struct realm *realm;
    const struct realm_wait *own;
};

static bool ended(void *ctx)
{
    const struct guarded_wait *w = ctx;
    if (atomic_load(&w->realm->closing))
        return true;
    return w->own && w->own->cancelled && w->own->cancelled(w->own->ctx);
}

static int lease_open(struct store_lease **out, struct realm *r, const char *key,
                      const struct realm_wait *wait, struct realm_error *err)
{
    struct guarded_wait guard = {r, wait};
    struct realm_wait guarded = {wait ? wait->deadline_ns : 0, ended, &guard};
    int status = store_lease_open(out, r->store, key, &guarded, err);
    if (status == REALM_E_CANCELLED && atomic_load(&r->closing))
        status = err_set(err, REALM_E_SHUTDOWN, "the engine is closing");
    return status;
}

/* A lease on the file's model, never on one of a file that stood there before.
 * Where there is no file any more, what is in memory serves. */
static int lease_file(struct store_lease **out, struct realm *r, const char *path,
                      const struct realm_wait *wait, struct realm_error *err)
{
    for (int reloads = 0;; reloads++) {
        int status = lease_open(out, r, path, wait, err);
        if (status)
            return status;
        const struct loaded *loaded = store_lease_model(*out);
        struct file_id now;
        if (reloads == RELOADS_MAX || !path_identify(&now, path) ||
            path_same_file(&now, &loaded->id))
            return 0;
        store_lease_forget(*out);
        store_lease_close(*out);
    }
}

/* A handle that takes over the lease and the caller's place inside. */
static int wrap(struct realm_model **out, struct realm *r, struct store_lease *lease)
{
    *out = mem_alloc(sizeof(**out));
    if (!*out) {
        store_lease_close(lease);
        engine_leave(r);
        return REALM_E_NOMEM;
    }
    **out = (struct realm_model){r, lease, store_lease_model(lease)};
    return 0;
}

static int open_path(struct realm_model **out, struct realm *r, const char *canonical,
                     const struct realm_wait *wait, struct realm_error *err)
{
    int status = engine_enter(r, err);
    if (status)
        return status;
    struct store_lease *lease;
    status = lease_file(&lease, r, canonical, wait, err);
    if (status) {
        engine_leave(r);
        return status;
    }
    return wrap(out, r, lease) ? err_nomem(err, "a lease") : 0;
}

int realm_model_open(struct realm_model **out, struct realm *r, const char *path,
                     const struct realm_wait *wait, struct realm_error *err)
{
    *out = NULL;
    char canonical[PATH_MAX];
    int status = path_canonical(canonical, path);
    if (status)
        return err_set(err, status, "%s: %s", path, io_why(errno));
    return open_path(out, r, canonical, wait, err);
}

int realm_model_open_name(struct realm_model **out, struct realm *r, const char *name,
                          const struct realm_wait *wait, struct realm_error *err)
{
    static const char *const endings[] = {"", ".gguf"};
    *out = NULL;
    if (!r->models_dir[0] || !path_name_allowed(name))
        return err_set(err, REALM_E_NOT_FOUND, "no model has this name");
    char paths[ARRAY_LEN(endings)][PATH_MAX];
    struct file_id id;
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        if (snprintf(paths[i], PATH_MAX, "%s/%s%s", r->models_dir, name, endings[i]) >= PATH_MAX)
            return err_set(err, REALM_E_NOT_FOUND, "no model has this name");
        if (path_identify(&id, paths[i]))
            return open_path(out, r, paths[i], wait, err);
    }
    /* No file: it may still be in memory. */
    int status = REALM_E_NOT_FOUND;
    for (size_t i = 0; i < ARRAY_LEN(endings) && status == REALM_E_NOT_FOUND; i++)
        status = open_path(out, r, paths[i], wait, err);
    return status;
}

void realm_model_status(struct realm *r, const char *path, struct realm_model_status *out)
{
    *out = (struct realm_model_status){.state = REALM_MODEL_ABSENT};
    char canonical[PATH_MAX];
    struct file_id id;
    if (path_canonical(canonical, path) == 0 && path_identify(&id, canonical))
        store_status(r->store, canonical, out);
}

/* A lease on what is loaded of the file, as lease_file would find it. */
static int find_file(struct store_lease **out, struct realm *r, const char *path,
                     struct realm_error *err)
{
    int status = store_lease_find(out, r->store, path, err);
    if (status)
        return status;
    const struct loaded *loaded = store_lease_model(*out);
    struct file_id now;
    if (!path_identify(&now, path) || path_same_file(&now, &loaded->id))
        return 0;
    store_lease_drop(*out);
    *out = NULL;
    return err_set(err, REALM_E_NOT_FOUND, "the model's file was replaced since it was loaded");
}

int realm_model_find(struct realm_model **out, struct realm *r, const char *path,
                     struct realm_error *err)
{
    *out = NULL;
    char canonical[PATH_MAX];
    int status = path_canonical(canonical, path);
    if (status)
        return err_set(err, status, "%s: %s", path, io_why(errno));
    status = engine_enter(r, err);
    if (status)
        return status;
    struct store_lease *lease;
    status = find_file(&lease, r, canonical, err);
    if (status) {
        engine_leave(r);
        return status;
    }
    return wrap(out, r, lease) ? err_nomem(err, "a lease") : 0;
}

int realm_model_unload(struct realm *r, const char *path, struct realm_error *err)
{
    char canonical[PATH_MAX];
    int status = path_canonical(canonical, path);
    if (!status)
        status = store_evict(r->store, canonical);
    return status ? err_set(err, status, "the model is not loaded") : 0;
}

static int lease_memory(struct store_lease **out, struct realm *r, const void *gguf, size_t bytes,
                        const struct realm_wait *wait, struct realm_error *err)
{
    struct gguf_file *file;
    int status = gguf_file_from_memory(&file, gguf, bytes, err);
    if (status)
        return status;
    char name[BROUGHT_NAME_MAX];
    if (loader_bring(r, file, name)) {
        gguf_file_close(file);
        return err_nomem(err, "a model in memory");
    }
    status = lease_open(out, r, name, wait, err);
    loader_take_back(r, name);
    if (!status)
        store_lease_forget(*out);
    return status;
}

int realm_model_open_memory(struct realm_model **out, struct realm *r, const void *gguf,
                            size_t bytes, const struct realm_wait *wait, struct realm_error *err)
{
    *out = NULL;
    int status = engine_enter(r, err);
    if (status)
        return status;
    struct store_lease *lease;
    status = lease_memory(&lease, r, gguf, bytes, wait, err);
    if (status) {
        engine_leave(r);
        return status;
    }
    return wrap(out, r, lease) ? err_nomem(err, "a lease") : 0;
}

int realm_model_share(struct realm_model **out, struct realm_model *m)
{
    *out = NULL;
    struct store_lease *lease;
    int status = store_lease_share(&lease, m->lease);
    if (status)
        return status;
    engine_enter_again(m->realm);
    return wrap(out, m->realm, lease);
}

void realm_model_close(struct realm_model *m)
{
    if (!m)
        return;
    struct realm *r = m->realm;
    store_lease_close(m->lease);
    mem_free(m);
    engine_leave(r);
}

void realm_model_drop(struct realm_model *m)
{
    if (!m)
        return;
    struct realm *r = m->realm;
    store_lease_drop(m->lease);
    mem_free(m);
    engine_leave(r);
}

void realm_model_pin(struct realm_model *m, bool pinned)
{
    store_lease_keep(m->lease, pinned);
}

/* Every matrix but the embedding, of which a token reads one row, and the experts that it
 * does not use. */
static uint64_t step_bytes(const struct model *m)
{
    uint64_t embed = (uint64_t)m->embed.panels * m->embed.panel_bytes;
    return m->memory_bytes - m->idle_bytes - (m->config.tied ? 0 : embed);
}

void realm_model_info(const struct realm_model *m, struct realm_model_info *out)
{
    const struct model *model = m->loaded->model;
    const struct model_config *c = &model->config;
    *out = (struct realm_model_info){
        .name = c->name,
        .architecture = c->architecture,
        .vocab_size = c->vocab,
        .hidden_size = c->width,
        .num_layers = c->layers,
        .num_heads = c->heads,
        .num_kv_heads = c->kv_heads,
        .intermediate_size = c->ffn,
        .context_tokens = c->context,
        .rope_theta = c->rope_base,
        .rms_norm_eps = c->norm_eps,
        .params = model->params,
        .tensors = model->tensors,
        .tensor_bytes = model->file_bytes,
        .memory_bytes = model->memory_bytes,
        .reserved_bytes = m->loaded->bytes,
        .step_bytes = step_bytes(model),
        .has_tokenizer = model->vocab != NULL,
        .chat_template = model->chat_template,
        .bos_text = m->loaded->bos_text,
        .eos_text = m->loaded->eos_text,
        .adds_bos = model->vocab && vocab_adds_bos(model->vocab),
        .encoder = c->encoder,
        .pooling = c->pooling,
    };
}
