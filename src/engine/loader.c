/* engine/loader.c - how the store loads a model of ours. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "engine/engine_impl.h"

/* What a loaded model takes beside its weights and scratch. */
#define OVERHEAD_BYTES (1 * MiB)

/* Names of models in memory begin so; those of files begin with a slash. */
static const char BROUGHT_PREFIX[] = "memory:";

struct brought {
    struct list link;
    struct gguf_file *file;
    char name[BROUGHT_NAME_MAX];
};

struct plan {
    struct gguf_file *file;
    struct file_id id;
    struct model_plan model;
    uint64_t bytes; /* what the store reserves */
};

struct progress {
    bool (*go_on)(void *arg);
    void *arg;
};

int loader_bring(struct realm *r, struct gguf_file *file, char name[BROUGHT_NAME_MAX])
{
    struct brought *b = mem_zalloc(sizeof(*b));
    if (!b)
        return REALM_E_NOMEM;
    b->file = file;
    mutex_lock(&r->lock);
    snprintf(b->name, sizeof(b->name), "%s%llu", BROUGHT_PREFIX,
             (unsigned long long)++r->n_brought);
    memcpy(name, b->name, sizeof(b->name));
    list_add_tail(&r->brought, &b->link);
    mutex_unlock(&r->lock);
    return 0;
}

static struct gguf_file *take(struct realm *r, const char *name)
{
    struct gguf_file *file = NULL;
    mutex_lock(&r->lock);
    for (struct list *i = r->brought.next; i != &r->brought; i = i->next) {
        struct brought *b = CONTAINER_OF(i, struct brought, link);
        if (strcmp(b->name, name))
            continue;
        file = b->file;
        list_remove(&b->link);
        mem_free(b);
        break;
    }
    mutex_unlock(&r->lock);
    return file;
}

void loader_take_back(struct realm *r, const char *name)
{
    gguf_file_close(take(r, name));
}

static int open_file(struct realm *r, struct plan *p, const char *name, struct realm_error *err)
{
    if (strncmp(name, BROUGHT_PREFIX, strlen(BROUGHT_PREFIX)) == 0) {
        p->file = take(r, name);
        return p->file ? 0 : err_set(err, REALM_E_NOT_FOUND, "the model is gone");
    }
    /* Before it is opened: should it be replaced in between, it only looks old. */
    if (!path_identify(&p->id, name)) {
        const char *why = io_why(errno), *slash = strrchr(name, '/');
        return err_set(err, REALM_E_NOT_FOUND, "%s: %s", slash && slash[1] ? slash + 1 : name, why);
    }
    /* The name has no links in it: there must be none when it is opened either. */
    return gguf_file_open(&p->file, io_system(), name, IO_BENEATH, err);
}

static void discard(void *ctx, void *plan)
{
    (void)ctx;
    struct plan *p = plan;
    gguf_file_close(p->file);
    mem_free(p);
}

static int plan(void *ctx, const char *name, void **out, uint64_t *bytes, struct realm_error *err)
{
    struct realm *r = ctx;
    *out = NULL;
    struct plan *p = mem_zalloc(sizeof(*p));
    if (!p)
        return err_nomem(err, "a model's plan");
    int status = open_file(r, p, name, err);
    if (!status)
        status = model_plan(&p->model, p->file, err);
    if (status) {
        discard(r, p);
        return status;
    }
    *bytes = p->bytes = p->model.bytes +
                        sched_model_bytes(&p->model.config, pool_threads(r->pool)) + OVERHEAD_BYTES;
    *out = p;
    return 0;
}

static bool progress(void *ctx, uint64_t done, uint64_t all)
{
    (void)done;
    (void)all;
    const struct progress *p = ctx;
    return p->go_on(p->arg);
}

static void unload(void *ctx, void *model)
{
    (void)ctx;
    struct loaded *l = model;
    sched_model_close(l->run);
    model_close(l->model);
    mem_free(l->bos_text);
    mem_free(l->eos_text);
    mem_free(l);
}

/* The text of a token with a NUL, "" when there is no such token. */
static char *token_text(const struct vocab *v, uint32_t id)
{
    if (!v || id == TOKEN_NONE)
        return mem_strdup("");
    struct slice text = vocab_text(v, id);
    return mem_strndup((const char *)text.p, text.n);
}

static int copy_texts(struct loaded *l)
{
    const struct vocab *v = l->model->vocab;
    l->bos_text = token_text(v, v ? vocab_bos(v) : TOKEN_NONE);
    l->eos_text = token_text(v, v ? vocab_eos(v) : TOKEN_NONE);
    return l->bos_text && l->eos_text ? 0 : REALM_E_NOMEM;
}

static int load(void *ctx, void *plan, bool (*go_on)(void *arg), void *arg, void **out,
                struct realm_error *err)
{
    struct realm *r = ctx;
    const struct plan *p = plan;
    struct loaded *l = mem_zalloc(sizeof(*l));
    if (!l)
        return err_nomem(err, "a model");
    l->id = p->id;
    l->bytes = p->bytes;
    struct progress asked = {go_on, arg};
    struct model_load_options options = {progress, &asked, r->options.threads};
    int status = model_load(&l->model, p->file, &options, err);
    if (status) {
        mem_free(l);
        return status;
    }
    status = copy_texts(l);
    if (!status)
        status = sched_model_open(&l->run, r->sched, l->model);
    if (status) {
        unload(r, l);
        return err_nomem(err, "a model's scratch");
    }
    *out = l;
    return 0;
}

struct store_ops loader_ops(struct realm *r)
{
    return (struct store_ops){
        .plan = plan, .load = load, .discard = discard, .unload = unload, .ctx = r};
}
