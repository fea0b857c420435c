/* api/llama.c - POST /completion, in llama-server's form. */
#include <stdlib.h>
#include <string.h>

#include "api/api_impl.h"
#include "api/openai.h"

/* {"id":…,"token":…,"bytes":…,"logprob":…,"top_logprobs":[…]} of each token is what a chat has,
 * with the id. */
static void write_probabilities(struct job *j, const struct choice *c)
{
    size_t n;
    const struct token_record *r = choice_tokens(c, &n);
    write_text(&j->w, ",\"completion_probabilities\":[");
    for (size_t i = 0; i < n; i++) {
        const struct realm_logprob *top = record_top(c, &r[i]);
        write_f(&j->w, "%s{\"id\":%u,", i ? "," : "", r[i].token);
        write_token_members(j, r[i].token, r[i].logprob);
        write_text(&j->w, ",\"top_logprobs\":[");
        for (size_t k = 0; k < r[i].n_top; k++) {
            write_f(&j->w, "%s{\"id\":%u,", k ? "," : "", top[k].token);
            write_token_members(j, top[k].token, top[k].logprob);
            write_text(&j->w, "}");
        }
        write_text(&j->w, "]}");
    }
    write_text(&j->w, "]");
}

static void write_ids(struct job *j, const struct choice *c)
{
    size_t n = 0;
    const struct token_record *r = choice_tokens(c, &n);
    write_text(&j->w, ",\"tokens\":[");
    for (size_t i = 0; j->ask.return_tokens && i < n; i++)
        write_f(&j->w, "%s%u", i ? "," : "", r[i].token);
    write_text(&j->w, "]");
}

/* What every event and every answer begins with. */
static void write_begin(struct job *j, const struct choice *c, struct slice text, bool stop)
{
    write_f(&j->w, "{\"index\":%u,\"content\":", c->index);
    write_string(&j->w, text.p, text.n);
    write_ids(j, c);
    write_f(&j->w, ",\"id_slot\":-1,\"stop\":%s", stop ? "true" : "false");
}

static void piece(struct job *j, struct choice *c, const struct piece *p)
{
    c->n_tokens_shown++;
    write_begin(j, c, p->text, false);
    write_f(&j->w, ",\"tokens_predicted\":%u,\"tokens_evaluated\":%u", c->n_tokens_shown,
            c->usage.prompt_tokens);
    if (j->ask.logprobs)
        write_probabilities(j, c);
    write_text(&j->w, "}");
    choice_forget_tokens(c);
    job_event(j, NULL);
}

static const char *stop_type(const struct choice *c)
{
    if (c->stop_index != UINT32_MAX)
        return "word";
    return c->finish == REALM_FINISH_LENGTH ? "limit" : "eos";
}

static void write_settings(struct job *j)
{
    size_t n = 0;
    const struct realm_param *params = realm_params(&n);
    const struct realm_sampling *s = &j->ask.sampling;
    write_text(&j->w, ",\"generation_settings\":{");
    for (size_t i = 0; i < n; i++) {
        const void *field = (const char *)s + params[i].offset;
        write_f(&j->w, "%s\"%s\":", i ? "," : "", params[i].name);
        if (params[i].type == REALM_PARAM_F32)
            write_number(&j->w, (double)*(const float *)field);
        else if (params[i].type == REALM_PARAM_U32)
            write_f(&j->w, "%u", *(const uint32_t *)field);
        else
            write_f(&j->w, "%llu", (unsigned long long)*(const uint64_t *)field);
    }
    write_f(&j->w, ",\"n_predict\":%lld,\"repeat_penalty\":%.9g,\"stream\":%s,\"n_probs\":%u}",
            s->max_tokens ? (long long)s->max_tokens : -1, (double)s->repetition_penalty,
            j->ask.stream ? "true" : "false", j->ask.top_logprobs);
}

static void write_prompt(struct job *j, const struct choice *c)
{
    const struct ask_prompt *p = &j->ask.prompts[c->index / j->ask.n];
    write_text(&j->w, ",\"prompt\":");
    if (p->text)
        write_string(&j->w, p->text, p->bytes);
    else
        write_text(&j->w, "\"\"");
}

/* The last event, or the answer. */
static void write_end(struct job *j, struct choice *c, struct slice text)
{
    const struct realm_usage *u = &c->usage;
    write_begin(j, c, text, true);
    write_text(&j->w, ",\"model\":");
    write_quoted(&j->w, openai_model(j));
    write_f(&j->w, ",\"tokens_predicted\":%u,\"tokens_evaluated\":%u,\"tokens_cached\":%u",
            u->completion_tokens, u->prompt_tokens, u->prompt_tokens + u->completion_tokens);
    write_settings(j);
    write_prompt(j, c);
    bool lines = c->text.n && memchr(c->text.p, '\n', c->text.n);
    write_f(&j->w,
            ",\"has_new_line\":%s,\"truncated\":false,\"stop_type\":\"%s\",\"stopping_word\":",
            lines ? "true" : "false", stop_type(c));
    write_quoted(&j->w, c->stop_index < j->ask.n_stop ? j->ask.stop[c->stop_index] : "");
    if (j->ask.logprobs)
        write_probabilities(j, c);
    write_text(&j->w, ",");
    write_timings_of(j, u);
    write_text(&j->w, "}");
}

static void end(struct job *j, struct choice *c)
{
    write_end(j, c, (struct slice){0});
    choice_forget_tokens(c);
    job_event(j, NULL);
}

static void finish(struct job *j)
{
    if (j->ask.stream) {
        job_done(j);
        return;
    }
    bool many = j->n_choices > 1;
    write_text(&j->w, many ? "[" : "");
    for (size_t i = 0; i < j->n_choices; i++) {
        write_text(&j->w, i ? "," : "");
        write_end(j, &j->choices[i], buf_slice(&j->choices[i].text));
    }
    write_text(&j->w, many ? "]" : "");
    job_answer(j, 200);
}

const struct door door_llama = {
    .name = "llama_completion",
    .read = ask_llama,
    .by_guest = true,
    .keeps = true,
    .error = api_error_openai,
    .piece = piece,
    .end = end,
    .finish = finish,
    .fail = openai_fail,
};
