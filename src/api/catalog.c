#include "api/catalog.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "base/utf8.h"

static const char ENDING[] = ".gguf";
enum { MODELS_MAX = 4096 };

/* alias: path is the id that it stands for. */
struct entry {
    char *id, *path;
    bool alias;
};

struct table {
    struct entry *entries;
    size_t n;
    char *dir, *main_model;
};

struct catalog {
    struct mutex lock;
    struct table table; /* under lock */
};

static void table_free(struct table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        mem_free(t->entries[i].id);
        mem_free(t->entries[i].path);
    }
    mem_free(t->entries);
    mem_free(t->dir);
    mem_free(t->main_model);
    *t = (struct table){0};
}

int catalog_open(struct catalog **out)
{
    *out = NULL;
    struct catalog *c = mem_zalloc(sizeof(*c));
    if (!c)
        return REALM_E_NOMEM;
    int status = mutex_init(&c->lock);
    if (status)
        mem_free(c);
    else
        *out = c;
    return status;
}

void catalog_close(struct catalog *c)
{
    if (!c)
        return;
    table_free(&c->table);
    mutex_destroy(&c->lock);
    mem_free(c);
}

static const struct entry *find(const struct table *t, const char *id)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->entries[i].id, id) == 0)
            return &t->entries[i];
    return NULL;
}

/* Whether somebody who may not name paths may say this name. */
static bool name_allowed(const char *name)
{
    size_t n = strnlen(name, MODEL_NAME_MAX + 1);
    if (n == 0 || n > MODEL_NAME_MAX || name[0] == '.' || !utf8_valid(name, n))
        return false;
    for (size_t i = 0; i < n; i++)
        if (name[i] == '/' || (unsigned char)name[i] < 0x20)
            return false;
    return true;
}

/* Where the model of that name would be; nothing is looked at.  *in_dir: nobody but the
 * folder says that it exists. */
static bool locate(const struct table *t, const char *name, struct catalog_model *out, bool *in_dir)
{
    const struct entry *e = find(t, name);
    if (e && e->alias) {
        name = e->path;
        e = find(t, name);
    }
    *in_dir = !e;
    int n;
    if (e)
        n = e->alias ? -1 : snprintf(out->path, sizeof(out->path), "%s", e->path);
    else if (t->dir && name_allowed(name))
        n = snprintf(out->path, sizeof(out->path), "%s/%s%s", t->dir, name, ENDING);
    else
        n = -1;
    snprintf(out->id, sizeof(out->id), "%.*s", MODEL_NAME_MAX, name);
    return n >= 0 && n < (int)sizeof(out->path);
}

/* A file of the folder must be a regular one and no link; one that the operator named may
 * be gone and still be in memory. */
static bool look(struct catalog_model *out, bool in_dir)
{
    struct stat st;
    if (in_dir && (lstat(out->path, &st) || !S_ISREG(st.st_mode)))
        return false;
    if (!in_dir && stat(out->path, &st))
        st.st_mtim.tv_sec = 0;
    out->created_s = st.st_mtim.tv_sec;
    return true;
}

static bool resolve(const struct table *t, const char *name, struct catalog_model *out)
{
    bool in_dir;
    return locate(t, name, out, &in_dir) && look(out, in_dir);
}

static int add(struct table *t, const struct api_model *m, bool alias, struct realm_error *err)
{
    if (!m->id[0] || strlen(m->id) > MODEL_NAME_MAX)
        return err_set(err, REALM_E_ARG, "a model's name must have 1 to %d bytes", MODEL_NAME_MAX);
    if (find(t, m->id))
        return err_set(err, REALM_E_ARG, "two models are named %s", m->id);
    struct entry *e = &t->entries[t->n];
    *e = (struct entry){mem_strdup(m->id), mem_strdup(m->path), alias};
    t->n++;
    return e->id && e->path ? 0 : err_nomem(err, "the models' names");
}

static int check_aliases(const struct table *t, struct realm_error *err)
{
    struct catalog_model model;
    for (size_t i = 0; i < t->n; i++)
        if (t->entries[i].alias && !resolve(t, t->entries[i].id, &model))
            return err_set(err, REALM_E_ARG,
                           "the alias %s stands for %s, and no model has this name",
                           t->entries[i].id, t->entries[i].path);
    if (t->main_model && !resolve(t, t->main_model, &model))
        return err_set(err, REALM_E_ARG,
                       "no model is named %s (files have a slash or end in .gguf)", t->main_model);
    return 0;
}

static int fill(struct table *t, const struct api_models *from, struct realm_error *err)
{
    t->entries = mem_zarray(from->n_named + from->n_aliases, sizeof(*t->entries));
    t->dir = from->dir ? mem_strdup(from->dir) : NULL;
    t->main_model = from->main_model ? mem_strdup(from->main_model) : NULL;
    if (!t->entries || (from->dir && !t->dir) || (from->main_model && !t->main_model))
        return err_nomem(err, "the models' names");
    int status = 0;
    for (size_t i = 0; i < from->n_named && !status; i++)
        status = add(t, &from->named[i], false, err);
    for (size_t i = 0; i < from->n_aliases && !status; i++)
        status = add(t, &from->aliases[i], true, err);
    return status ? status : check_aliases(t, err);
}

int catalog_set(struct catalog *c, const struct api_models *models, struct realm_error *err)
{
    struct table table = {0}, old;
    int status = fill(&table, models, err);
    if (status) {
        table_free(&table);
        return status;
    }
    mutex_lock(&c->lock);
    old = c->table;
    c->table = table;
    mutex_unlock(&c->lock);
    table_free(&old);
    return 0;
}

static bool find_named(struct catalog *c, const char *name, struct catalog_model *out);

/* ---- listing ---- */

struct listing {
    struct entry *entries; /* path: "", or what an alias stands for */
    size_t n, cap;
    bool cut; /* there are more */
    int status;
};

static void list_one(struct listing *l, const char *id, const char *alias_of)
{
    if (l->status)
        return;
    if (l->n == MODELS_MAX) {
        l->cut = true;
        return;
    }
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        struct entry *entries = mem_realloc_array(l->entries, cap, sizeof(*entries));
        if (!entries) {
            l->status = REALM_E_NOMEM;
            return;
        }
        l->entries = entries;
        l->cap = cap;
    }
    struct entry *e = &l->entries[l->n++];
    *e = (struct entry){mem_strdup(id), mem_strdup(alias_of ? alias_of : ""), alias_of != NULL};
    if (!e->id || !e->path)
        l->status = REALM_E_NOMEM;
}

/* Later parts of a split model are no models. */
static bool is_later_part(const char *stem, size_t n)
{
    unsigned part, parts;
    int end = 0;
    if (n < 15 || sscanf(stem + n - 15, "-%5u-of-%5u%n", &part, &parts, &end) != 2 || end != 15)
        return false;
    return part != 1;
}

static void list_dir(struct listing *l, const char *dir)
{
    DIR *d = dir ? opendir(dir) : NULL;
    if (!d)
        return;
    const struct dirent *entry;
    while ((entry = readdir(d))) {
        struct stat st;
        char stem[sizeof(entry->d_name)];
        size_t n = strlen(entry->d_name), tail = sizeof(ENDING) - 1;
        if (n <= tail || strcmp(entry->d_name + n - tail, ENDING) != 0)
            continue;
        snprintf(stem, sizeof(stem), "%.*s", (int)(n - tail), entry->d_name);
        if (name_allowed(stem) && !is_later_part(stem, n - tail) &&
            !fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
            list_one(l, stem, NULL);
    }
    closedir(d);
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->id, ((const struct entry *)b)->id);
}

static void list_table(struct listing *l, struct catalog *c, char **dir)
{
    mutex_lock(&c->lock);
    for (size_t i = 0; i < c->table.n; i++) {
        const struct entry *e = &c->table.entries[i];
        list_one(l, e->id, e->alias ? e->path : NULL);
    }
    *dir = c->table.dir ? mem_strdup(c->table.dir) : NULL;
    if (c->table.dir && !*dir)
        l->status = REALM_E_NOMEM;
    mutex_unlock(&c->lock);
}

int catalog_each(struct catalog *c,
                 void (*each)(void *ctx, const struct catalog_model *m, const char *alias_of),
                 void *ctx)
{
    struct listing l = {0};
    struct catalog_model model;
    char *dir = NULL;
    list_table(&l, c, &dir);
    list_dir(&l, dir);
    mem_free(dir);
    if (l.cut)
        log_line(LOG_WARN, "there are more models than %d: further ones are not listed",
                 MODELS_MAX);
    if (!l.status && l.n)
        qsort(l.entries, l.n, sizeof(*l.entries), by_id);
    for (size_t i = 0; i < l.n && !l.status; i++) {
        const struct entry *e = &l.entries[i];
        /* A named file hides the folder's of the same name. */
        if (i > 0 && strcmp(e->id, l.entries[i - 1].id) == 0)
            continue;
        if (find_named(c, e->id, &model)) {
            snprintf(model.id, sizeof(model.id), "%s", e->id);
            each(ctx, &model, e->alias ? e->path : NULL);
        }
    }
    struct table owned = {.entries = l.entries, .n = l.n};
    table_free(&owned);
    return l.status;
}

/* ---- looking up ---- */

/* The id of the only model there is. */
struct only {
    char id[MODEL_NAME_MAX + 1];
    size_t n;
};

static void note_only(void *ctx, const struct catalog_model *m, const char *alias_of)
{
    struct only *only = ctx;
    if (alias_of)
        return;
    snprintf(only->id, sizeof(only->id), "%s", m->id);
    only->n++;
}

/* false: there is none of this name; NULL: the main model, if the operator named one. */
static bool find_named(struct catalog *c, const char *name, struct catalog_model *out)
{
    bool in_dir;
    mutex_lock(&c->lock);
    if (!name)
        name = c->table.main_model;
    bool found = name && locate(&c->table, name, out, &in_dir);
    mutex_unlock(&c->lock);
    return found && look(out, in_dir);
}

static int find_only(struct catalog *c, struct catalog_model *out, struct realm_error *err)
{
    struct only only = {0};
    int status = catalog_each(c, note_only, &only);
    if (status)
        return err_nomem(err, "the models' names");
    if (only.n == 1 && find_named(c, only.id, out))
        return 0;
    return err_set(err, REALM_E_NOT_FOUND, "name a model: there are %zu, and none is the default",
                   only.n);
}

int catalog_find(struct catalog *c, const char *name, struct catalog_model *out,
                 struct realm_error *err)
{
    if (find_named(c, name, out))
        return 0;
    return name ? catalog_unknown(name, err) : find_only(c, out, err);
}

bool catalog_find_gone(struct catalog *c, const char *name, struct catalog_model *out)
{
    bool in_dir;
    struct stat st;
    mutex_lock(&c->lock);
    bool found = locate(&c->table, name, out, &in_dir);
    mutex_unlock(&c->lock);
    out->created_s = 0;
    return found && in_dir && lstat(out->path, &st);
}

int catalog_unknown(const char *name, struct realm_error *err)
{
    char shown[72];
    if (!name)
        return err_set(err, REALM_E_NOT_FOUND, "name a model: there is none by default");
    size_t n = utf8_whole(name, strnlen(name, sizeof(shown) - 4));
    snprintf(shown, sizeof(shown), "%.*s%s", (int)n, name, name[n] ? "..." : "");
    return err_set(err, REALM_E_NOT_FOUND, "no model is named %s; `/v1/models` lists them", shown);
}
