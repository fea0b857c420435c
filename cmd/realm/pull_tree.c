/* cmd/realm/pull_tree.c - what a repository holds, by the hub's API: pages of JSON. */
#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "chat/json.h"
#include "pull.h"

/* ---- a page as a sink ---- */

static uint64_t page_offset(void *ctx)
{
    (void)ctx;
    return 0;
}

static int page_begin(void *ctx, uint64_t offset, const char *etag, struct realm_error *err)
{
    (void)offset, (void)etag, (void)err;
    buf_clear(ctx);
    return 0;
}

static int page_data(void *ctx, const void *p, size_t n, struct realm_error *err)
{
    int status = buf_add(ctx, p, n);
    if (status == REALM_E_LIMIT)
        return err_set(err, status, "a page of the hub's listing is over %llu MiB",
                       PULL_PAGE_BYTES_MAX / MiB);
    return status ? err_nomem(err, "the hub's listing") : 0;
}

static bool page_whole(void *ctx)
{
    (void)ctx;
    return true; // libcurl knows; what is cut is no JSON
}

/* ---- entries ---- */

static const char *text_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value) || json_string_length(value) != strlen(json_string_value(value)))
        return NULL;
    return json_string_value(value);
}

static bool size_of(const json_t *object, uint64_t *out)
{
    const json_t *value = json_object_get(object, "size");
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

/* n hexadecimal digits, in lower case; out stays "" for anything else. */
static void copy_hex(char *out, const char *text, size_t n)
{
    if (!text || strlen(text) != n || strspn(text, "0123456789abcdefABCDEF") != n)
        return;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] + 'a' - 'A' : text[i]);
    out[n] = '\0';
}

static bool is_gguf(const char *path)
{
    size_t n = strlen(path);
    return n > 5 && strcasecmp(path + n - 5, ".gguf") == 0;
}

static int grow(struct pull_tree *t, struct realm_error *err)
{
    if (t->n == PULL_FILES_MAX)
        return err_set(err, REALM_E_LIMIT, "it has over %d GGUF files", PULL_FILES_MAX);
    if (t->n < t->room)
        return 0;
    size_t room = t->room ? 2 * t->room : 16;
    struct pull_file *files = mem_realloc_array(t->files, room, sizeof(*files));
    if (!files)
        return err_nomem(err, "the hub's listing");
    t->files = files;
    t->room = room;
    return 0;
}

static int add_entry(struct pull_tree *t, const json_t *entry, struct realm_error *err)
{
    const char *type = text_of(entry, "type"), *path = text_of(entry, "path");
    if (!type || !path)
        return err_set(err, REALM_E_FORMAT, "an entry of the hub's listing has no type or path");
    if (strcmp(type, "file") != 0 || !is_gguf(path))
        return 0;
    const json_t *lfs = json_object_get(entry, "lfs");
    struct pull_file f = {0};
    if (!size_of(json_is_object(lfs) ? lfs : entry, &f.size))
        return err_set(err, REALM_E_FORMAT, "the hub's listing gives no size for %s", path);
    if (json_is_object(lfs))
        copy_hex(f.sha256, text_of(lfs, "oid"), PULL_SHA256_HEX);
    else
        copy_hex(f.git, text_of(entry, "oid"), PULL_GIT_HEX);
    int status = grow(t, err);
    if (status)
        return status;
    f.path = mem_strdup(path);
    if (!f.path)
        return err_nomem(err, "the hub's listing");
    const char *slash = strrchr(f.path, '/');
    f.name = slash ? slash + 1 : f.path;
    t->files[t->n++] = f;
    return 0;
}

/* The page is an array; the reader of foreign JSON takes objects. */
static int read_array(struct slice page, json_t **out, struct realm_error *err)
{
    static const char head[] = "{\"tree\":";
    struct buf text;
    *out = NULL;
    buf_init(&text, page.n + sizeof(head) + 1);
    int status = buf_addf(&text, "%s", head);
    if (!status)
        status = buf_add(&text, page.p, page.n);
    if (!status)
        status = buf_addch(&text, '}');
    if (status)
        err_nomem(err, "the hub's listing");
    else if ((status = json_read((const char *)text.p, text.n, out, err)))
        err_prefix(err, REALM_E_FORMAT, "the hub's listing cannot be read");
    buf_free(&text);
    return status == REALM_E_ARG ? REALM_E_FORMAT : status;
}

int pull_tree_add(struct pull_tree *t, struct slice page, struct realm_error *err)
{
    json_t *object;
    int status = read_array(page, &object, err);
    if (status)
        return status;
    const json_t *array = json_object_get(object, "tree");
    if (!json_is_array(array))
        status = err_set(err, REALM_E_FORMAT, "the hub's listing is no list; is this a hub?");
    for (size_t i = 0; !status && i < json_array_size(array); i++)
        status = add_entry(t, json_array_get(array, i), err);
    json_decref(object);
    return status;
}

/* ---- pages ---- */

static int first_url(struct buf *url, const struct pull_source *from, struct realm_error *err)
{
    int status = buf_addf(url, "%s/api/models/%s/tree/", from->hub, from->model);
    if (!status)
        status = pull_url_escape(url, from->revision, false);
    if (!status)
        status = buf_addf(url, "?recursive=true");
    return status ? err_set(err, status, "the address would be too long") : 0;
}

/* Puts the address of the next page into url; empty where there is none. */
static int next_url(struct buf *url, const struct pull_http *h, struct realm_error *err)
{
    struct buf next;
    buf_init(&next, url->max);
    const char *base = buf_cstr(url);
    int status = base ? 0 : err_nomem(err, "an address");
    if (!status && pull_http_next(h)[0])
        status = pull_url_follow(base, pull_http_next(h), &next, err);
    buf_free(url);
    *url = next;
    return status;
}

int pull_tree_get(struct pull_tree *t, struct pull_http *h, const struct pull_source *from,
                  struct realm_error *err)
{
    struct buf url, page;
    const struct pull_sink sink = {page_offset, page_begin, page_data, page_whole, NULL, &page};
    *t = (struct pull_tree){0};
    buf_init(&url, 8192);
    buf_init(&page, PULL_PAGE_BYTES_MAX);
    int status = first_url(&url, from, err);
    for (unsigned pages = 0; !status && url.n; pages++) {
        const char *address = buf_cstr(&url);
        buf_clear(&page);
        if (pages == PULL_PAGES_MAX)
            status =
                err_set(err, REALM_E_LIMIT, "the hub's listing has over %d pages", PULL_PAGES_MAX);
        else if (!address)
            status = err_nomem(err, "an address");
        if (!status)
            status = pull_http_get(h, address, &sink, err);
        if (!status)
            status = pull_tree_add(t, buf_slice(&page), err);
        if (!status)
            status = next_url(&url, h, err);
    }
    buf_free(&url);
    buf_free(&page);
    return status;
}

void pull_tree_free(struct pull_tree *t)
{
    for (size_t i = 0; i < t->n; i++)
        mem_free(t->files[i].path);
    mem_free(t->files);
    *t = (struct pull_tree){0};
}
