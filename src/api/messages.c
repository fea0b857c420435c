/* api/messages.c - Anthropic's POST /v1/messages and /v1/messages/count_tokens. */
#include <string.h>

#include "api/api_impl.h"
#include "api/openai.h"
#include "base/mem.h"

enum block { BLOCK_NONE, BLOCK_THINKING, BLOCK_TEXT };

static const char *stop_reason(const struct choice *c)
{
    return choice_reason(c, c->stop_index == UINT32_MAX ? "end_turn" : "stop_sequence",
                         "max_tokens", "refusal");
}

/* "stop_reason":…,"stop_sequence":… */
static void write_stop(struct job *j, const struct choice *c)
{
    write_f(&j->w, "\"stop_reason\":\"%s\",\"stop_sequence\":", stop_reason(c));
    if (c->stop_index < j->ask.n_stop)
        write_quoted(&j->w, j->ask.stop[c->stop_index]);
    else
        write_text(&j->w, "null");
}

static void write_usage(struct job *j, uint32_t input, uint32_t output, uint32_t cached)
{
    write_f(&j->w,
            "\"usage\":{\"input_tokens\":%u,\"cache_creation_input_tokens\":0,"
            "\"cache_read_input_tokens\":%u,\"output_tokens\":%u}",
            input - cached, cached, output);
}

/* {"id":…,"type":"message","role":"assistant","model":… */
static void write_message(struct job *j)
{
    write_f(&j->w,
            "{\"id\":\"msg_%s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":", j->id + 4);
    write_quoted(&j->w, openai_model(j));
}

static void begin(struct job *j)
{
    write_text(&j->w, "{\"type\":\"message_start\",\"message\":");
    write_message(j);
    write_text(&j->w, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,");
    /* How much of the prompt was found in the cache is told at the end. */
    write_usage(j, j->choices[0].usage.prompt_tokens, 0, 0);
    write_text(&j->w, "}}");
    job_event(j, "message_start");
}

static void end_block(struct job *j, struct choice *c)
{
    if (c->block == BLOCK_NONE)
        return;
    write_f(&j->w, "{\"type\":\"content_block_stop\",\"index\":%u}", c->n_blocks - 1);
    job_event(j, "content_block_stop");
    c->block = BLOCK_NONE;
}

static void begin_block(struct job *j, struct choice *c, enum block block)
{
    if ((enum block)c->block == block)
        return;
    end_block(j, c);
    c->block = block;
    write_f(&j->w, "{\"type\":\"content_block_start\",\"index\":%u,\"content_block\":%s}",
            c->n_blocks++,
            block == BLOCK_TEXT ? "{\"type\":\"text\",\"text\":\"\"}"
                                : "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
    job_event(j, "content_block_start");
}

static void delta(struct job *j, struct choice *c, enum block block, struct slice text)
{
    const char *kind = block == BLOCK_TEXT ? "text" : "thinking";
    if (text.n == 0)
        return;
    begin_block(j, c, block);
    write_f(&j->w,
            "{\"type\":\"content_block_delta\",\"index\":%u,\"delta\":{\"type\":\"%s_delta\","
            "\"%s\":",
            c->n_blocks - 1, kind, kind);
    write_string(&j->w, text.p, text.n);
    write_text(&j->w, "}}");
    job_event(j, "content_block_delta");
}

static void piece(struct job *j, struct choice *c, const struct piece *p)
{
    delta(j, c, BLOCK_THINKING, p->reasoning);
    delta(j, c, BLOCK_TEXT, p->text);
}

static void finish_stream(struct job *j, struct choice *c)
{
    struct realm_usage u = job_usage(j);
    /* An answer without a word has its empty block. */
    if (c->n_blocks == 0)
        begin_block(j, c, BLOCK_TEXT);
    end_block(j, c);
    write_text(&j->w, "{\"type\":\"message_delta\",\"delta\":{");
    write_stop(j, c);
    write_text(&j->w, "},");
    write_usage(j, u.prompt_tokens, u.completion_tokens, u.cached_tokens);
    write_text(&j->w, "}");
    job_event(j, "message_delta");
    write_text(&j->w, "{\"type\":\"message_stop\"}");
    job_event(j, "message_stop");
    job_done(j);
}

/* What was only thought has no text, but an answer without a word has an empty one. */
static void write_content(struct job *j, const struct choice *c)
{
    bool both = c->reasoning.n && c->text.n;
    write_text(&j->w, ",\"content\":[");
    if (c->reasoning.n) {
        write_text(&j->w, "{\"type\":\"thinking\",\"thinking\":");
        write_string(&j->w, c->reasoning.p, c->reasoning.n);
        write_text(&j->w, both ? ",\"signature\":\"\"}," : ",\"signature\":\"\"}");
    }
    if (c->text.n || !c->reasoning.n) {
        write_text(&j->w, "{\"type\":\"text\",\"text\":");
        write_string(&j->w, c->text.p, c->text.n);
        write_text(&j->w, "}");
    }
    write_text(&j->w, "],");
}

static void finish(struct job *j)
{
    struct choice *c = &j->choices[0];
    struct realm_usage u = job_usage(j);
    if (j->ask.stream) {
        finish_stream(j, c);
        return;
    }
    write_message(j);
    write_content(j, c);
    write_stop(j, c);
    write_text(&j->w, ",");
    write_usage(j, u.prompt_tokens, u.completion_tokens, u.cached_tokens);
    write_text(&j->w, "}");
    job_answer(j, 200);
}

static void fail(struct job *j, const struct api_error *error)
{
    struct api_error e = *error;
    struct api_error_text t;
    api_error_write(&t, &e, api_error_anthropic, j->shown_id);
    http_stream_event(j->x, "error", slice_of(t.text));
    api_error_text_free(&t);
}

const struct door door_messages = {
    .name = "messages",
    .counts = true,
    .read = ask_messages,
    .options = &ask_messages_endpoint,
    .reasons = true,
    .by_guest = true,
    .id_field = "request-id",
    .error = api_error_anthropic,
    .begin = begin,
    .piece = piece,
    .finish = finish,
    .fail = fail,
};

/* ---- counting ---- */

static int count(struct job *j, struct api_error *e)
{
    uint32_t *ids;
    size_t n;
    if (job_open_model(j, e) || job_render(j, e))
        return -1;
    const char *text = j->rendered.text ? j->rendered.text : "";
    if (job_tokenize(j, text, j->rendered.bytes, j->rendered.flags, &ids, &n, e))
        return -1;
    mem_free(ids);
    write_f(&j->w, "{\"input_tokens\":%zu}", n);
    return 0;
}

static void finish_count(struct job *j)
{
    job_answer(j, 200);
}

const struct door door_count_tokens = {
    .name = "count_tokens",
    .counts = true,
    .read = ask_count,
    .work = count,
    .id_field = "request-id",
    .error = api_error_anthropic,
    .finish = finish_count,
};
