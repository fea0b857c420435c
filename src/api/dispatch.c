#include "api/dispatch.h"

#include <string.h>

#include "api/api_impl.h"
#include "base/clock.h"

/* ---- metadata ---- */

struct param {
    const char *name, *type, *help;
    bool required;
};

struct function {
    const char *name, *help, *returns;
    bool streams, samples; /* takes the parameters of a draw, too */
    struct param params[4];
};

static const struct function functions[] = {
    {"generate",
     "continues a prompt",
     "{text, tokens_generated, prompt_tokens, finish_reason, time_ms}",
     true,
     true,
     {{"prompt", "string", "the text to continue", true}}},
    {"chat",
     "answers a conversation",
     "{text, tokens_generated, prompt_tokens, finish_reason, time_ms}",
     true,
     true,
     {{"messages", "array", "objects with role and content", true}}},
    {"pipeline",
     "runs a configured chain of models",
     "{outputs, steps}",
     false,
     false,
     {{"pipeline", "string", "its name", true}, {"input", "object", "what it works on", true}}},
    {"health",
     "tells whether the server works",
     "{status, version, uptime_seconds}",
     false,
     false,
     {{NULL, NULL, NULL, false}}},
    {"metadata",
     "lists the functions",
     "{version, functions}",
     false,
     false,
     {{NULL, NULL, NULL, false}}},
    {"cancel",
     "ends an open call of this connection",
     "{cancelled}",
     false,
     false,
     {{"id", "string", "the call's", true}}},
};

static const struct param draw_params[] = {
    {"model", "string", "which model; the default one without", false},
    {"stop", "string or array", "ends the answer where one of these is spelled", false},
    {"stream", "boolean", "pieces come as they are made", false},
    {"logprobs", "boolean", "with stream: each piece has its token's log-probability", false},
};

static json_t *param_json(const struct param *p)
{
    return json_pack("{s:s,s:s,s:s,s:b}", "name", p->name, "type", p->type, "description", p->help,
                     "required", (int)p->required);
}

static json_t *sampling_json(const struct realm_param *p)
{
    json_t *json = json_pack("{s:s,s:s,s:s,s:b}", "name", p->name, "type",
                             p->type == REALM_PARAM_F32 ? "number" : "integer", "description",
                             p->help, "required", 0);
    double value = p->defaults[REALM_DOOR_WEBSOCKET];
    if (p->type == REALM_PARAM_F32)
        json_object_set_new(json, "default", json_real(value));
    else if (p->type == REALM_PARAM_U32)
        json_object_set_new(json, "default", json_integer((json_int_t)value));
    return json;
}

static json_t *params_json(const struct function *f)
{
    json_t *all = json_array();
    size_t n = 0;
    const struct realm_param *sampling = realm_params(&n);
    for (size_t i = 0; i < ARRAY_LEN(f->params) && f->params[i].name; i++)
        json_array_append_new(all, param_json(&f->params[i]));
    for (size_t i = 0; f->samples && i < ARRAY_LEN(draw_params); i++)
        json_array_append_new(all, param_json(&draw_params[i]));
    for (size_t i = 0; f->samples && i < n; i++)
        json_array_append_new(all, sampling_json(&sampling[i]));
    return all;
}

json_t *dispatch_metadata(void)
{
    json_t *all = json_array();
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        const struct function *f = &functions[i];
        json_array_append_new(all, json_pack("{s:s,s:s,s:o,s:s,s:b}", "name", f->name,
                                             "description", f->help, "params", params_json(f),
                                             "returns", f->returns, "streaming", (int)f->streams));
    }
    return json_pack("{s:s,s:o}", "version", realm_version(), "functions", all);
}

/* ---- generate and chat ---- */

static int read_generate(struct ask *a, json_t *params, struct api_error *e)
{
    return ask_dispatch(a, params, false, e);
}

static int read_chat(struct ask *a, json_t *params, struct api_error *e)
{
    return ask_dispatch(a, params, true, e);
}

/* text and token are the same, for both kinds of clients.  token: whose text it is; may be NULL. */
static void write_piece(struct job *j, struct choice *c, struct slice text,
                        const struct realm_event *token, bool final)
{
    write_text(&j->w, "{\"text\":");
    write_string(&j->w, text.p, text.n);
    write_text(&j->w, ",\"token\":");
    write_string(&j->w, text.p, text.n);
    write_f(&j->w, ",\"index\":%llu", (unsigned long long)c->offset++);
    if (token && j->ask.logprobs) {
        write_text(&j->w, ",\"logprob\":");
        write_logprob(j, token->logprob);
    }
    choice_forget_tokens(c);
    write_f(&j->w, ",\"is_final\":%s}", final ? "true" : "false");
    job_event(j, NULL);
}

static void piece(struct job *j, struct choice *c, const struct piece *p)
{
    write_piece(j, c, p->text, p->event, false);
}

static void end(struct job *j, struct choice *c)
{
    write_piece(j, c, (struct slice){0}, NULL, true);
}

static void finish(struct job *j)
{
    const struct choice *c = &j->choices[0];
    struct realm_usage u = job_usage(j);
    uint64_t ms = (clock_ns(clock_system()) - j->arrived_ns) / 1000000u;
    write_text(&j->w, j->ask.stream ? "{\"status\":\"complete\",\"text\":" : "{\"text\":");
    write_string(&j->w, c->text.p, c->text.n);
    write_f(&j->w,
            ",\"tokens_generated\":%u,\"prompt_tokens\":%u,\"finish_reason\":\"%s\","
            "\"time_ms\":%llu}",
            u.completion_tokens, u.prompt_tokens,
            choice_reason(c, "stop", "length", "content_filter"), (unsigned long long)ms);
    job_answer(j, 200);
}

const struct door door_generate_call = {
    .name = "generate_call",
    .counts = true,
    .read = read_generate,
    .options = &ask_generate_endpoint,
    .by_guest = true,
    .keeps = true,
    .error = api_error_openai,
    .piece = piece,
    .end = end,
    .finish = finish,
};

const struct door door_chat_call = {
    .name = "chat_call",
    .counts = true,
    .read = read_chat,
    .options = &ask_call_endpoint,
    .by_guest = true,
    .keeps = true,
    .error = api_error_openai,
    .piece = piece,
    .end = end,
    .finish = finish,
};
