/* conf/parse.c - the file, event by event: groups of keys, and below them values, lists and
 * one mapping.  What YAML has beyond that (anchors, tags, deeper levels, several documents)
 * is refused where it begins, so that nothing of a file can grow. */
#include <string.h>
#include <yaml.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/io.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "conf/keys.h"

struct reader {
    yaml_parser_t yaml;
    yaml_event_t event; /* the last; deleted by the next */
    const char *name;
    struct conf conf; /* what the file says */
    bool seen[CONF_KEYS_MAX];
    const struct conf_key *key; /* the one being read */
    struct realm_error *err;
};

/* The line of the last event. */
static size_t line_of(const struct reader *r)
{
    return r->event.start_mark.line + 1;
}

static int put_place(struct reader *r, int status)
{
    if (status == REALM_E_NOMEM)
        return status;
    if (r->key)
        err_prefix(r->err, status, "%s.%s", r->key->group, r->key->name);
    return err_prefix(r->err, status, "%s:%zu", r->name, line_of(r));
}

static int wrong(struct reader *r, const char *what)
{
    return put_place(r, err_set(r->err, REALM_E_FORMAT, "%s", what));
}

/* What libyaml says of text that is no YAML. */
static int broken(struct reader *r)
{
    const yaml_parser_t *y = &r->yaml;
    if (y->error == YAML_MEMORY_ERROR)
        return err_nomem(r->err, "the configuration");
    if (y->error == YAML_READER_ERROR)
        return err_set(r->err, REALM_E_FORMAT, "%s: %s at byte %zu", r->name, y->problem,
                       y->problem_offset);
    return err_set(r->err, REALM_E_FORMAT, "%s:%zu: %s", r->name, y->problem_mark.line + 1,
                   y->problem);
}

static int refuse_extras(struct reader *r)
{
    const yaml_event_t *e = &r->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (e->type == YAML_ALIAS_EVENT) {
        anchor = e->data.alias.anchor;
    } else if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    }
    if (anchor)
        return wrong(r, "anchors and aliases (& and *) are not taken");
    return tag ? wrong(r, "tags (!) are not taken") : 0;
}

static int next(struct reader *r)
{
    yaml_event_delete(&r->event);
    if (!yaml_parser_parse(&r->yaml, &r->event))
        return broken(r);
    return refuse_extras(r);
}

static const char *scalar(const struct reader *r, size_t *n)
{
    *n = r->event.data.scalar.length;
    return (const char *)r->event.data.scalar.value;
}

/* ---- a key's value ---- */

static int read_scalar(struct reader *r)
{
    size_t n;
    const char *text = scalar(r, &n);
    bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    int status = conf_value(&r->conf, r->key, text, n, plain, r->err);
    return status ? put_place(r, status) : 0;
}

static int add_to_list(struct reader *r)
{
    size_t n, *count = conf_count(&r->conf, r->key);
    char ***list = conf_list(&r->conf, r->key);
    if (r->event.type != YAML_SCALAR_EVENT)
        return wrong(r, "must be a list of texts");
    if (*count == CONF_LIST_MAX)
        return wrong(r, "has too many items");
    char **more = mem_realloc_array(*list, *count + 1, sizeof(*more));
    if (!more)
        return err_nomem(r->err, "the configuration");
    *list = more;
    const char *text = scalar(r, &n);
    int status = conf_copy_text(&more[*count], text, n, r->err);
    if (status)
        return put_place(r, status);
    ++*count;
    return 0;
}

static int read_list(struct reader *r)
{
    if (r->key->type != CONF_LIST)
        return wrong(r, "must not be a list");
    int status;
    while (!(status = next(r)) && r->event.type != YAML_SEQUENCE_END_EVENT)
        if ((status = add_to_list(r)))
            break;
    return status;
}

/* The alias's name is the last event. */
static int add_alias(struct reader *r)
{
    struct conf *c = &r->conf;
    struct conf_alias alias = {0};
    size_t n;
    if (r->event.type != YAML_SCALAR_EVENT)
        return wrong(r, "must be a mapping from names to models");
    if (c->n_aliases == CONF_LIST_MAX)
        return wrong(r, "has too many items");
    struct conf_alias *more = mem_realloc_array(c->aliases, c->n_aliases + 1, sizeof(*more));
    if (!more)
        return err_nomem(r->err, "the configuration");
    c->aliases = more;
    const char *text = scalar(r, &n);
    int status = conf_copy_text(&alias.name, text, n, r->err);
    for (size_t i = 0; !status && i < c->n_aliases; i++)
        if (strcmp(more[i].name, alias.name) == 0)
            status = err_set(r->err, REALM_E_FORMAT, "'%.*s' stands twice",
                             (int)utf8_whole(text, min_size(n, 60)), text);
    if (status)
        put_place(r, status);
    else
        status = next(r);
    if (!status && r->event.type != YAML_SCALAR_EVENT)
        status = wrong(r, "must be a mapping from names to models");
    if (!status) {
        text = scalar(r, &n);
        status = conf_copy_text(&alias.model, text, n, r->err);
        if (status)
            put_place(r, status);
    }
    if (status)
        mem_free(alias.name);
    else
        more[c->n_aliases++] = alias;
    return status;
}

static int read_aliases(struct reader *r)
{
    if (r->key->type != CONF_ALIASES)
        return wrong(r, "must not be a mapping");
    int status;
    while (!(status = next(r)) && r->event.type != YAML_MAPPING_END_EVENT)
        if ((status = add_alias(r)))
            break;
    return status;
}

static int read_value(struct reader *r)
{
    int status = next(r);
    if (status)
        return status;
    if (r->event.type == YAML_SEQUENCE_START_EVENT)
        return read_list(r);
    if (r->event.type == YAML_MAPPING_START_EVENT)
        return read_aliases(r);
    return read_scalar(r);
}

/* ---- groups and keys ---- */

/* The last event as the name of a group or key; NULL: it is none. */
static const char *key_name(const struct reader *r)
{
    size_t n;
    if (r->event.type != YAML_SCALAR_EVENT)
        return NULL;
    const char *name = scalar(r, &n);
    return strlen(name) == n ? name : NULL;
}

static int unknown(struct reader *r, const char *group, const char *name)
{
    const char *near_group, *near;
    char hint[120] = "";
    if (conf_nearest(group, name, &near_group, &near))
        snprintf(hint, sizeof(hint), "; did you mean %s%s%s?", near_group, near ? "." : "",
                 near ? near : "");
    int shown = (int)utf8_whole(name, min_size(strlen(name), 60));
    err_set(r->err, REALM_E_FORMAT, "%s%s%.*s: there is no such key%s", group ? group : "",
            group ? "." : "", shown, name, hint);
    return put_place(r, REALM_E_FORMAT);
}

static int read_key(struct reader *r, const char *group)
{
    size_t n;
    const struct conf_key *keys = conf_keys(&n);
    const char *name = key_name(r);
    if (!name)
        return wrong(r, "a key must be a word");
    for (size_t i = 0; i < n; i++) {
        if (strcmp(keys[i].group, group) != 0 || strcmp(keys[i].name, name) != 0)
            continue;
        r->key = &keys[i];
        if (r->seen[i])
            return wrong(r, "stands twice");
        r->seen[i] = true;
        int status = read_value(r);
        r->key = NULL;
        return status;
    }
    return unknown(r, group, name);
}

/* The name is the last event. */
static int read_group(struct reader *r, uint64_t *seen)
{
    size_t n, i = 0;
    const struct conf_key *keys = conf_keys(&n);
    const char *name = key_name(r);
    if (!name)
        return wrong(r, "a key must be a word");
    while (i < n && strcmp(keys[i].group, name) != 0)
        i++;
    if (i == n)
        return unknown(r, NULL, name);
    const char *group = keys[i].group;
    if (*seen & 1ull << i) {
        err_set(r->err, REALM_E_FORMAT, "%s: stands twice", group);
        return put_place(r, REALM_E_FORMAT);
    }
    *seen |= 1ull << i;
    int status = next(r);
    if (status)
        return status;
    if (r->event.type == YAML_SCALAR_EVENT && r->event.data.scalar.length == 0)
        return 0; // a group whose keys are all commented out
    if (r->event.type != YAML_MAPPING_START_EVENT) {
        err_set(r->err, REALM_E_FORMAT, "%s: must be a group of keys", group);
        return put_place(r, REALM_E_FORMAT);
    }
    while (!(status = next(r)) && r->event.type != YAML_MAPPING_END_EVENT)
        if ((status = read_key(r, group)))
            break;
    return status;
}

static int read_groups(struct reader *r)
{
    uint64_t seen = 0;
    int status;
    if (r->event.type == YAML_SCALAR_EVENT && r->event.data.scalar.length == 0)
        return 0;
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return wrong(r, "must be groups of keys, as `listen:` and below it `port: 8080`");
    while (!(status = next(r)) && r->event.type != YAML_MAPPING_END_EVENT)
        if ((status = read_group(r, &seen)))
            break;
    return status;
}

_Static_assert(CONF_KEYS_MAX <= 64, "groups are remembered in one word");

static int read_stream(struct reader *r)
{
    int status = next(r); // the stream's start
    if (!status)
        status = next(r);
    if (status || r->event.type == YAML_STREAM_END_EVENT)
        return status;
    status = next(r); // past the document's start
    if (!status)
        status = read_groups(r);
    if (!status)
        status = next(r); // the document's end
    if (!status)
        status = next(r);
    if (!status && r->event.type != YAML_STREAM_END_EVENT)
        status = wrong(r, "a second document");
    return status;
}

/* What was read goes over what c has; nothing of it can fail. */
static void take_over(struct conf *c, struct reader *r)
{
    size_t n;
    const struct conf_key *keys = conf_keys(&n);
    for (size_t i = 0; i < n; i++) {
        const struct conf_key *k = &keys[i];
        if (!r->seen[i])
            continue;
        conf_clear(c, k);
        if (k->type == CONF_TEXT || k->type == CONF_CHOICE) {
            *conf_text(c, k) = *conf_text(&r->conf, k);
            *conf_text(&r->conf, k) = NULL;
        } else if (k->type == CONF_LIST) {
            *conf_list(c, k) = *conf_list(&r->conf, k);
            *conf_count(c, k) = *conf_count(&r->conf, k);
            *conf_list(&r->conf, k) = NULL;
            *conf_count(&r->conf, k) = 0;
        } else if (k->type == CONF_ALIASES) {
            c->aliases = r->conf.aliases;
            c->n_aliases = r->conf.n_aliases;
            r->conf.aliases = NULL;
            r->conf.n_aliases = 0;
        } else {
            conf_set(c, k, conf_get(&r->conf, k));
        }
    }
}

int conf_parse(struct conf *c, const char *name, struct slice text, struct realm_error *err)
{
    struct reader r = {.name = name, .err = err};
    if (text.n > CONF_FILE_BYTES_MAX)
        return err_set(err, REALM_E_FORMAT, "%s: larger than %llu KiB", name,
                       CONF_FILE_BYTES_MAX / KiB);
    /* Given an encoding, libyaml takes a byte order mark for a character. */
    if (text.n >= 3 && memcmp(text.p, "\xEF\xBB\xBF", 3) == 0)
        text = (struct slice){text.p + 3, text.n - 3};
    if (!yaml_parser_initialize(&r.yaml))
        return err_nomem(err, "the configuration");
    yaml_parser_set_encoding(&r.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.yaml, text.p ? text.p : (const uint8_t *)"", text.n);
    int status = read_stream(&r);
    if (!status)
        take_over(c, &r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.yaml);
    conf_free(&r.conf);
    return status;
}

int conf_read(struct conf *c, const char *path, struct realm_error *err)
{
    uint8_t *text;
    size_t n;
    const char *slash = strrchr(path, '/');
    int status = io_read_file(io_system(), path, CONF_FILE_BYTES_MAX, &text, &n, err);
    if (status == REALM_E_LIMIT)
        return err_set(err, REALM_E_FORMAT, "%s: larger than %llu KiB", path,
                       CONF_FILE_BYTES_MAX / KiB);
    if (status)
        return status;
    status = conf_parse(c, slash ? slash + 1 : path, (struct slice){text, n}, err);
    mem_free(text);
    return status;
}
