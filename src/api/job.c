#include "api/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_impl.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

/* Room for one answer, whatever form it takes: JSON makes up to six bytes of one. */
enum { OUT_BYTES_MAX = 512 << 20 };

/* Of text, tokens and log-probabilities: of more a worker makes the answer. */
enum { INLINE_BYTES_MAX = 64 << 10 };

static void close_choice(struct choice *c)
{
    realm_gen_close(c->gen);
    buf_free(&c->text);
    buf_free(&c->reasoning);
    buf_free(&c->tokens);
    buf_free(&c->tops);
}

static void job_free(struct job *j)
{
    struct api *a = j->api;
    for (size_t i = 0; i < j->n_choices; i++)
        close_choice(&j->choices[i]);
    /* Nobody wakes it any more; he who did last may have left it in the list. */
    mutex_lock(&a->ready_lock);
    if (j->ready)
        list_remove(&j->ready_link);
    mutex_unlock(&a->ready_lock);
    mem_free(j->choices);
    guest_free(j->guest);
    realm_model_drop(j->model);
    mem_free(j->rendered.text);
    ask_free(&j->ask);
    mem_free(j->param);
    mem_free(j->query);
    buf_free(&j->body);
    buf_free(&j->out);
    buf_free(&j->text);
    buf_free(&j->reasoning);
    list_remove(&j->link);
    a->n_jobs--;
    a->jobs_bytes -= j->bytes;
    mem_free(j);
}

/* ---- from other threads ---- */

/* The server is woken under the lock: api_attach takes it away under the same. */
static void wake(struct job *j, bool worked)
{
    struct api *a = j->api;
    mutex_lock(&a->ready_lock);
    j->worked |= worked;
    bool first = !j->ready;
    if (first)
        list_add_tail(&a->ready, &j->ready_link);
    j->ready = true;
    if (first && a->server)
        http_wake(a->server);
    /* From here on j may be gone. */
    mutex_unlock(&a->ready_lock);
}

void job_wake(void *j)
{
    wake(j, false);
}

static void work(struct work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);
    job_prepare(j);
    wake(j, true);
}

/* Of an answer that a worker writes. */
static void write_answer(struct work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);
    j->door->finish(j);
    wake(j, true);
}

bool job_cancelled(void *ctx)
{
    struct job *j = ctx;
    return atomic_load(&j->cancelled);
}

struct realm_wait job_wait(struct job *j)
{
    return (struct realm_wait){j->deadline_ns, job_cancelled, j};
}

/* ---- opening ---- */

/* bytes: of the request, which the job holds. */
static int job_alloc(struct job **out, struct api *a, const struct door *door, const char *id,
                     size_t bytes)
{
    *out = NULL;
    if (a->n_jobs == API_JOBS_MAX || bytes > API_JOBS_BYTES_MAX - a->jobs_bytes)
        return REALM_E_LIMIT;
    struct job *j = mem_zalloc(sizeof(*j));
    if (!j)
        return REALM_E_NOMEM;
    a->n_jobs++;
    a->jobs_bytes += bytes;
    j->bytes = bytes;
    j->api = a;
    j->door = door;
    list_init(&j->link);
    list_init(&j->ready_link);
    list_init(&j->work.link);
    j->work.run = work;
    buf_init(&j->body, HTTP_BODY_MAX + 1);
    buf_init(&j->out, OUT_BYTES_MAX);
    buf_init(&j->text, OUT_BYTES_MAX);
    buf_init(&j->reasoning, OUT_BYTES_MAX);
    j->w = writer_to(&j->out);
    snprintf(j->id, sizeof(j->id), "%s", id);
    j->created_s = clock_wall_s();
    *out = j;
    return 0;
}

static void start(struct job *j)
{
    struct api *a = j->api;
    j->deadline_ns = j->arrived_ns + (uint64_t)atomic_load(&a->request_ms) * 1000000u;
    list_add_tail(&a->jobs, &j->link);
    workers_run(a->workers, &j->work);
}

/* query and who: of administration, else NULL. */
static void open_http(struct api *a, struct http_exchange *x, const struct door *door,
                      const char *param, const char *query, const char *who)
{
    struct slice body = http_body(x);
    struct job *j;
    int status = job_alloc(&j, a, door, http_id(x), body.n);
    if (!status &&
        (buf_add(&j->body, body.p, body.n) || (param && !(j->param = mem_strdup(param))) ||
         (query && !(j->query = mem_strdup(query)))))
        status = REALM_E_NOMEM;
    if (status) {
        if (j)
            job_free(j);
        struct api_error e = {0};
        (void)api_from_status(&e, status, NULL);
        api_refuse(x, &e);
        return;
    }
    j->x = x;
    j->who = who;
    snprintf(j->shown_id, sizeof(j->shown_id), "%s", http_shown_id(x));
    j->arrived_ns = http_arrived_ns(x);
    http_set_user(x, j);
    start(j);
}

void job_open_http(struct api *a, struct http_exchange *x, const struct door *door,
                   const char *param)
{
    open_http(a, x, door, param, NULL, NULL);
}

void job_open_admin(struct api *a, struct http_exchange *x, const struct door *door,
                    const char *param)
{
    open_http(a, x, door, param, http_query(x), http_tag(x) == API_ADMIN ? "socket" : "key");
}

void job_open_call(struct api *a, struct call *call, const struct door *door, json_t *params,
                   size_t bytes, const char *id)
{
    struct job *j;
    int status = job_alloc(&j, a, door, id, bytes);
    if (status) {
        struct api_error e = {0};
        json_decref(params);
        (void)api_from_status(&e, status, NULL);
        call_send_error(call, &e);
        call_over(call);
        return;
    }
    j->call = call;
    j->ask.body = params;
    snprintf(j->shown_id, sizeof(j->shown_id), "%s", id);
    j->arrived_ns = clock_ns(clock_system());
    call_set_job(call, j);
    start(j);
}

void job_open_load(struct api *a, const char *id, bool pin)
{
    struct job *j;
    if (job_alloc(&j, a, pin ? &door_pin : &door_load, "start", 0) ||
        !(j->param = mem_strdup(id))) {
        log_line(LOG_ERROR, "the model %s cannot be loaded: out of memory", id);
        if (j)
            job_free(j);
        return;
    }
    j->arrived_ns = clock_ns(clock_system());
    start(j);
}

/* ---- ending ---- */

static void cancel_choices(struct job *j)
{
    for (size_t i = 0; i < j->n_choices; i++)
        if (j->choices[i].gen)
            realm_gen_cancel(j->choices[i].gen);
}

/* One line for each request; never what was asked or answered. */
static void log_request(const struct job *j)
{
    static const char *const outcomes[] = {"ok", "cancelled", "refused", "failed"};
    struct realm_usage u = job_usage(j);
    struct log_field fields[11] = {
        {"request_id", j->id, 0},
        {"endpoint", j->door->name, 0},
        {"status", NULL, j->status},
        {"outcome", outcomes[j->outcome], 0},
        {"model", j->named.id, 0},
        {"ms", NULL, (double)(j->ended_ns - j->arrived_ns) * 1e-6},
        {"first_token_ms", NULL, j->first_ns ? (double)(j->first_ns - j->arrived_ns) * 1e-6 : 0},
        {"prompt_tokens", NULL, u.prompt_tokens},
        {"completion_tokens", NULL, u.completion_tokens},
    };
    size_t n = 9;
    if (j->code)
        fields[n++] = (struct log_field){"code", j->code, 0};
    if (strcmp(j->id, j->shown_id) != 0)
        fields[n++] = (struct log_field){"client_request_id", j->shown_id, 0};
    log_event(LOG_INFO, "request", fields, n);
}

/* Nobody waits for the answer any more, because he has it or because he left. */
static void leave(struct job *j, enum outcome_kind outcome)
{
    j->stage = JOB_OVER;
    j->x = NULL;
    if (j->call)
        call_over(j->call);
    j->call = NULL;
    atomic_store(&j->cancelled, true);
    j->outcome = outcome;
    j->ended_ns = clock_ns(clock_system());
    /* While a worker has it the choices are his; he finds it cancelled. */
    if (j->returned)
        cancel_choices(j);
    /* Its thread is to look once more, to free it. */
    job_wake(j);
}

void job_gone(struct job *j)
{
    if (j->stage == JOB_OVER)
        return;
    j->status = 499;
    leave(j, OUTCOME_CANCELLED);
}

/* Takes the end of each generation, so that closing does not wait for it. */
static bool all_over(struct job *j)
{
    const struct realm_wait now = {.deadline_ns = 1};
    struct realm_event event;
    bool over = true;
    for (size_t i = 0; i < j->n_choices; i++) {
        struct choice *c = &j->choices[i];
        while (c->gen && !c->over && realm_gen_next(c->gen, &event, &now) == 0) {
            c->over = event.kind == REALM_EVENT_END;
            if (c->over)
                c->usage = event.usage;
        }
        over = over && (c->over || !c->gen);
    }
    return over;
}

void job_look(struct job *j, bool worked)
{
    if (worked && !j->returned) {
        j->returned = true;
        j->writing = false;
        if (j->stage == JOB_OVER)
            cancel_choices(j);
        else
            j->stage = JOB_RUNNING;
    }
    if (j->stage != JOB_OVER)
        job_run(j);
    if (j->stage == JOB_OVER && j->returned && all_over(j)) {
        counts_job(j->api, j);
        log_request(j);
        job_free(j);
    }
}

void job_drop(struct job *j)
{
    atomic_store(&j->cancelled, true);
    job_free(j);
}

/* ---- answers ---- */

/* The request's id under the name that the door's clients look for. */
static size_t add_id(const struct job *j, struct http_header *headers, size_t n)
{
    if (j->door->id_field)
        headers[n++] = (struct http_header){j->door->id_field, j->shown_id};
    return n;
}

static void respond(struct job *j, int status, struct slice body, uint32_t retry_ms)
{
    char seconds[16], ms[16];
    struct http_header headers[3];
    size_t n = add_id(j, headers, 0);
    snprintf(seconds, sizeof(seconds), "%u", (retry_ms + 999) / 1000);
    snprintf(ms, sizeof(ms), "%u", retry_ms);
    if (retry_ms) {
        headers[n++] = (struct http_header){"Retry-After", seconds};
        headers[n++] = (struct http_header){"retry-after-ms", ms};
    }
    j->status = status;
    http_respond(j->x, status, "application/json", headers, n, body);
}

static void respond_error(struct job *j, const struct api_error *e)
{
    json_t *body = j->door->error(e, j->shown_id);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    respond(j, e->http, text ? slice_of(text) : slice_of("{}"), e->retry_ms);
    free(text);
}

static void fail_stream(struct job *j, const struct api_error *e)
{
    buf_clear(&j->out);
    j->w = writer_to(&j->out);
    j->status = e->http;
    if (j->door->fail)
        j->door->fail(j, e);
    http_stream_end(j->x);
}

void job_fail(struct job *j, const struct api_error *e)
{
    if (j->stage == JOB_OVER)
        return; // what failed first is what the client was told
    j->code = e->code;
    if (j->x && j->streaming)
        fail_stream(j, e);
    else if (j->x)
        respond_error(j, e);
    else if (j->call)
        call_send_error(j->call, e);
    else
        log_line(LOG_ERROR, "the model %s cannot be loaded: %s", j->param, e->message);
    leave(j, e->http < 500 ? OUTCOME_REFUSED : OUTCOME_FAILED);
}

bool job_written(struct job *j)
{
    if (!j->w.status)
        return true;
    struct api_error e = {0};
    if (j->w.status == REALM_E_LIMIT)
        (void)api_fail(&e, 422, "limit_exceeded", "the answer is over %d MiB", OUT_BYTES_MAX >> 20);
    else
        (void)api_from_status(&e, j->w.status, NULL);
    job_fail(j, &e);
    return false;
}

static void clear(struct job *j)
{
    buf_clear(&j->out);
    j->w = writer_to(&j->out);
}

/* Whether writing the answer would keep the other clients waiting. */
static bool is_long(const struct job *j)
{
    size_t n = 0;
    for (size_t i = 0; i < j->n_choices; i++) {
        const struct choice *c = &j->choices[i];
        n += c->text.n + c->reasoning.n + c->tokens.n + c->tops.n;
    }
    return n > INLINE_BYTES_MAX;
}

void job_finish(struct job *j)
{
    if (j->answer) {
        job_answer(j, j->answer);
        return;
    }
    if (j->ask.stream || !is_long(j)) {
        j->door->finish(j);
        return;
    }
    j->stage = JOB_PREPARING;
    j->returned = false;
    j->writing = true;
    mutex_lock(&j->api->ready_lock);
    j->worked = false;
    mutex_unlock(&j->api->ready_lock);
    j->work.run = write_answer;
    workers_run(j->api->workers, &j->work);
}

void job_answer(struct job *j, int status)
{
    if (j->writing) {
        j->answer = status;
        return;
    }
    if (j->stage == JOB_OVER || !job_written(j))
        return;
    if (j->x)
        respond(j, status, buf_slice(&j->out), 0);
    else if (j->call)
        call_send(j->call, "complete", buf_slice(&j->out));
    leave(j, OUTCOME_OK);
}

void job_event(struct job *j, const char *event)
{
    if (j->stage == JOB_OVER || !job_written(j))
        return;
    if (j->call) {
        call_send(j->call, "streaming", buf_slice(&j->out));
    } else {
        struct http_header id;
        if (!j->streaming)
            http_stream_start(j->x, 200, "text/event-stream", &id, add_id(j, &id, 0));
        j->streaming = true;
        j->status = 200;
        http_stream_event(j->x, event, buf_slice(&j->out));
    }
    clear(j);
}

void job_done(struct job *j)
{
    if (j->stage == JOB_OVER)
        return;
    http_stream_end(j->x);
    leave(j, OUTCOME_OK);
}
