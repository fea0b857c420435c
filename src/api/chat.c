/* api/chat.c - POST /v1/chat/completions, in OpenAI's form. */
#include <string.h>

#include "api/api_impl.h"
#include "api/openai.h"

static void begin_chunk(struct job *j, const struct choice *c)
{
    openai_begin(j, "chatcmpl", "chat.completion.chunk");
    write_f(&j->w, ",\"choices\":[{\"index\":%u,\"delta\":{", c->index);
}

static void end_chunk(struct job *j, struct choice *c, const char *finish)
{
    write_text(&j->w, "},\"logprobs\":");
    if (j->ask.logprobs && c->tokens.n) {
        write_text(&j->w, "{\"content\":[");
        write_chat_logprobs(j, c);
        write_text(&j->w, "],\"refusal\":null}");
    } else {
        write_text(&j->w, "null");
    }
    choice_forget_tokens(c);
    write_text(&j->w, ",\"finish_reason\":");
    if (finish)
        write_quoted(&j->w, finish);
    else
        write_text(&j->w, "null");
    write_text(&j->w, "}]");
    write_timings_so_far(j, c);
    openai_end_chunk(j);
}

/* The role comes once, before all else. */
static void begin_choice(struct job *j, struct choice *c)
{
    if (c->began)
        return;
    c->began = true;
    begin_chunk(j, c);
    write_text(&j->w, "\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,"
                      "\"finish_reason\":null}]");
    openai_end_chunk(j);
}

static void write_delta(struct job *j, const char *name, struct slice text)
{
    write_f(&j->w, "\"%s\":", name);
    write_string(&j->w, text.p, text.n);
}

static void piece(struct job *j, struct choice *c, const struct piece *p)
{
    begin_choice(j, c);
    begin_chunk(j, c);
    if (p->reasoning.n)
        write_delta(j, "reasoning_content", p->reasoning);
    if (p->text.n || !p->reasoning.n) {
        write_text(&j->w, p->reasoning.n ? "," : "");
        write_delta(j, "content", p->text);
    }
    end_chunk(j, c, NULL);
}

static void end(struct job *j, struct choice *c)
{
    begin_choice(j, c);
    begin_chunk(j, c);
    end_chunk(j, c, choice_reason(c, "stop", "length", "content_filter"));
}

static void write_choice(struct job *j, struct choice *c)
{
    write_f(&j->w,
            "%s{\"index\":%u,\"message\":{\"role\":\"assistant\",\"content\":", c->index ? "," : "",
            c->index);
    write_string(&j->w, c->text.p, c->text.n);
    if (c->reasoning.n) {
        write_text(&j->w, ",\"reasoning_content\":");
        write_string(&j->w, c->reasoning.p, c->reasoning.n);
    }
    write_text(&j->w, ",\"refusal\":null},\"logprobs\":");
    if (j->ask.logprobs) {
        write_text(&j->w, "{\"content\":[");
        write_chat_logprobs(j, c);
        write_text(&j->w, "],\"refusal\":null}");
    } else {
        write_text(&j->w, "null");
    }
    write_f(&j->w, ",\"finish_reason\":\"%s\"}",
            choice_reason(c, "stop", "length", "content_filter"));
}

static void finish(struct job *j)
{
    if (j->ask.stream) {
        openai_finish_stream(j, "chatcmpl", "chat.completion.chunk");
        return;
    }
    openai_begin(j, "chatcmpl", "chat.completion");
    write_text(&j->w, ",\"choices\":[");
    for (size_t i = 0; i < j->n_choices; i++)
        write_choice(j, &j->choices[i]);
    write_text(&j->w, "]");
    openai_finish(j);
}

const struct door door_chat = {
    .name = "chat",
    .counts = true,
    .read = ask_chat,
    .options = &ask_chat_endpoint,
    .reasons = true,
    .by_guest = true,
    .error = api_error_openai,
    .piece = piece,
    .end = end,
    .finish = finish,
    .fail = openai_fail,
};
