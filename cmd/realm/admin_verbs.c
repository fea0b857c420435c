/* cmd/realm/admin_verbs.c - `realm WHAT VERB OPERANDS`: which verb it is. */
#include <string.h>

#include "admin.h"

/* Whether the word is one of those in names. */
static bool has_name(const char *names, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = names; n && *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        if (length == n && memcmp(at, word, n) == 0)
            return true;
        at += length;
    }
    return false;
}

static int count_words(const char *text)
{
    int n = text && *text ? 1 : 0;
    for (; n && *text; text++)
        n += *text == ' ';
    return n;
}

static int no_such_verb(const char *cmd, const struct admin_verb *verbs, size_t n,
                        const char *given)
{
    char known[256] = "";
    for (size_t i = 0; i < n; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof(known) - used, "%s%.*s", i ? ", " : "",
                 (int)strcspn(verbs[i].names, " "), verbs[i].names);
    }
    return cmd_usage(cmd, "there is no `realm %s %s`; there are: %s", cmd, given, known);
}

int admin_run(const char *cmd, const struct admin_target *at, const struct admin_verb *verbs,
              size_t n, int argc, char **argv, void *ctx)
{
    const struct admin_verb *v = argc ? NULL : &verbs[0];
    struct admin *a;
    for (size_t i = 0; i < n && !v; i++)
        if (has_name(verbs[i].names, argv[0]))
            v = &verbs[i];
    if (!v)
        return no_such_verb(cmd, verbs, n, argv[0]);
    int wanted = count_words(v->operands), given = argc ? argc - 1 : 0;
    if (given != wanted)
        return cmd_usage(cmd, "the form is `realm %s %.*s%s%s`; `realm %s --help` tells more", cmd,
                         (int)strcspn(v->names, " "), v->names, v->operands ? " " : "",
                         v->operands ? v->operands : "", cmd);
    int status = admin_open(&a, cmd, at);
    if (status >= 0)
        return status;
    status = v->run(ctx, a, argv + 1);
    admin_close(a);
    return status;
}
