#include "text/pretok.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/err.h"
#include "base/mem.h"

struct pretok {
    const struct pretok_rules *rules;
    size_t n_stages;
    pcre2_code *codes[PRETOK_STAGES_MAX];
    pcre2_general_context *general;
    pcre2_match_context *limits;
};

static void *pcre_alloc(size_t n, void *ctx)
{
    (void)ctx;
    return mem_alloc(n);
}

static void pcre_free(void *p, void *ctx)
{
    (void)ctx;
    mem_free(p);
}

/* The patterns are ours, so that nothing but memory can be wrong. */
static int compile(struct pretok *p)
{
    p->general = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    p->limits = p->general ? pcre2_match_context_create(p->general) : NULL;
    pcre2_compile_context *compiler = p->general ? pcre2_compile_context_create(p->general) : NULL;
    if (!p->limits || !compiler)
        goto nomem;
    // backtracking is bounded by the patterns: no count of steps is too many
    pcre2_set_match_limit(p->limits, UINT32_MAX);
    pcre2_set_depth_limit(p->limits, UINT32_MAX);
    for (; p->n_stages < PRETOK_STAGES_MAX; p->n_stages++) {
        const struct pretok_stage *stage = &p->rules->stages[p->n_stages];
        if (!stage->pattern)
            break;
        uint32_t options = (stage->flags & STAGE_COVERS ? PCRE2_ANCHORED : 0) |
                           (stage->flags & STAGE_BYTES ? 0 : PCRE2_UTF | PCRE2_UCP);
        int code;
        size_t where;
        p->codes[p->n_stages] = pcre2_compile((PCRE2_SPTR)stage->pattern, PCRE2_ZERO_TERMINATED,
                                              options, &code, &where, compiler);
        if (!p->codes[p->n_stages])
            goto nomem;
        // where no memory may be executable, the interpreter does the same
        (void)pcre2_jit_compile(p->codes[p->n_stages], PCRE2_JIT_COMPLETE);
    }
    pcre2_compile_context_free(compiler);
    return 0;
nomem:
    pcre2_compile_context_free(compiler);
    return REALM_E_NOMEM;
}

int pretok_open(struct pretok **out, struct slice name, struct realm_error *err)
{
    *out = NULL;
    const struct pretok_rules *rules = pretok_rules(name);
    if (!rules) {
        return err_set(err, REALM_E_UNSUPPORTED,
                       "tokenizer.ggml.pre: unknown pre-tokeniser \"%.*s\"",
                       (int)(name.n < 64 ? name.n : 64), (const char *)name.p);
    }
    struct pretok *p = mem_zalloc(sizeof(*p));
    if (!p)
        return err_nomem(err, "the pre-tokeniser");
    p->rules = rules;
    if (compile(p)) {
        pretok_close(p);
        return err_nomem(err, "the pre-tokeniser");
    }
    *out = p;
    return 0;
}

void pretok_close(struct pretok *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < PRETOK_STAGES_MAX; i++)
        pcre2_code_free(p->codes[i]);
    pcre2_match_context_free(p->limits);
    pcre2_general_context_free(p->general);
    mem_free(p);
}

const struct pretok_rules *pretok_rules_of(const struct pretok *p)
{
    return p->rules;
}

size_t pretok_bytes(const struct pretok *p)
{
    size_t sum = sizeof(*p);
    for (size_t i = 0; i < p->n_stages; i++) {
        size_t code = 0, jit = 0;
        (void)pcre2_pattern_info(p->codes[i], PCRE2_INFO_SIZE, &code);
        (void)pcre2_pattern_info(p->codes[i], PCRE2_INFO_JITSIZE, &jit);
        sum += code + jit;
    }
    return sum;
}

int pretok_walk_open(struct pretok_walk *w, const struct pretok *p)
{
    *w = (struct pretok_walk){.pretok = p};
    w->match = pcre2_match_data_create(1, p->general);
    return w->match ? 0 : REALM_E_NOMEM;
}

void pretok_walk_close(struct pretok_walk *w)
{
    pcre2_match_data_free(w->match);
    w->match = NULL;
}

void pretok_walk_start(struct pretok_walk *w, struct slice text)
{
    w->text = text;
    for (size_t i = 0; i < PRETOK_STAGES_MAX; i++)
        w->windows[i] = (struct pretok_window){0};
    w->windows[0].end = text.n;
}

/* Finds the next match of a stage in what is left of its window; without one the
 * match is empty, at the window's end. */
static int search(struct pretok_walk *w, size_t stage)
{
    struct pretok_window *win = &w->windows[stage];
    const pcre2_code *code = w->pretok->codes[stage];
    uint32_t options = PCRE2_NO_UTF_CHECK;
    int rc = pcre2_match(code, w->text.p, win->end, win->at, options, w->match, w->pretok->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
        rc = pcre2_match(code, w->text.p, win->end, win->at, options | PCRE2_NO_JIT, w->match,
                         w->pretok->limits);
    }
    if (rc == PCRE2_ERROR_NOMATCH) {
        win->match_at = win->match_end = win->end;
        return 0;
    }
    if (rc < 0)
        return rc == PCRE2_ERROR_NOMEMORY ? REALM_E_NOMEM : REALM_E_LIMIT;
    const size_t *ends = pcre2_get_ovector_pointer(w->match);
    win->match_at = ends[0];
    win->match_end = ends[1];
    return 0;
}

static size_t characters(struct slice text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        n += (text.p[i] & 0xC0) != 0x80;
    return n;
}

/* The end of what goes before the last characters of a match, which are threes. */
static size_t cut_threes(struct pretok_walk *w, struct pretok_window *win)
{
    if (win->left == 0) {
        struct slice match = {w->text.p + win->match_at, win->match_end - win->match_at};
        win->left = characters(match);
    }
    size_t take = (win->left - 1) % 3 + 1, to = win->match_at;
    win->left -= take;
    for (; to < win->match_end && take; take--) {
        do
            to++;
        while (to < win->match_end && (w->text.p[to] & 0xC0) == 0x80);
    }
    win->match_at = to;
    return to;
}

/* Cuts the next piece off a stage's window: a match or what lies before it. */
static int cut(struct pretok_walk *w, size_t stage, size_t *from, size_t *to)
{
    struct pretok_window *win = &w->windows[stage];
    if (win->match_end <= win->at) {
        int status = search(w, stage);
        if (status)
            return status;
    }
    *from = win->at;
    if (win->at < win->match_at)
        *to = win->match_at;
    else if (w->pretok->rules->stages[stage].flags & STAGE_THREES)
        *to = cut_threes(w, win);
    else
        *to = win->match_end;
    win->at = *to;
    return 0;
}

int pretok_walk_next(struct pretok_walk *w, struct slice *word)
{
    size_t last = w->pretok->n_stages - 1;
    size_t stage = last;
    while (w->windows[stage].at == w->windows[stage].end) {
        if (stage == 0)
            return 0;
        stage--;
    }
    for (;; stage++) {
        size_t from, to;
        int status = cut(w, stage, &from, &to);
        if (status)
            return status;
        if (stage == last) {
            *word = (struct slice){w->text.p + from, to - from};
            return 1;
        }
        w->windows[stage + 1] = (struct pretok_window){.at = from, .end = to};
    }
}
