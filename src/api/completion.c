/* api/completion.c - POST /v1/completions, OpenAI's legacy form, with echo and the
 * log-probabilities that evaluation harnesses read. */
#include <math.h>
#include <string.h>

#include "api/api_impl.h"
#include "api/openai.h"
#include "base/mem.h"

/* The prompt of c as text; ids are turned back into it.  Freed with mem_free; NULL when memory
 * is short. */
static char *prompt_text(const struct job *j, const struct choice *c, size_t *n)
{
    const struct ask_prompt *p = &j->ask.prompts[c->index / j->ask.n];
    if (p->text) {
        *n = p->bytes;
        return mem_strndup(p->text, p->bytes);
    }
    size_t wanted = 0;
    (void)realm_detokenize(j->model, p->ids, p->n_ids, true, NULL, 0, &wanted);
    char *text = mem_alloc(wanted + 1);
    if (text && realm_detokenize(j->model, p->ids, p->n_ids, true, text, wanted, n) == 0)
        return text;
    mem_free(text);
    return NULL;
}

static void write_prompt(struct job *j, const struct choice *c)
{
    size_t n = 0;
    char *text = prompt_text(j, c, &n);
    if (!text)
        j->w.status = REALM_E_NOMEM;
    /* Without its quotes the text of the answer follows. */
    write_string(&j->w, text, n);
    if (!j->w.status)
        j->out.n--;
    mem_free(text);
}

/* ---- logprobs ---- */

/* OpenAI's token_logprobs hold what each token's text is; the prompt's first has none. */
static void write_tokens(struct job *j, const struct token_record *r, size_t n)
{
    write_text(&j->w, "{\"tokens\":[");
    for (size_t i = 0; i < n; i++) {
        write_text(&j->w, i ? "," : "");
        write_token(j, r[i].token);
    }
    write_text(&j->w, "],\"token_logprobs\":[");
    for (size_t i = 0; i < n; i++) {
        write_text(&j->w, i ? "," : "");
        write_logprob(j, r[i].logprob);
    }
}

/* {"token":logprob,…}: members of one object, so a text that two tokens share stands once. */
static void write_top(struct job *j, const struct choice *c, const struct token_record *r)
{
    const struct realm_logprob *top = record_top(c, r);
    if (isnan(r->logprob)) {
        write_text(&j->w, "null");
        return;
    }
    write_text(&j->w, "{");
    for (size_t i = 0; i < r->n_top; i++) {
        write_text(&j->w, i ? "," : "");
        write_token(j, top[i].token);
        write_text(&j->w, ":");
        write_logprob(j, top[i].logprob);
    }
    write_text(&j->w, "}");
}

/* Where each token begins in the text, in characters. */
static void write_offsets(struct job *j, struct choice *c, const struct token_record *r, size_t n)
{
    char text[TOKEN_SHOWN_MAX];
    for (size_t i = 0; i < n; i++) {
        write_f(&j->w, "%s%llu", i ? "," : "", (unsigned long long)c->offset);
        size_t bytes = token_bytes(j, r[i].token, text, sizeof(text));
        for (size_t k = 0; k < bytes; k++)
            c->offset += ((unsigned char)text[k] & 0xC0) != 0x80;
    }
}

static void write_logprobs(struct job *j, struct choice *c)
{
    size_t n;
    const struct token_record *r = choice_tokens(c, &n);
    if (!j->ask.logprobs) {
        write_text(&j->w, "null");
        return;
    }
    write_tokens(j, r, n);
    write_text(&j->w, "],\"top_logprobs\":[");
    for (size_t i = 0; i < n; i++) {
        write_text(&j->w, i ? "," : "");
        write_top(j, c, &r[i]);
    }
    write_text(&j->w, "],\"text_offset\":[");
    write_offsets(j, c, r, n);
    write_text(&j->w, "]}");
}

/* ---- answers ---- */

static void write_choice(struct job *j, struct choice *c, struct slice text, const char *finish,
                         bool with_prompt)
{
    write_f(&j->w, "{\"index\":%u,\"text\":", c->index);
    if (with_prompt) {
        write_prompt(j, c);
        size_t quote = j->out.n;
        write_string(&j->w, text.p, text.n);
        if (!j->w.status) {
            /* The two strings become one: their quotes between them go. */
            memmove(j->out.p + quote, j->out.p + quote + 1, j->out.n - quote - 1);
            j->out.n--;
        }
    } else {
        write_string(&j->w, text.p, text.n);
    }
    write_text(&j->w, ",\"logprobs\":");
    write_logprobs(j, c);
    write_text(&j->w, ",\"finish_reason\":");
    if (finish)
        write_quoted(&j->w, finish);
    else
        write_text(&j->w, "null");
    write_text(&j->w, "}");
}

static void send_chunk(struct job *j, struct choice *c, struct slice text, const char *finish)
{
    bool with_prompt = j->ask.echo && !c->began;
    c->began = true;
    openai_begin(j, "cmpl", "text_completion");
    write_text(&j->w, ",\"choices\":[");
    write_choice(j, c, text, finish, with_prompt);
    write_text(&j->w, "]");
    write_timings_so_far(j, c);
    choice_forget_tokens(c);
    openai_end_chunk(j);
}

static void piece(struct job *j, struct choice *c, const struct piece *p)
{
    send_chunk(j, c, p->text, NULL);
}

static const char *reason(const struct job *j, const struct choice *c)
{
    return j->ask.prompt_only ? "length" : choice_reason(c, "stop", "length", "content_filter");
}

static void end(struct job *j, struct choice *c)
{
    send_chunk(j, c, (struct slice){0}, reason(j, c));
}

static void finish(struct job *j)
{
    if (j->ask.stream) {
        openai_finish_stream(j, "cmpl", "text_completion");
        return;
    }
    openai_begin(j, "cmpl", "text_completion");
    write_text(&j->w, ",\"choices\":[");
    for (size_t i = 0; i < j->n_choices; i++) {
        struct choice *c = &j->choices[i];
        write_text(&j->w, i ? "," : "");
        write_choice(j, c, buf_slice(&c->text), reason(j, c), j->ask.echo);
    }
    write_text(&j->w, "]");
    openai_finish(j);
}

const struct door door_completion = {
    .name = "completion",
    .counts = true,
    .read = ask_completion,
    .options = &ask_completion_endpoint,
    .by_guest = true,
    .error = api_error_openai,
    .piece = piece,
    .end = end,
    .finish = finish,
    .fail = openai_fail,
};
