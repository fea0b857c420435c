/* cmd/realm/pull_choose.c - which of a repository's files to fetch.
 *
 * A model is one file, or the parts NAME-00001-of-0000N.gguf of a split one.  Which type its
 * weights have is read from its name, as everybody who publishes models writes it there. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "pull.h"

enum { LISTED_MAX = 60, PART_ENDING = 20 /* -00001-of-00003.gguf */ };

/* What this build runs, the best first: quality that is hardly worse than the original at the
 * least memory; then what loses less, then what loses more, then what is not quantised, and
 * at last what loses much. */
static const char *const order[] = {
    "Q4_K_M", "Q5_K_M", "Q8_0",   "Q6_K", "Q5_K_S", "Q5_K",   "Q5_1",      "Q5_0", "Q4_K_S",
    "Q4_K",   "IQ4_XS", "IQ4_NL", "Q4_1", "Q4_0",   "BF16",   "F16",       "F32",  "MXFP4",
    "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q3_K", "Q2_K",   "Q2_K_S", "MXFP4_MOE",
};

struct candidate {
    const struct pull_file *first;
    uint32_t parts;
    char label[PULL_LABEL_MAX];
};

struct candidates {
    struct candidate *list;
    size_t n;
};

/* ---- names ---- */

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Length of a type's name at p: F16, BF16, F32, Q8_0, IQ2_XXS, TQ1_0, MXFP4 ...; 0: none. */
static size_t label_at(const char *p)
{
    static const char *const plain[] = {"BF16", "F16", "F32", "MXFP4"};
    static const char *const numbered[] = {"Q", "IQ", "TQ"};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(plain) && !n; i++)
        if (strncasecmp(p, plain[i], strlen(plain[i])) == 0)
            n = strlen(plain[i]);
    for (size_t i = 0; i < ARRAY_LEN(numbered) && !n; i++) {
        size_t letters = strlen(numbered[i]);
        if (strncasecmp(p, numbered[i], letters) == 0 && isdigit((unsigned char)p[letters]) &&
            p[letters + 1] == '_')
            n = letters + 2;
    }
    if (!n)
        return 0;
    while (is_word(p[n]))
        n++;
    return n < PULL_LABEL_MAX ? n : 0;
}

/* The last that stands there as a word of its own. */
static bool label_in(const char *text, size_t text_n, char out[PULL_LABEL_MAX])
{
    for (size_t i = text_n; i-- > 0;) {
        size_t n = i == 0 || !isalnum((unsigned char)text[i - 1]) ? label_at(text + i) : 0;
        if (!n || i + n > text_n)
            continue;
        for (size_t j = 0; j < n; j++)
            out[j] = (char)toupper((unsigned char)text[i + j]);
        out[n] = '\0';
        return true;
    }
    return false;
}

void pull_label(const char *path, char out[PULL_LABEL_MAX])
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    out[0] = '\0';
    if (!label_in(name, strlen(name), out) && slash)
        label_in(path, (size_t)(slash - path), out); // Q8_0/part-00001-of-00002.gguf
}

static bool is_number(const char *p)
{
    for (int i = 0; i < 5; i++)
        if (p[i] < '0' || p[i] > '9')
            return false;
    return true;
}

/* Where the numbers of a split file's name begin; 0 for the name of a whole one. */
static size_t split_stem(const char *name, uint32_t *no, uint32_t *count)
{
    size_t n = strlen(name);
    if (n <= PART_ENDING)
        return 0;
    const char *ending = name + (n - PART_ENDING); // -00001-of-00003.gguf
    if (ending[0] != '-' || !is_number(ending + 1) || memcmp(ending + 6, "-of-", 4) != 0 ||
        !is_number(ending + 10) || strcasecmp(ending + 15, ".gguf") != 0)
        return 0;
    unsigned long a = strtoul(ending + 1, NULL, 10), b = strtoul(ending + 10, NULL, 10);
    if (a == 0 || a > b || b > GGUF_SPLITS_MAX)
        return 0;
    *no = (uint32_t)a;
    *count = (uint32_t)b;
    return n - PART_ENDING;
}

static const char *last_component(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Whether the wish is a file's path or name; any part's will do. */
static bool is_named(const char *wish, const char *path)
{
    const char *name = strchr(wish, '/') ? path : last_component(path);
    uint32_t no, count, wish_no, wish_count;
    if (strcmp(wish, name) == 0)
        return true;
    size_t stem = split_stem(name, &no, &count);
    return stem && stem == split_stem(wish, &wish_no, &wish_count) && count == wish_count &&
           strncmp(wish, name, stem) == 0;
}

/* A name that lies in a folder and nowhere else, and does not play with terminals. */
static int check_name(const struct pull_file *f, struct realm_error *err)
{
    bool good = f->path[0] != '/' && f->name[0] && f->name[0] != '.' && f->name[0] != '-' &&
                strlen(f->name) <= PULL_NAME_MAX;
    for (const char *p = f->path; p && good; p = strchr(p, '/')) {
        p += p != f->path;
        size_t n = strcspn(p, "/");
        good = n && !(n == 1 && p[0] == '.') && !(n == 2 && p[0] == '.' && p[1] == '.');
    }
    for (const char *p = f->path; *p && good; p++)
        good = (unsigned char)*p >= ' ' && *p != 0x7f && *p != '\\';
    return good ? 0
                : err_set(err, REALM_E_FORMAT,
                          "the hub names a file '%.*s', which is no name for a file in a folder; "
                          "it is not fetched",
                          100, f->path);
}

/* ---- candidates ---- */

static int by_path(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return strcmp(x->first->path, y->first->path);
}

/* Projectors of images and importance matrices are GGUF files, but no models. */
static bool is_model(const char *name)
{
    return !strcasestr(name, "mmproj") && !strcasestr(name, "imatrix");
}

static int find_candidates(const struct pull_tree *t, struct candidates *out,
                           struct realm_error *err)
{
    out->n = 0;
    out->list = mem_array(t->n, sizeof(*out->list));
    if (!out->list)
        return err_nomem(err, "the models of a repository");
    for (size_t i = 0; i < t->n; i++) {
        uint32_t no = 1, count = 1;
        const struct pull_file *f = &t->files[i];
        split_stem(f->name, &no, &count);
        if (no != 1 || !is_model(f->name))
            continue;
        struct candidate *c = &out->list[out->n++];
        *c = (struct candidate){.first = f, .parts = count};
        pull_label(f->path, c->label);
    }
    qsort(out->list, out->n, sizeof(*out->list), by_path);
    return 0;
}

/* The part's number where f belongs to the split model that begins with first; else 0. */
static uint32_t part_number(const struct pull_file *f, const struct pull_file *first)
{
    uint32_t no, count, first_no, first_count;
    size_t stem = split_stem(first->path, &first_no, &first_count);
    bool same = stem && split_stem(f->path, &no, &count) == stem && count == first_count &&
                strncmp(f->path, first->path, stem) == 0;
    return same ? no : 0;
}

static uint64_t bytes_of(const struct pull_tree *t, const struct candidate *c)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < t->n && c->parts > 1; i++)
        bytes += part_number(&t->files[i], c->first) ? t->files[i].size : 0;
    return c->parts > 1 ? bytes : c->first->size;
}

const char *pull_size(char out[16], uint64_t bytes)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < ARRAY_LEN(units)) {
        value /= 1000;
        unit++;
    }
    snprintf(out, 16, unit && value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return out;
}

/* A list that is cut when memory is short is still a list. */
static void describe(const struct pull_tree *t, const struct candidates *all, struct buf *list)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct candidate *c = &all->list[i];
        char size[16];
        if (i == LISTED_MAX) {
            (void)!buf_addf(list, "  and %zu more\n", all->n - i);
            return;
        }
        (void)!buf_addf(list, "  %-8s %8s  ", c->label[0] ? c->label : "?",
                        pull_size(size, bytes_of(t, c)));
        for (const char *p = c->first->path; *p; p++)
            (void)!buf_addch(list, (unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p);
        if (c->parts > 1)
            (void)!buf_addf(list, " (%u parts)", c->parts);
        (void)!buf_addch(list, '\n');
    }
}

/* ---- the choice ---- */

/* How many fit, and the first that does. */
static size_t count_label(const struct candidates *all, const char *label,
                          const struct candidate **out)
{
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++)
        if (strcasecmp(all->list[i].label, label) == 0 && n++ == 0)
            *out = &all->list[i];
    return n;
}

static size_t count_named(const struct candidates *all, const char *wish,
                          const struct candidate **out)
{
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++)
        if (is_named(wish, all->list[i].first->path) && n++ == 0)
            *out = &all->list[i];
    return n;
}

static int choose_wish(const struct candidates *all, const char *wish, const struct candidate **out,
                       struct realm_error *err)
{
    size_t n = count_named(all, wish, out);
    if (n == 0)
        n = count_label(all, wish, out);
    if (n == 0)
        return err_set(err, REALM_E_NOT_FOUND, "it has no %.100s; it has", wish);
    if (n > 1)
        return err_set(err, REALM_E_ARG, "%.100s means %zu models; name one by its file", wish, n);
    return 0;
}

static int choose_best(const struct candidates *all, const struct candidate **out,
                       struct realm_error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        size_t n = count_label(all, order[i], out);
        if (n > 1)
            return err_set(err, REALM_E_ARG,
                           "it has %zu models as %s; name one, as OWNER/NAME:FILE", n, order[i]);
        if (n == 1)
            return 0;
    }
    *out = all->list;
    if (all->n == 1 && !all->list[0].label[0])
        return 0;
    return err_set(err, REALM_E_NOT_FOUND,
                   "no file's name says a type of weights that this build runs; name one, as "
                   "OWNER/NAME:FILE");
}

static bool label_runs(const char *label)
{
    bool runs = !label[0];
    for (size_t i = 0; i < ARRAY_LEN(order) && !runs; i++)
        runs = strcmp(order[i], label) == 0;
    return runs;
}

static int take(const struct pull_tree *t, const struct candidate *c, struct pull_choice *out,
                struct realm_error *err)
{
    *out = (struct pull_choice){.n = c->parts, .runs = label_runs(c->label)};
    snprintf(out->label, sizeof(out->label), "%s", c->label);
    out->files[0] = c->first;
    for (size_t i = 0; i < t->n && c->parts > 1; i++) {
        uint32_t no = part_number(&t->files[i], c->first);
        if (no)
            out->files[no - 1] = &t->files[i];
    }
    for (uint32_t i = 0; i < c->parts; i++) {
        if (!out->files[i])
            return err_set(err, REALM_E_FORMAT, "of %.100s part %u of %u is not on the hub",
                           c->first->name, i + 1, c->parts);
        int status = check_name(out->files[i], err);
        if (status)
            return status;
    }
    return 0;
}

int pull_choose(const struct pull_tree *t, const char *wish, struct pull_choice *out,
                struct buf *list, struct realm_error *err)
{
    struct candidates all;
    const struct candidate *chosen = NULL;
    int status = find_candidates(t, &all, err);
    if (status)
        return status;
    if (all.n == 0)
        status =
            err_set(err, REALM_E_NOT_FOUND,
                    "it has no model in GGUF files; a repository that has often ends in -GGUF");
    else if (wish)
        status = choose_wish(&all, wish, &chosen, err);
    else
        status = choose_best(&all, &chosen, err);
    if (status)
        describe(t, &all, list);
    else
        status = take(t, chosen, out, err);
    mem_free(all.list);
    return status;
}
