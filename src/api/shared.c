#include "api/shared.h"

#include <string.h>

#include "base/mem.h"
#include "base/thread.h"

struct shared {
    struct mutex lock;
    char **texts; /* under lock */
    size_t n;     /* under lock */
};

int shared_open(struct shared **out)
{
    *out = NULL;
    struct shared *s = mem_zalloc(sizeof(*s));
    if (!s)
        return REALM_E_NOMEM;
    int status = mutex_init(&s->lock);
    if (status)
        mem_free(s);
    else
        *out = s;
    return status;
}

static void free_texts(char **texts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free(texts[i]);
    mem_free(texts);
}

void shared_close(struct shared *s)
{
    if (!s)
        return;
    free_texts(s->texts, s->n);
    mutex_destroy(&s->lock);
    mem_free(s);
}

int shared_set(struct shared *s, const char *const *texts, size_t n)
{
    char **copies = mem_zarray(n, sizeof(*copies));
    bool whole = copies != NULL;
    for (size_t i = 0; whole && i < n; i++)
        whole = (copies[i] = mem_strdup(texts[i])) != NULL;
    if (!whole) {
        if (copies)
            free_texts(copies, n);
        return REALM_E_NOMEM;
    }
    mutex_lock(&s->lock);
    char **old = s->texts;
    size_t n_old = s->n;
    s->texts = copies;
    s->n = n;
    mutex_unlock(&s->lock);
    free_texts(old, n_old);
    return 0;
}

static size_t longest_beginning(struct shared *s, const char *text, size_t bytes)
{
    size_t longest = 0;
    mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n; i++) {
        size_t n = strlen(s->texts[i]);
        if (n > longest && n <= bytes && memcmp(s->texts[i], text, n) == 0)
            longest = n;
    }
    mutex_unlock(&s->lock);
    return longest;
}

size_t shared_of_text(struct shared *s, const char *text, size_t bytes)
{
    return text ? longest_beginning(s, text, bytes) : 0;
}

/* The first message, if it is the system's; what its sender may say beside it is in variables,
 * which a template could write before it. */
size_t shared_of_messages(struct shared *s, const struct ask *a, const struct chat_prompt *p)
{
    const json_t *first = json_array_get(a->messages, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    const json_t *content = json_object_get(first, "content");
    if (!role || strcmp(role, "system") != 0 || !json_is_string(content) || a->variables ||
        !p->text)
        return 0;
    size_t n = longest_beginning(s, json_string_value(content), json_string_length(content));
    const char *at = n ? memmem(p->text, p->bytes, json_string_value(content), n) : NULL;
    return at ? (size_t)(at - p->text) + n : 0;
}
