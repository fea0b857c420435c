/* api/run.c - from a generation's events to pieces of an answer. */
#include <string.h>

#include "api/api_impl.h"
#include "base/clock.h"
#include "base/mem.h"

static bool keeps(const struct job *j)
{
    return !j->ask.stream || j->door->keeps;
}

/* Starts the stream when its first piece, or its end, is there. */
static void begin(struct job *j)
{
    if (!j->ask.stream || j->began)
        return;
    j->began = true;
    if (j->door->begin)
        j->door->begin(j);
}

/* Shows what j->text and j->reasoning hold. */
static int show(struct job *j, struct choice *c, const struct realm_event *event)
{
    struct piece piece = {buf_slice(&j->text), buf_slice(&j->reasoning), event};
    c->text_bytes += piece.text.n;
    int status = 0;
    if (keeps(j)) {
        status = buf_add(&c->text, piece.text.p, piece.text.n);
        if (!status)
            status = buf_add(&c->reasoning, piece.reasoning.p, piece.reasoning.n);
    }
    bool something = piece.text.n || piece.reasoning.n || (event && j->ask.logprobs);
    if (!status && j->ask.stream && something) {
        begin(j);
        j->door->piece(j, c, &piece);
    }
    return status;
}

int choice_text(struct choice *c, const char *text, size_t n, const struct realm_event *event)
{
    struct job *j = c->job;
    buf_clear(&j->text);
    buf_clear(&j->reasoning);
    int status = reason_push(&c->reason, text, n, &j->text, &j->reasoning);
    return status ? status : show(j, c, event);
}

static int end_text(struct choice *c)
{
    struct job *j = c->job;
    buf_clear(&j->text);
    buf_clear(&j->reasoning);
    int status = reason_end(&c->reason, &j->text, &j->reasoning);
    return status ? status : show(j, c, NULL);
}

static void fail(struct job *j, int status)
{
    struct api_error e = {0};
    (void)api_from_status(&e, status, NULL);
    job_fail(j, &e);
}

void choice_over(struct choice *c)
{
    struct job *j = c->job;
    c->over = true;
    int status = c->status ? c->status : end_text(c);
    if (status) {
        fail(j, status);
        return;
    }
    if (j->ask.stream && !job_ended(j)) {
        begin(j);
        if (j->door->end)
            j->door->end(j, c);
    }
}

/* What was allowed is drawn, and all of it is there: then it is an answer as at any other limit,
 * and the next request is told that the budget is spent. */
static bool ends_with_budget(const struct choice *c, const struct realm_event *end)
{
    return c->bounded && end->status == REALM_E_LIMIT && c->n_drawn > 0 &&
           c->n_drawn == end->usage.completion_tokens;
}

static void take_end(struct choice *c, const struct realm_event *e)
{
    bool spent = ends_with_budget(c, e);
    c->finish = spent ? REALM_FINISH_LENGTH : e->finish;
    c->usage = e->usage;
    c->stop_index = e->stop_index;
    c->status = spent ? 0 : e->status;
    if (!c->status)
        c->status = choice_text(c, e->text, e->text_bytes, NULL);
    choice_over(c);
}

static void take(struct choice *c, const struct realm_event *e)
{
    struct job *j = c->job;
    int status = 0;
    if (e->kind == REALM_EVENT_END) {
        take_end(c, e);
        return;
    }
    c->n_drawn += e->kind == REALM_EVENT_TOKEN;
    if (e->kind == REALM_EVENT_TOKEN)
        counts_token(j->api, j, clock_ns(clock_system()));
    if (j->ask.logprobs || j->ask.return_tokens)
        status = choice_record(c, e);
    if (!status && e->kind == REALM_EVENT_TOKEN)
        status = choice_text(c, e->text, e->text_bytes, e);
    if (status)
        fail(j, status);
    else if (e->kind == REALM_EVENT_TOKEN)
        account_token(j);
}

static void take_all(struct choice *c)
{
    const struct realm_wait now = {.deadline_ns = 1};
    struct realm_event e;
    while (c->job->stage == JOB_RUNNING && !c->over && realm_gen_next(c->gen, &e, &now) == 0)
        take(c, &e);
}

static bool all_over(const struct job *j)
{
    for (size_t i = 0; i < j->n_choices; i++)
        if (!j->choices[i].over)
            return false;
    return true;
}

void job_run(struct job *j)
{
    if (j->guest)
        guest_take(j);
    if (j->stage != JOB_RUNNING)
        return;
    if (j->failed) {
        job_fail(j, &j->error);
        return;
    }
    for (size_t i = 0; i < j->n_choices; i++)
        if (j->choices[i].gen)
            take_all(&j->choices[i]);
    if (j->stage == JOB_RUNNING && all_over(j))
        job_finish(j);
}

struct realm_usage job_usage(const struct job *j)
{
    struct realm_usage sum = j->worked;
    for (size_t i = 0; i < j->n_choices; i++) {
        const struct realm_usage *u = &j->choices[i].usage;
        /* The answers to one prompt share it. */
        if (i % j->ask.n == 0) {
            sum.prompt_tokens += u->prompt_tokens;
            sum.cached_tokens += u->cached_tokens;
        }
        sum.completion_tokens += u->completion_tokens;
        sum.queued_ns = u->queued_ns > sum.queued_ns ? u->queued_ns : sum.queued_ns;
        sum.prefill_ns = u->prefill_ns > sum.prefill_ns ? u->prefill_ns : sum.prefill_ns;
        sum.decode_ns = u->decode_ns > sum.decode_ns ? u->decode_ns : sum.decode_ns;
    }
    return sum;
}

const char *choice_reason(const struct choice *c, const char *stop, const char *length,
                          const char *filtered)
{
    if (c->filtered)
        return filtered;
    return c->finish == REALM_FINISH_LENGTH ? length : stop;
}
