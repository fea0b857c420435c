/* api/answer.c - what a job's client is told: its answer, or why there is none.
 *
 * An answer is whole before its row is written (account.c), and of a stream the last events are
 * held until it is: what cannot be told has not been counted as told. */
#include <stdlib.h>

#include "api/api_impl.h"
#include "base/log.h"

/* ---- to the client ---- */

/* The request's id under the name that the door's clients look for. */
static size_t add_id(const struct job *j, struct http_header *headers, size_t n)
{
    if (j->door->id_field)
        headers[n++] = (struct http_header){j->door->id_field, j->shown_id};
    return n;
}

static void respond(struct job *j, int status, struct slice body, uint32_t retry_ms)
{
    struct rate_texts rates;
    struct retry_texts retry;
    struct http_header headers[1 + RATE_HEADERS_MAX + RETRY_HEADERS_MAX];
    size_t n = account_headers(j, headers, &rates);
    n = add_id(j, headers, n);
    n += api_retry_headers(status, retry_ms, headers + n, &retry);
    j->status = status;
    http_respond(j->x, status, "application/json", headers, n, body);
}

static void respond_error(struct job *j, const struct api_error *error)
{
    struct api_error e = *error;
    struct api_error_text t;
    api_error_write(&t, &e, j->door->error, j->shown_id);
    respond(j, e.http, slice_of(t.text), e.retry_ms);
    api_error_text_free(&t);
}

static void clear(struct job *j)
{
    buf_clear(&j->out);
    j->w = writer_to(&j->out);
}

static void fail_stream(struct job *j, const struct api_error *e)
{
    clear(j);
    j->status = e->http;
    if (j->door->fail)
        j->door->fail(j, e);
    http_stream_end(j->x);
}

static void tell_error(struct job *j, const struct api_error *e)
{
    if (j->x && j->streaming)
        fail_stream(j, e);
    else if (j->x)
        respond_error(j, e);
    else if (j->call)
        call_send_error(j->call, e);
    else
        log_line(LOG_ERROR, "the model %s cannot be loaded: %s", j->param, e->message);
}

static void start_stream(struct job *j)
{
    struct rate_texts rates;
    struct http_header headers[1 + RATE_HEADERS_MAX];
    size_t n = account_headers(j, headers, &rates);
    n = add_id(j, headers, n);
    http_stream_start(j->x, 200, "text/event-stream", headers, n);
    j->streaming = true;
    j->status = 200;
}

static void send_event(struct job *j, const char *event, struct slice data)
{
    if (j->call) {
        call_send(j->call, "streaming", data);
        return;
    }
    if (!j->streaming)
        start_stream(j);
    http_stream_event(j->x, event, data);
}

/* What can be refused has been by then: its generations, or its program, run. */
void answer_tick(struct job *j)
{
    bool runs =
        j->stage == JOB_RUNNING || (j->stage == JOB_PREPARING && atomic_load(&j->program_runs));
    if (runs && j->ask.stream && j->x && !j->streaming && http_arrived_long_ago(j->x))
        start_stream(j);
}

/* ---- events that are held ---- */

struct held {
    const char *event;
    size_t bytes; /* of its data, which follow */
};

static void hold(struct job *j, const char *event)
{
    const struct held h = {event, j->out.n};
    j->w.status = buf_add(&j->held, &h, sizeof(h));
    if (!j->w.status)
        j->w.status = buf_add(&j->held, j->out.p, j->out.n);
}

static void send_held(struct job *j)
{
    struct slice rest = buf_slice(&j->held);
    struct held h;
    while (rest.n) {
        memcpy(&h, rest.p, sizeof(h));
        rest = (struct slice){rest.p + sizeof(h), rest.n - sizeof(h)};
        send_event(j, h.event, (struct slice){rest.p, h.bytes});
        rest = (struct slice){rest.p + h.bytes, rest.n - h.bytes};
    }
}

/* ---- for doors ---- */

bool job_written(struct job *j)
{
    if (!j->w.status)
        return true;
    struct api_error e = {0};
    if (j->w.status == REALM_E_LIMIT)
        (void)api_fail(&e, 422, "limit_exceeded", "the answer is over %d MiB",
                       JOB_OUT_BYTES_MAX >> 20);
    else
        (void)api_from_status(&e, j->w.status, NULL);
    job_fail(j, &e);
    return false;
}

void job_event(struct job *j, const char *event)
{
    if (job_ended(j) || !job_written(j))
        return;
    if (j->holds)
        hold(j, event);
    else
        send_event(j, event, buf_slice(&j->out));
    if (job_written(j))
        clear(j);
}

void job_answer(struct job *j, int status)
{
    j->answer = status;
    if (!j->writing && !job_ended(j) && job_written(j))
        job_settle(j);
}

void job_done(struct job *j)
{
    if (!job_ended(j))
        job_settle(j);
}

/* ---- the end ---- */

void answer_tell(struct job *j)
{
    if (j->outcome == OUTCOME_CANCELLED) {
        call_send(j->call, "cancelled", (struct slice){0});
    } else if (j->outcome != OUTCOME_OK) {
        tell_error(j, &j->end_error);
    } else if (j->x && j->ask.stream) {
        send_held(j);
        http_stream_end(j->x);
    } else if (j->x) {
        respond(j, j->answer, buf_slice(&j->out), 0);
    } else if (j->call) {
        call_send(j->call, "complete", buf_slice(&j->out));
    }
}
