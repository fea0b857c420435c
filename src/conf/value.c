/* conf/value.c - one key's value: from text, to text, and in struct conf. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "conf/keys.h"

static void *place(const struct conf *c, size_t at)
{
    return (char *)(uintptr_t)c + at;
}

char **conf_text(struct conf *c, const struct conf_key *k)
{
    return place(c, k->at);
}

size_t *conf_count(struct conf *c, const struct conf_key *k)
{
    return place(c, k->count_at);
}

char ***conf_list(struct conf *c, const struct conf_key *k)
{
    return place(c, k->at);
}

uint64_t conf_get(const struct conf *c, const struct conf_key *k)
{
    const void *p = place(c, k->at);
    switch (k->type) {
    case CONF_FLAG:
        return *(const bool *)p;
    case CONF_ENUM:
        return (uint64_t) * (const enum realm_kv_type *)p;
    case CONF_U16:
        return *(const uint16_t *)p / k->scale;
    case CONF_U32:
        return *(const uint32_t *)p / k->scale;
    default:
        ASSERT(k->type == CONF_BYTES);
        return *(const uint64_t *)p / k->scale;
    }
}

void conf_set(struct conf *c, const struct conf_key *k, uint64_t value)
{
    void *p = place(c, k->at);
    switch (k->type) {
    case CONF_FLAG:
        *(bool *)p = value != 0;
        break;
    case CONF_ENUM:
        *(enum realm_kv_type *)p = (enum realm_kv_type)value;
        break;
    case CONF_U16:
        *(uint16_t *)p = (uint16_t)(value * k->scale);
        break;
    case CONF_U32:
        *(uint32_t *)p = cast_u32(value * k->scale);
        break;
    default:
        ASSERT(k->type == CONF_BYTES);
        *(uint64_t *)p = value * k->scale;
    }
}

void conf_clear(struct conf *c, const struct conf_key *k)
{
    if (k->type == CONF_TEXT || k->type == CONF_CHOICE) {
        mem_free(*conf_text(c, k));
        *conf_text(c, k) = NULL;
    } else if (k->type == CONF_LIST) {
        char ***list = conf_list(c, k);
        for (size_t i = 0; i < *conf_count(c, k); i++)
            mem_free((*list)[i]);
        mem_free(*list);
        *list = NULL;
        *conf_count(c, k) = 0;
    } else if (k->type == CONF_ALIASES) {
        for (size_t i = 0; i < c->n_aliases; i++) {
            mem_free(c->aliases[i].name);
            mem_free(c->aliases[i].model);
        }
        mem_free(c->aliases);
        c->aliases = NULL;
        c->n_aliases = 0;
    }
}

/* ---- from text ---- */

int conf_copy_text(char **out, const char *text, size_t n, struct realm_error *err)
{
    if (n == 0)
        return err_set(err, REALM_E_FORMAT, "must not be empty");
    if (n > CONF_TEXT_MAX)
        return err_set(err, REALM_E_FORMAT, "is longer than %d bytes", CONF_TEXT_MAX);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return err_set(err, REALM_E_FORMAT, "has a control character");
    *out = mem_strndup(text, n);
    return *out ? 0 : err_nomem(err, "the configuration");
}

/* A value as messages show it: the beginning, whole characters. */
static int shown(const char *text, size_t n)
{
    return (int)utf8_whole(text, min_size(n, 60));
}

static bool is(const char *text, size_t n, const char *word)
{
    return n == strlen(word) && memcmp(text, word, n) == 0;
}

/* Digits at the beginning: how many, 0 too when the number is too large. */
static size_t digits(const char *text, size_t n, uint64_t *value)
{
    size_t i = 0;
    *value = 0;
    for (; i < n && text[i] >= '0' && text[i] <= '9'; i++)
        if (!ckd_mul_u64(*value, 10, value) ||
            !ckd_add_u64(*value, (uint64_t)(text[i] - '0'), value))
            return 0;
    return i;
}

static const struct {
    const char *name;
    unsigned shift;
} units[] = {{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}, {"", 0}};

static bool read_number(const struct conf_key *k, const char *text, size_t n, uint64_t *value)
{
    size_t i = digits(text, n, value);
    if (i == 0 || (i > 1 && text[0] == '0'))
        return false;
    if (k->type != CONF_BYTES)
        return i == n;
    for (size_t u = 0; u < ARRAY_LEN(units); u++)
        if (is(text + i, n - i, units[u].name))
            return ckd_mul_u64(*value, 1ull << units[u].shift, value);
    return false;
}

static int number_value(struct conf *c, const struct conf_key *k, const char *text, size_t n,
                        struct realm_error *err)
{
    uint64_t value;
    if (read_number(k, text, n, &value) && value >= k->min && value <= k->max) {
        conf_set(c, k, value);
        return 0;
    }
    if (k->type != CONF_BYTES)
        return err_set(err, REALM_E_FORMAT, "must be a whole number from %llu to %llu, not '%.*s'",
                       (unsigned long long)k->min, (unsigned long long)k->max, shown(text, n),
                       text);
    struct buf range;
    buf_init(&range, 64);
    int status = conf_show_bytes(k->min, &range);
    if (!status)
        status = buf_add(&range, " to ", 4);
    if (!status)
        status = conf_show_bytes(k->max, &range);
    if (status)
        err_nomem(err, "the configuration");
    else
        status = err_set(err, REALM_E_FORMAT, "must be bytes, as 8GiB, from %.*s, not '%.*s'",
                         (int)range.n, (const char *)range.p, shown(text, n), text);
    buf_free(&range);
    return status;
}

/* "text or json" */
static void list_choices(const struct conf_key *k, char *out, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < CONF_CHOICES_MAX && k->choices[i] && at < n; i++) {
        bool last = i + 1 == CONF_CHOICES_MAX || !k->choices[i + 1];
        at += (size_t)snprintf(out + at, n - at, "%s%s",
                               !i     ? ""
                               : last ? " or "
                                      : ", ",
                               k->choices[i]);
    }
}

static int choice_value(struct conf *c, const struct conf_key *k, const char *text, size_t n,
                        struct realm_error *err)
{
    char choices[80];
    for (size_t i = 0; i < CONF_CHOICES_MAX && k->choices[i]; i++) {
        if (!is(text, n, k->choices[i]))
            continue;
        if (k->type == CONF_CHOICE)
            return conf_copy_text(conf_text(c, k), text, n, err);
        conf_set(c, k, i);
        return 0;
    }
    list_choices(k, choices, sizeof(choices));
    return err_set(err, REALM_E_FORMAT, "must be %s, not '%.*s'", choices, shown(text, n), text);
}

int conf_value(struct conf *c, const struct conf_key *k, const char *text, size_t n, bool plain,
               struct realm_error *err)
{
    bool null = plain && (n == 0 || is(text, n, "null") || is(text, n, "~"));
    if (null && k->type == CONF_TEXT && !k->text)
        return 0;
    if (null)
        return err_set(err, REALM_E_FORMAT, "has no value");
    switch (k->type) {
    case CONF_TEXT:
        return conf_copy_text(conf_text(c, k), text, n, err);
    case CONF_CHOICE:
    case CONF_ENUM:
        return choice_value(c, k, text, n, err);
    case CONF_FLAG:
        if (!is(text, n, "true") && !is(text, n, "false"))
            return err_set(err, REALM_E_FORMAT, "must be true or false, not '%.*s'", shown(text, n),
                           text);
        conf_set(c, k, text[0] == 't');
        return 0;
    case CONF_LIST:
        return err_set(err, REALM_E_FORMAT, "must be a list");
    case CONF_ALIASES:
        return err_set(err, REALM_E_FORMAT, "must be a mapping from names to models");
    default:
        return number_value(c, k, text, n, err);
    }
}

/* ---- to text ---- */

int conf_show_bytes(uint64_t bytes, struct buf *out)
{
    size_t u = 0;
    while (units[u].shift && (bytes == 0 || bytes % (1ull << units[u].shift)))
        u++;
    return buf_addf(out, "%llu%s", (unsigned long long)(bytes >> units[u].shift), units[u].name);
}

/* No character that ends a line or is not printable stands as it is. */
int conf_show_text(const char *text, struct buf *out)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t left = strlen(text);
    uint32_t cp;
    int status = buf_addch(out, '"');
    while (!status && left) {
        int width = utf8_decode(p, left, &cp);
        size_t took = width > 0 ? (size_t)width : 1;
        if (width <= 0)
            status = buf_addf(out, "\\uFFFD");
        else if (cp == '"' || cp == '\\')
            status = buf_addf(out, "\\%c", (int)cp);
        else if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || (cp >= 0x2000 && cp < 0x2070) ||
                 (cp >= 0xfe00 && cp <= 0xffff))
            status = buf_addf(out, "\\u%04X", cp);
        else
            status = buf_add(out, p, took);
        p += took;
        left -= took;
    }
    return status ? status : buf_addch(out, '"');
}

int conf_show(const struct conf *c, const struct conf_key *k, struct buf *out)
{
    const char *text;
    switch (k->type) {
    case CONF_TEXT:
        text = *(char **)place(c, k->at);
        return text ? conf_show_text(text, out) : buf_addf(out, "null");
    case CONF_CHOICE:
        return buf_addf(out, "%s", *(char **)place(c, k->at));
    case CONF_ENUM:
        return buf_addf(out, "%s", k->choices[conf_get(c, k)]);
    case CONF_FLAG:
        return buf_addf(out, "%s", conf_get(c, k) ? "true" : "false");
    case CONF_BYTES:
        return conf_show_bytes(conf_get(c, k), out);
    default:
        return buf_addf(out, "%llu", (unsigned long long)conf_get(c, k));
    }
}
