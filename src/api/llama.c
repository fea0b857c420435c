/* api/llama.c - POST /completion, in llama-server's form. */
#include <string.h>

#include "api/api_impl.h"
#include "api/llama.h"
#include "api/openai.h"
#include "base/mem.h"

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
    write_begin(j, c, p->text, false);
    write_f(&j->w, ",\"tokens_predicted\":%u,\"tokens_evaluated\":%u", c->n_drawn,
            c->usage.prompt_tokens);
    if (j->ask.logprobs)
        write_probabilities(j, c);
    write_timings_so_far(j, c);
    write_text(&j->w, "}");
    choice_forget_tokens(c);
    job_event(j, NULL);
}

/* ---- the last event, or the whole answer ---- */

static const char *stop_type(const struct choice *c)
{
    if (c->stop_index != UINT32_MAX)
        return "word";
    return c->finish == REALM_FINISH_LENGTH ? "limit" : "eos";
}

static void write_field(struct job *j, const struct realm_param *p, const struct realm_sampling *s)
{
    const void *field = (const char *)s + p->offset;
    write_f(&j->w, "\"%s\":", p->name);
    if (p->type == REALM_PARAM_F32)
        write_number(&j->w, (double)*(const float *)field);
    else if (p->type == REALM_PARAM_U32)
        write_f(&j->w, "%u", *(const uint32_t *)field);
    else
        write_f(&j->w, "%llu", (unsigned long long)*(const uint64_t *)field);
    write_text(&j->w, ",");
}

/* What is not this engine's to set has the value that switches it off. */
void write_llama_settings(struct job *j, const struct realm_sampling *s)
{
    size_t n = 0;
    const struct realm_param *params = realm_params(&n);
    long long most = s->max_tokens ? (long long)s->max_tokens : -1;
    if (j->ask.prompt_only)
        most = 0;
    for (size_t i = 0; i < n; i++)
        if (strcmp(params[i].name, "max_tokens") != 0 && strcmp(params[i].name, "seed") != 0)
            write_field(j, &params[i], s);
    write_f(&j->w, "\"seed\":%llu,\"max_tokens\":%lld,\"n_predict\":%lld,\"repeat_penalty\":",
            /* Its number for a fresh one. */
            s->has_seed ? (unsigned long long)s->seed : UINT32_MAX, most, most);
    write_number(&j->w, (double)s->repetition_penalty);
    write_f(&j->w,
            ",\"repeat_last_n\":64,\"typical_p\":1,\"top_n_sigma\":-1,\"xtc_probability\":0,"
            "\"dynatemp_range\":0,\"dry_multiplier\":0,\"mirostat\":0,"
            "\"samplers\":[\"penalties\",\"top_k\",\"top_p\",\"min_p\",\"temperature\"],"
            "\"grammar\":\"\",\"n_keep\":0,\"stream\":%s,\"n_probs\":%u,\"ignore_eos\":%s,"
            "\"timings_per_token\":%s",
            j->ask.stream ? "true" : "false", j->ask.top_logprobs,
            j->ask.ignore_end ? "true" : "false", j->ask.timings ? "true" : "false");
}

static void write_lists(struct job *j)
{
    write_text(&j->w, ",\"stop\":[");
    for (size_t i = 0; i < j->ask.n_stop; i++) {
        write_text(&j->w, i ? "," : "");
        write_quoted(&j->w, j->ask.stop[i]);
    }
    write_text(&j->w, "],\"logit_bias\":[");
    for (size_t i = 0; i < j->ask.n_bias; i++) {
        write_f(&j->w, "%s{\"bias\":", i ? "," : "");
        write_number(&j->w, (double)j->ask.bias[i].bias);
        write_f(&j->w, ",\"token\":%u}", j->ask.bias[i].token);
    }
    write_text(&j->w, "]");
}

static void write_ids_as_text(struct job *j, const struct ask_prompt *p)
{
    size_t n = 0;
    (void)realm_detokenize(j->model, p->ids, p->n_ids, true, NULL, 0, &n);
    char *text = mem_alloc(n + 1);
    if (!text) {
        j->w.status = REALM_E_NOMEM;
        return;
    }
    int status = realm_detokenize(j->model, p->ids, p->n_ids, true, text, n, &n);
    write_string(&j->w, text, status ? 0 : n);
    mem_free(text);
}

static void write_prompt(struct job *j, const struct choice *c)
{
    const struct ask_prompt *p = &j->ask.prompts[c->index / j->ask.n];
    write_text(&j->w, ",\"prompt\":");
    if (p->text)
        write_string(&j->w, p->text, p->bytes);
    else
        write_ids_as_text(j, p);
}

static void write_end(struct job *j, struct choice *c, struct slice text)
{
    const struct realm_usage *u = &c->usage;
    write_begin(j, c, text, true);
    write_text(&j->w, ",\"model\":");
    write_quoted(&j->w, openai_model(j));
    write_f(&j->w,
            ",\"tokens_predicted\":%u,\"tokens_evaluated\":%u,\"tokens_cached\":%u,"
            "\"generation_settings\":{",
            u->completion_tokens, u->prompt_tokens, u->prompt_tokens + u->completion_tokens);
    write_llama_settings(j, &j->ask.sampling);
    write_lists(j);
    write_text(&j->w, "}");
    write_prompt(j, c);
    bool lines = c->text.n && memchr(c->text.p, '\n', c->text.n);
    write_f(&j->w,
            ",\"has_new_line\":%s,\"truncated\":false,\"stop_type\":\"%s\",\"stopping_word\":",
            lines ? "true" : "false", stop_type(c));
    write_quoted(&j->w, c->stop_index < j->ask.n_stop ? j->ask.stop[c->stop_index] : "");
    /* A stream has shown them. */
    if (j->ask.logprobs && !j->ask.stream)
        write_probabilities(j, c);
    write_timings_of(j, u);
    write_text(&j->w, "}");
}

/* Tokens that had no text, the one that ended the answer among them, are in the last event. */
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
    .counts = true,
    .read = ask_llama,
    .options = &ask_llama_endpoint,
    .by_guest = true,
    .keeps = true,
    .error = api_error_openai,
    .piece = piece,
    .end = end,
    .finish = finish,
    .fail = openai_fail,
};
