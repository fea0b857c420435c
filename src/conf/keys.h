/* conf/keys.h - the table of keys, and one key's value as text.  Of this layer alone. */
#ifndef CONF_KEYS_H
#define CONF_KEYS_H

#include <stddef.h>

#include "base/buf.h"
#include "conf/conf.h"

enum conf_type {
    CONF_TEXT,   /* char *; NULL when the default is NULL */
    CONF_CHOICE, /* char *, one of choices */
    CONF_ENUM,   /* enum realm_kv_type, a place in choices */
    CONF_FLAG,
    CONF_U16,
    CONF_U32,
    CONF_BYTES,   /* uint64_t; "8GiB" */
    CONF_LIST,    /* char **, and the count at count_at */
    CONF_ALIASES, /* struct conf_alias *, and the count at count_at */
};

enum { CONF_CHOICES_MAX = 4, CONF_KEYS_MAX = 64 };

struct conf_key {
    const char *group, *name;
    enum conf_type type;
    size_t at, count_at; /* in struct conf */
    uint64_t min, max;   /* of numbers, as the file has them */
    uint32_t scale;      /* a number in struct conf is the file's times this; 0: 1 */
    uint64_t number;     /* default, as the file has it */
    const char *text;    /* default of texts and choices */
    const char *choices[CONF_CHOICES_MAX];
    bool live; /* taken over by a reload */
    const char *help;
};

/* In the order in which they are printed: a group's keys stand together. */
const struct conf_key *conf_keys(size_t *n);

/* A number in struct conf, as the file has it; for all types but texts and lists. */
uint64_t conf_get(const struct conf *c, const struct conf_key *k);
void conf_set(struct conf *c, const struct conf_key *k, uint64_t value);

char **conf_text(struct conf *c, const struct conf_key *k);
size_t *conf_count(struct conf *c, const struct conf_key *k);
char ***conf_list(struct conf *c, const struct conf_key *k);

/* Frees what k's value owns; it is then not given. */
void conf_clear(struct conf *c, const struct conf_key *k);
/* From a scalar's text; plain: it has no quotes.  REALM_E_FORMAT: why, without a name;
 * REALM_E_NOMEM. */
MUST_USE int conf_value(struct conf *c, const struct conf_key *k, const char *text, size_t n,
                        bool plain, struct realm_error *err);
/* A text by itself, checked as those of lists are. */
MUST_USE int conf_copy_text(char **out, const char *text, size_t n, struct realm_error *err);

/* "16", "4MiB", "true", "f16"; for all types but lists. */
MUST_USE int conf_show(const struct conf *c, const struct conf_key *k, struct buf *out);
MUST_USE int conf_show_bytes(uint64_t bytes, struct buf *out);
/* Double-quoted, for any reader of YAML. */
MUST_USE int conf_show_text(const char *text, struct buf *out);

/* What somebody who wrote name (in group; NULL: at the top) may have meant: a group (*key is
 * then NULL) or a key; false: nothing is near. */
bool conf_nearest(const char *group, const char *name, const char **near_group, const char **key);

#endif
