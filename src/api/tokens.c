/* api/tokens.c - tokens with their log-probabilities, as answers show them. */
#include <math.h>
#include <string.h>

#include "api/job.h"
#include "base/ckd.h"
#include "base/utf8.h"

size_t token_bytes(const struct job *j, uint32_t token, char *out, size_t max)
{
    size_t n = 0;
    if (realm_token_bytes(j->model, token, out, max, &n))
        return 0;
    return min_size(n, max);
}

int choice_record(struct choice *c, const struct realm_event *e)
{
    struct token_record r = {
        .token = e->token,
        .logprob = e->logprob,
        .top = c->tops.n / sizeof(struct realm_logprob),
        .n_top = e->n_top,
        .text_end = c->text_bytes + e->text_bytes,
    };
    c->n_prompt_tokens += e->kind == REALM_EVENT_PROMPT;
    int status = buf_add(&c->tops, e->top, e->n_top * sizeof(*e->top));
    return status ? status : buf_add(&c->tokens, &r, sizeof(r));
}

const struct token_record *choice_tokens(const struct choice *c, size_t *n)
{
    *n = c->tokens.n / sizeof(struct token_record);
    return (const struct token_record *)c->tokens.p;
}

void choice_forget_tokens(struct choice *c)
{
    buf_clear(&c->tokens);
    buf_clear(&c->tops);
}

const struct realm_logprob *record_top(const struct choice *c, const struct token_record *r)
{
    return (const struct realm_logprob *)c->tops.p + r->top;
}

void write_token(struct job *j, uint32_t token)
{
    char text[TOKEN_SHOWN_MAX];
    write_string(&j->w, text, token_bytes(j, token, text, sizeof(text)));
}

static void write_token_bytes(struct job *j, uint32_t token)
{
    char text[TOKEN_SHOWN_MAX];
    size_t n = token_bytes(j, token, text, sizeof(text));
    write_text(&j->w, "[");
    for (size_t i = 0; i < n; i++)
        write_f(&j->w, "%s%u", i ? "," : "", (unsigned char)text[i]);
    write_text(&j->w, "]");
}

void write_token_or_bytes(struct job *j, uint32_t token)
{
    char text[TOKEN_SHOWN_MAX];
    size_t n = token_bytes(j, token, text, sizeof(text));
    if (utf8_valid(text, n))
        write_string(&j->w, text, n);
    else
        write_token_bytes(j, token);
}

/* What JSON can say of a log-probability. */
void write_logprob(struct job *j, float logprob)
{
    /* OpenAI's number for what is as good as impossible. */
    if (isinf(logprob))
        logprob = -9999.0f;
    write_number(&j->w, (double)logprob);
}

void write_token_members(struct job *j, uint32_t token, float logprob)
{
    write_text(&j->w, "\"token\":");
    write_token(j, token);
    write_text(&j->w, ",\"logprob\":");
    write_logprob(j, logprob);
    write_text(&j->w, ",\"bytes\":");
    write_token_bytes(j, token);
}

void write_chat_logprobs(struct job *j, const struct choice *c)
{
    size_t n;
    const struct token_record *r = choice_tokens(c, &n);
    for (size_t i = 0; i < n; i++) {
        const struct realm_logprob *top = record_top(c, &r[i]);
        write_text(&j->w, i ? ",{" : "{");
        write_token_members(j, r[i].token, r[i].logprob);
        write_text(&j->w, ",\"top_logprobs\":[");
        for (size_t k = 0; k < r[i].n_top; k++) {
            write_text(&j->w, k ? ",{" : "{");
            write_token_members(j, top[k].token, top[k].logprob);
            write_text(&j->w, "}");
        }
        write_text(&j->w, "]}");
    }
}
