/* conf/print.c - the configuration as a file that explains itself. */
#include <string.h>

#include "base/err.h"
#include "conf/keys.h"

enum { COLUMNS = 92 };

/* A comment, broken at spaces. */
static int comment(const char *text, struct buf *out)
{
    int status = 0;
    while (!status && *text) {
        size_t n = strlen(text);
        if (n > COLUMNS) {
            for (n = COLUMNS; n > 0 && text[n] != ' ';)
                n--;
            n = n ? n : COLUMNS;
        }
        status = buf_addf(out, "  # %.*s\n", (int)n, text);
        for (text += n; *text == ' ';)
            text++;
    }
    return status;
}

/* "0 to 65535; default 8080; a reload takes it over" */
static int range(const struct conf_key *k, const struct conf *defaults, struct buf *out)
{
    int status = 0;
    switch (k->type) {
    case CONF_U16:
    case CONF_U32:
        status =
            buf_addf(out, "%llu to %llu; ", (unsigned long long)k->min, (unsigned long long)k->max);
        break;
    case CONF_BYTES:
        status = conf_show_bytes(k->min, out);
        if (!status)
            status = buf_addf(out, " to ");
        if (!status)
            status = conf_show_bytes(k->max, out);
        if (!status)
            status = buf_addf(out, "; ");
        break;
    case CONF_CHOICE:
    case CONF_ENUM:
        for (size_t i = 0; !status && i < CONF_CHOICES_MAX && k->choices[i]; i++)
            status = buf_addf(out, "%s%s", i ? ", " : "", k->choices[i]);
        if (!status)
            status = buf_addf(out, "; ");
        break;
    default:
        break;
    }
    if (!status && k->type != CONF_LIST && k->type != CONF_ALIASES) {
        status = buf_addf(out, "default ");
        if (!status)
            status = conf_show(defaults, k, out);
        if (!status)
            status = buf_addf(out, "; ");
    }
    return status ? status
                  : buf_addf(out, k->live ? "a reload takes it over" : "needs a new start");
}

static int list(const struct conf *c, const struct conf_key *k, struct buf *out)
{
    char **items = *conf_list((struct conf *)(uintptr_t)c, k);
    size_t n = *conf_count((struct conf *)(uintptr_t)c, k);
    int status = buf_addf(out, "  %s:%s\n", k->name, n ? "" : " []");
    for (size_t i = 0; !status && i < n; i++) {
        status = buf_addf(out, "    - ");
        if (!status)
            status = conf_show_text(items[i], out);
        if (!status)
            status = buf_addch(out, '\n');
    }
    return status;
}

static int aliases(const struct conf *c, const struct conf_key *k, struct buf *out)
{
    int status = buf_addf(out, "  %s:%s\n", k->name, c->n_aliases ? "" : " {}");
    for (size_t i = 0; !status && i < c->n_aliases; i++) {
        /* "? " lets a name be longer than the 1024 characters that YAML gives a plain key. */
        status = buf_addf(out, "    ? ");
        if (!status)
            status = conf_show_text(c->aliases[i].name, out);
        if (!status)
            status = buf_addf(out, "\n    : ");
        if (!status)
            status = conf_show_text(c->aliases[i].model, out);
        if (!status)
            status = buf_addch(out, '\n');
    }
    return status;
}

static int value(const struct conf *c, const struct conf_key *k, struct buf *out)
{
    if (k->type == CONF_LIST)
        return list(c, k, out);
    if (k->type == CONF_ALIASES)
        return aliases(c, k, out);
    int status = buf_addf(out, "  %s: ", k->name);
    if (!status)
        status = conf_show(c, k, out);
    return status ? status : buf_addch(out, '\n');
}

static int key(const struct conf *c, const struct conf_key *k, const struct conf *defaults,
               struct buf *out)
{
    struct buf second;
    buf_init(&second, 4096);
    int status = range(k, defaults, &second);
    const char *text = status ? NULL : buf_cstr(&second);
    if (!status && !text)
        status = REALM_E_NOMEM;
    if (!status)
        status = comment(k->help, out);
    if (!status)
        status = comment(text, out);
    if (!status)
        status = value(c, k, out);
    buf_free(&second);
    return status;
}

int conf_print(const struct conf *c, struct buf *out)
{
    struct conf defaults;
    size_t n;
    const struct conf_key *keys = conf_keys(&n);
    int status = conf_init(&defaults);
    if (status)
        return status;
    status = buf_addf(out, "# Configuration of `realm serve`: realm serve --config FILE\n");
    for (size_t i = 0; !status && i < n; i++) {
        if (i == 0 || strcmp(keys[i].group, keys[i - 1].group) != 0)
            status = buf_addf(out, "\n%s:\n", keys[i].group);
        else
            status = buf_addch(out, '\n');
        if (!status)
            status = key(c, &keys[i], &defaults, out);
    }
    conf_free(&defaults);
    return status;
}
