/* cmd/realm/serve_models.c - from the configuration to the models that clients may name. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "serve.h"

bool serve_is_file(const char *model)
{
    return strchr(model, '/') || cmd_names_gguf(model);
}

/* "dir/llama.gguf" is the model "llama". */
static char *id_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t n = strlen(name);
    return mem_strndup(name, cmd_names_gguf(name) ? n - (sizeof(CMD_GGUF) - 1) : n);
}

static int add_file(struct serve_models *m, const char *path, struct realm_error *err)
{
    char *id = id_of(path);
    if (!id)
        return err_nomem(err, "the models' names");
    m->id = id;
    m->named[m->api.n_named++] = (struct api_model){id, path};
    m->api.main_model = id;
    return 0;
}

static int add_default(struct serve_models *m, const struct conf *c, struct realm_error *err)
{
    if (c->model && serve_is_file(c->model))
        return add_file(m, c->model, err);
    m->api.main_model = c->model;
    if (c->model || c->models_dir)
        return 0;
    m->tiny = cmd_tiny_path();
    if (!m->tiny)
        return err_set(err, REALM_E_NOT_FOUND, CMD_NO_TINY);
    return add_file(m, m->tiny, err);
}

static void add_aliases(struct serve_models *m, const struct conf *c)
{
    for (size_t i = 0; i < c->n_aliases; i++) {
        const struct api_model model = {c->aliases[i].name, c->aliases[i].model};
        if (serve_is_file(model.path))
            m->named[m->api.n_named++] = model;
        else
            m->aliases[m->api.n_aliases++] = model;
    }
}

int serve_models_open(struct serve_models *m, const struct conf *conf, struct realm_error *err)
{
    *m = (struct serve_models){.api.dir = conf->models_dir};
    m->named = mem_zarray(conf->n_aliases + 1, sizeof(*m->named));
    m->aliases = mem_zarray(conf->n_aliases + 1, sizeof(*m->aliases));
    int status =
        m->named && m->aliases ? add_default(m, conf, err) : err_nomem(err, "the models' names");
    if (status) {
        serve_models_close(m);
        return status;
    }
    add_aliases(m, conf);
    m->api.named = m->named;
    m->api.aliases = m->aliases;
    return 0;
}

void serve_models_look(const struct conf *c)
{
    DIR *d = c->models_dir ? opendir(c->models_dir) : NULL;
    const struct dirent *entry;
    struct stat st;
    bool found = false;
    if (!d)
        return;
    while (!found && (entry = readdir(d)))
        found = cmd_names_gguf(entry->d_name) &&
                fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                S_ISREG(st.st_mode);
    closedir(d);
    if (!found)
        log_line(LOG_WARN, "there is no *.gguf in %s (links do not count, nor folders in it)",
                 c->models_dir);
}

const char *serve_models_first(const struct serve_models *m)
{
    return m->id ? m->named[0].path : NULL;
}

void serve_models_close(struct serve_models *m)
{
    mem_free(m->id);
    mem_free(m->named);
    mem_free(m->aliases);
    mem_free(m->tiny);
    *m = (struct serve_models){0};
}
