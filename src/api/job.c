#include "api/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api_impl.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

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
    if (j->pass.tenant)
        tenant_pass_drop(&j->pass);
    mem_free(j->rendered.text);
    ask_free(&j->ask);
    mem_free(j->param);
    mem_free(j->query);
    buf_free(&j->body);
    buf_free(&j->out);
    buf_free(&j->held);
    buf_free(&j->text);
    buf_free(&j->reasoning);
    list_remove(&j->link);
    party_leave(&a->parties, j->party, j->bytes);
    mem_free(j);
}

/* ---- from other threads ---- */

/* The server is woken under the lock: api_attach takes it away under the same. */
static void wake(struct job *j, const struct job_news *news)
{
    struct api *a = j->api;
    mutex_lock(&a->ready_lock);
    j->news.worked |= news->worked;
    if (news->committed)
        j->news.commit_status = news->commit_status;
    j->news.committed |= news->committed;
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
    wake(j, &(struct job_news){0});
}

static void run_guest(struct work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);
    j->failed = guest_run(j, &j->error) != 0;
    wake(j, &(struct job_news){.worked = true});
}

static void prepare(struct work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);
    job_prepare(j);
    if (j->guest && !j->failed) {
        w->run = run_guest;
        workers_run(j->api->parties.guest_workers, j->party->guest_line, w);
    } else {
        wake(j, &(struct job_news){.worked = true});
    }
}

/* Of an answer that a worker writes. */
static void write_answer(struct work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);
    j->door->finish(j);
    wake(j, &(struct job_news){.worked = true});
}

/* The ledger's thread. */
static void on_committed(void *ctx, int status)
{
    wake(ctx, &(struct job_news){.committed = true, .commit_status = status});
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

/* pass: NULL for administration's; bytes: of the request, which the job holds. */
static int job_alloc(struct job **out, struct api *a, const struct door *door,
                     const struct tenant_pass *pass, const char *id, size_t bytes)
{
    struct party *party;
    *out = NULL;
    int status = party_enter(&a->parties, pass ? tenant_view(pass)->id : NULL, bytes, &party);
    if (status)
        return status;
    struct job *j = mem_zalloc(sizeof(*j));
    if (!j) {
        party_leave(&a->parties, party, bytes);
        return REALM_E_NOMEM;
    }
    j->party = party;
    j->bytes = bytes;
    j->api = a;
    j->door = door;
    list_init(&j->link);
    list_init(&j->ready_link);
    list_init(&j->work.link);
    j->work.run = prepare;
    buf_init(&j->body, bytes); // which http has limited
    buf_init(&j->out, JOB_OUT_BYTES_MAX);
    buf_init(&j->held, JOB_OUT_BYTES_MAX);
    buf_init(&j->text, JOB_OUT_BYTES_MAX);
    buf_init(&j->reasoning, JOB_OUT_BYTES_MAX);
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
    if (account_open(j, &j->error) == 0) {
        if (!j->door->work)
            realm_expect(a->options.engine);
        workers_run(a->parties.workers, j->party->line, &j->work);
        return;
    }
    /* As if a worker had found it so. */
    j->failed = true;
    wake(j, &(struct job_news){.worked = true});
}

/* Where no job could be made. */
static void no_job(struct api_error *e, const struct tenant_pass *pass, int status)
{
    struct tenant_pass theirs = pass ? *pass : (struct tenant_pass){0};
    if (pass)
        tenant_pass_drop(&theirs);
    (void)api_from_status(e, status, NULL);
}

static void open_http(struct api *a, struct http_exchange *x, const struct door *door,
                      const struct tenant_pass *pass, const char *param, bool administers)
{
    struct slice body = http_body(x);
    struct job *j;
    int status = job_alloc(&j, a, door, pass, http_id(x), body.n);
    if (!status &&
        (buf_add(&j->body, body.p, body.n) || (param && !(j->param = mem_strdup(param))) ||
         (administers && !(j->query = mem_strdup(http_query(x))))))
        status = REALM_E_NOMEM;
    if (status) {
        struct api_error e = {0};
        if (j)
            job_free(j);
        no_job(&e, pass, status);
        api_refuse(x, &e);
        return;
    }
    if (pass)
        j->pass = *pass;
    j->x = x;
    if (administers)
        j->who = http_tag(x) == API_ADMIN ? "socket" : "key";
    snprintf(j->shown_id, sizeof(j->shown_id), "%s", http_shown_id(x));
    j->arrived_ns = http_arrived_ns(x);
    http_set_user(x, j);
    start(j);
}

void job_open_http(struct api *a, struct http_exchange *x, const struct door *door,
                   const struct tenant_pass *pass, const char *param)
{
    open_http(a, x, door, pass, param, false);
}

void job_open_admin(struct api *a, struct http_exchange *x, const struct door *door,
                    const char *param)
{
    open_http(a, x, door, NULL, param, true);
}

void job_open_call(struct api *a, struct call *call, const struct door *door,
                   const struct tenant_pass *pass, const struct call_message *message)
{
    struct job *j;
    int status = job_alloc(&j, a, door, pass, message->id, message->bytes);
    if (status) {
        struct api_error e = {0};
        json_decref(message->params);
        no_job(&e, pass, status);
        call_send_error(call, &e);
        call_over(call);
        return;
    }
    j->pass = *pass;
    j->call = call;
    j->ask.body = message->params;
    snprintf(j->shown_id, sizeof(j->shown_id), "%s", message->id);
    j->arrived_ns = clock_ns(clock_system());
    call_set_job(call, j);
    start(j);
}

void job_open_own(struct api *a, const struct door *door, const char *param)
{
    struct job *j;
    int status = job_alloc(&j, a, door, NULL, "start", 0);
    if (!status && !(j->param = mem_strdup(param)))
        status = REALM_E_NOMEM;
    if (status) {
        log_line(LOG_ERROR, "%s %s: %s", door->name, param, realm_status_name(status));
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
    struct log_field fields[13] = {
        {"request_id", j->id, 0},
        {"tenant", j->pass.tenant ? tenant_view(&j->pass)->id : "", 0},
        {"key", j->pass.key, 0},
        {"endpoint", j->door->name, 0},
        {"status", NULL, j->status},
        {"outcome", outcomes[j->outcome], 0},
        {"model", j->named.id, 0},
        {"ms", NULL, (double)(j->ended_ns - j->arrived_ns) * 1e-6},
        {"first_token_ms", NULL, j->first_ns ? (double)(j->first_ns - j->arrived_ns) * 1e-6 : 0},
        {"prompt_tokens", NULL, u.prompt_tokens},
        {"completion_tokens", NULL, u.completion_tokens},
    };
    size_t n = 11;
    if (j->code)
        fields[n++] = (struct log_field){"code", j->code, 0};
    if (strcmp(j->id, j->shown_id) != 0)
        fields[n++] = (struct log_field){"client_request_id", j->shown_id, 0};
    log_event(LOG_INFO, "request", fields, n);
}

/* Nobody waits for the answer any more, because he has it or because he left. */
static void leave(struct job *j)
{
    j->stage = JOB_OVER;
    j->x = NULL;
    if (j->call)
        call_over(j->call);
    j->call = NULL;
    atomic_store(&j->cancelled, true);
    j->ended_ns = clock_ns(clock_system());
    /* While a worker has it the choices are his; he finds it cancelled. */
    if (j->returned)
        cancel_choices(j);
    /* Its thread is to look once more, to free it. */
    job_wake(j);
}

static void tell(struct job *j)
{
    answer_tell(j);
    leave(j);
}

/* Its outcome is known, and not a good one: the client is told when the row says so, too. */
static void end(struct job *j, enum outcome_kind outcome)
{
    j->outcome = outcome;
    if (!j->grant) {
        tell(j);
        return;
    }
    j->stage = JOB_ENDING;
    j->tell_ns = clock_ns(clock_system()) + JOB_ENDING_MS_MAX * 1000000ull;
    atomic_store(&j->cancelled, true);
    if (j->returned)
        cancel_choices(j);
    job_wake(j);
}

void job_fail(struct job *j, const struct api_error *e)
{
    if (job_ended(j))
        return; // what ended it first is what the client is told
    j->end_error = *e;
    j->code = e->code;
    end(j, e->http < 500 ? OUTCOME_REFUSED : OUTCOME_FAILED);
}

bool job_cancel(struct job *j)
{
    if (job_ended(j))
        return false;
    j->status = 499;
    end(j, OUTCOME_CANCELLED);
    return true;
}

void job_gone(struct job *j)
{
    if (j->stage == JOB_OVER)
        return;
    j->status = 499;
    if (!job_ended(j))
        j->outcome = OUTCOME_CANCELLED;
    leave(j);
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

/* The row is durable, so that the rest of the answer may go; or it cannot be made so. */
static void settled(struct job *j, int status)
{
    j->settling = false;
    if (j->stage != JOB_SETTLING)
        return;
    if (status && j->outcome == OUTCOME_OK) {
        struct api_error e = {0};
        (void)api_fail(&e, 503, "ledger_unavailable", "usage cannot be recorded at the moment");
        e.retry_ms = 1000;
        j->stage = JOB_RUNNING;
        job_fail(j, &e);
    } else {
        tell(j);
    }
}

static void settle(struct job *j)
{
    if (account_commit(j, on_committed)) {
        j->settling = true;
        j->stage = JOB_SETTLING;
    } else {
        tell(j);
    }
}

void job_settle(struct job *j)
{
    j->outcome = OUTCOME_OK;
    settle(j);
}

void job_tick(struct job *j, uint64_t now_ns)
{
    bool waits = j->stage == JOB_ENDING || j->stage == JOB_SETTLING;
    if (waits && j->outcome != OUTCOME_OK && now_ns >= j->tell_ns)
        tell(j);
    else
        answer_tick(j);
}

/* The worker has let go of it. */
static void take_back(struct job *j)
{
    j->returned = true;
    j->writing = false;
    if (j->guest && j->n_choices)
        guest_used(j);
    if (job_ended(j))
        cancel_choices(j);
    else
        j->stage = JOB_RUNNING;
}

void job_look(struct job *j, const struct job_news *news)
{
    if (news->worked && !j->returned)
        take_back(j);
    if (news->committed && j->settling)
        settled(j, news->commit_status);
    if (!job_ended(j))
        job_run(j);
    if (!job_ended(j) || !j->returned || j->settling || !all_over(j))
        return;
    if (j->stage == JOB_ENDING) {
        settle(j);
    } else if (j->stage == JOB_OVER) {
        account_close(j);
        counts_job(j->api, j);
        log_request(j);
        job_free(j);
    }
}

/* The ledger's thread tells of every row, and soon. */
static bool is_committed(struct job *j)
{
    mutex_lock(&j->api->ready_lock);
    bool committed = j->news.committed;
    mutex_unlock(&j->api->ready_lock);
    return committed;
}

void job_drop(struct job *j)
{
    atomic_store(&j->cancelled, true);
    cancel_choices(j);
    while (!all_over(j)) // each ends with the step that runs
        usleep(1000);
    /* What its guest used nobody took over who was told that the worker is done. */
    if (j->guest && j->n_choices && !j->returned)
        guest_used(j);
    account_interrupt(j);
    while (j->settling && !is_committed(j))
        usleep(1000);
    job_free(j);
}

/* ---- the end of an answer ---- */

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
        j->holds = j->ask.stream;
        j->door->finish(j);
        return;
    }
    j->stage = JOB_PREPARING;
    j->returned = false;
    j->writing = true;
    mutex_lock(&j->api->ready_lock);
    j->news.worked = false;
    mutex_unlock(&j->api->ready_lock);
    j->work.run = write_answer;
    workers_run(j->api->parties.workers, j->party->line, &j->work);
}
