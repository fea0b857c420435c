/* api/metrics.c - what the server counts, and GET /metrics. */
#include <stdio.h>
#include <string.h>

#include "api/api_impl.h"
#include "base/clock.h"
#include "base/log.h"
#include "metrics/process.h"

enum { METRICS_BYTES_MAX = 1 << 20 };

void counts_init(struct api_counts *c)
{
    histogram_init_seconds(&c->first_token);
    histogram_init_seconds(&c->between_tokens);
    histogram_init_seconds(&c->queued);
    histogram_init_seconds(&c->whole);
    histogram_init_seconds(&c->admit);
}

static size_t door_index(struct api_counts *c, const struct door *door)
{
    size_t i = 0;
    while (i < c->n_doors && c->doors[i] != door)
        i++;
    if (i == c->n_doors && c->n_doors < DOORS_MAX)
        c->doors[c->n_doors++] = door;
    return i;
}

void counts_job(struct api *a, const struct job *j)
{
    struct api_counts *c = &a->counts;
    struct realm_usage u = job_usage(j);
    size_t i = door_index(c, j->door);
    if (i < DOORS_MAX)
        c->requests[i][j->outcome]++;
    if (j->door->counts)
        counts_tenant(c, j);
    if (j->door->work)
        return; // no model ran for it
    histogram_add_ns(&c->whole, j->ended_ns - j->arrived_ns);
    if (j->outcome != OUTCOME_OK)
        return;
    histogram_add_ns(&c->queued, u.queued_ns);
    histogram_add_ns(&c->admit, j->prepared_ns - j->arrived_ns);
}

void counts_token(struct api *a, struct job *j, uint64_t now_ns)
{
    if (!j->first_ns) {
        j->first_ns = now_ns;
        histogram_add_ns(&a->counts.first_token, now_ns - j->arrived_ns);
    } else {
        histogram_add_ns(&a->counts.between_tokens, now_ns - j->last_ns);
    }
    j->last_ns = now_ns;
}

static void write_requests(struct metrics_out *o, const struct api_counts *c)
{
    static const char *const outcomes[] = {"ok", "cancelled", "refused", "failed"};
    metrics_family(o, "realm_requests_total", METRICS_COUNTER, "Requests that ended.");
    for (size_t i = 0; i < c->n_doors; i++) {
        for (size_t k = 0; k < OUTCOMES; k++) {
            const struct metrics_label labels[] = {{"endpoint", c->doors[i]->name},
                                                   {"outcome", outcomes[k]}};
            metrics_sample(o, "realm_requests_total", labels, ARRAY_LEN(labels),
                           (double)c->requests[i][k]);
        }
    }
}

static void write_histogram(struct metrics_out *o, const char *name, const char *help,
                            const struct histogram *h)
{
    metrics_family(o, name, METRICS_HISTOGRAM, help);
    metrics_histogram(o, name, NULL, 0, h);
}

static void write_times(struct metrics_out *o, const struct api_counts *c)
{
    write_histogram(o, "realm_time_to_first_token_seconds",
                    "From a request's last byte to its first token.", &c->first_token);
    write_histogram(o, "realm_inter_token_seconds", "Between tokens of one request.",
                    &c->between_tokens);
    write_histogram(o, "realm_queue_seconds", "From the start of a generation to its first step.",
                    &c->queued);
    write_histogram(o, "realm_admit_seconds",
                    "From a request's last byte to the start of its generation.", &c->admit);
    write_histogram(o, "realm_request_seconds", "From a request's last byte to its end.",
                    &c->whole);
}

/* One number of struct realm_stats. */
struct row {
    const char *name;
    enum metrics_type type;
    const char *help;
    double value;
};

static void write_rows(struct metrics_out *o, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        metrics_one(o, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
}

/* Requests that wait for a worker or for their model, of which the engine knows nothing yet. */
static uint32_t waiting_jobs(const struct api *a)
{
    uint32_t n = 0;
    for (const struct list *i = a->jobs.next; i != &a->jobs; i = i->next) {
        struct job *j = CONTAINER_OF(i, struct job, link);
        n += j->door->counts && j->stage == JOB_PREPARING && !atomic_load(&j->opened);
    }
    return n;
}

static void write_engine(struct metrics_out *o, const struct realm_stats *s, uint32_t waiting)
{
    const struct row rows[] = {
        {"realm_requests_running", METRICS_GAUGE, "Generations in the batch.", s->running},
        {"realm_requests_waiting", METRICS_GAUGE,
         "Generations that wait for pages, and requests that wait for their model.",
         s->waiting + waiting},
        {"realm_kv_pages_used", METRICS_GAUGE, "Pages of keys and values in use.",
         (double)s->kv_pages},
        {"realm_kv_pages_cached", METRICS_GAUGE, "Pages kept for prompts that begin alike.",
         (double)s->kv_cached_pages},
        {"realm_cached_tokens_total", METRICS_COUNTER, "Tokens of prompts found in them.",
         (double)s->cached_tokens},
        {"realm_kv_used_ratio", METRICS_GAUGE, "Bytes of keys and values in use, of their budget.",
         s->kv_bytes_max ? (double)s->kv_bytes / (double)s->kv_bytes_max : 0},
        {"realm_steps_total", METRICS_COUNTER, "Forward passes.", (double)s->steps},
        {"realm_step_seconds_total", METRICS_COUNTER, "Time in forward passes and sampling.",
         (double)s->step_ns * 1e-9},
        {"realm_prompt_rows_total", METRICS_COUNTER, "Rows of prompts computed.",
         (double)s->prompt_rows},
        {"realm_decode_rows_total", METRICS_COUNTER, "Rows that continued an answer.",
         (double)s->decode_rows},
        {"realm_preemptions_total", METRICS_COUNTER, "Times a generation gave its pages back.",
         (double)s->preempted},
        {"realm_prompt_tokens_total", METRICS_COUNTER, "Tokens of prompts.",
         (double)s->prompt_tokens},
        {"realm_completion_tokens_total", METRICS_COUNTER, "Tokens generated.",
         (double)s->completion_tokens},
    };
    write_rows(o, rows, ARRAY_LEN(rows));
}

static void write_store(struct metrics_out *o, const struct realm_stats *s)
{
    const struct row rows[] = {
        {"realm_models_loaded", METRICS_GAUGE, "Models in memory.", s->models},
        {"realm_models_loading", METRICS_GAUGE, "Models being loaded.", s->loading},
        {"realm_model_leases", METRICS_GAUGE, "Users of loaded models.", s->leases},
        {"realm_model_bytes", METRICS_GAUGE, "Bytes of loaded models.", (double)s->bytes},
        {"realm_model_bytes_limit", METRICS_GAUGE, "Most bytes of loaded models.",
         (double)s->bytes_max},
        {"realm_model_hits_total", METRICS_COUNTER, "Requests that found their model loaded.",
         (double)s->hits},
        {"realm_model_misses_total", METRICS_COUNTER, "Requests that waited for a load.",
         (double)s->misses},
        {"realm_model_loads_total", METRICS_COUNTER, "Loads.", (double)s->loads},
        {"realm_model_loads_failed_total", METRICS_COUNTER, "Loads that failed.",
         (double)s->loads_failed},
        {"realm_model_load_seconds_total", METRICS_COUNTER, "Time spent loading.",
         (double)s->load_ns * 1e-9},
        {"realm_model_evictions_total", METRICS_COUNTER, "Models unloaded.", (double)s->evictions},
    };
    write_rows(o, rows, ARRAY_LEN(rows));
}

static void write_http(struct metrics_out *o, const struct http_stats *s)
{
    const struct row rows[] = {
        {"realm_http_connections", METRICS_GAUGE, "Open connections.", s->connections},
        {"realm_http_exchanges", METRICS_GAUGE, "Requests that are not answered yet.",
         s->exchanges},
        {"realm_http_websockets", METRICS_GAUGE, "Open WebSockets.", s->websockets},
        {"realm_http_connections_total", METRICS_COUNTER, "Connections accepted.",
         (double)s->connections_accepted},
        {"realm_http_connections_refused_total", METRICS_COUNTER, "Connections over a limit.",
         (double)s->connections_refused},
        {"realm_http_requests_total", METRICS_COUNTER, "Requests that came in whole.",
         (double)s->requests},
        {"realm_http_bad_requests_total", METRICS_COUNTER,
         "Requests refused before they were whole.", (double)s->bad_requests},
        {"realm_http_received_bytes_total", METRICS_COUNTER, "Bytes read.", (double)s->bytes_in},
        {"realm_http_sent_bytes_total", METRICS_COUNTER, "Bytes written.", (double)s->bytes_out},
    };
    write_rows(o, rows, ARRAY_LEN(rows));
}

static void write_guests(struct metrics_out *o, struct wasm_host *host)
{
    struct wasm_stats s;
    wasm_stats(host, &s);
    const struct row rows[] = {
        {"realm_guests_running", METRICS_GAUGE, "Guests at work.", s.running},
        {"realm_guests_computing", METRICS_GAUGE, "Of these, have a turn.", s.computing},
        {"realm_guests_waiting", METRICS_GAUGE, "Of these, wait for a turn.", s.waiting},
        {"realm_guests_memory_bytes", METRICS_GAUGE, "Memory of those at work.",
         (double)s.memory_bytes},
        {"realm_guest_requests_total", METRICS_COUNTER, "Requests that guests answered.",
         (double)s.requests},
        {"realm_guest_traps_total", METRICS_COUNTER, "Guests that trapped or broke the ABI.",
         (double)s.trapped},
        {"realm_guest_limits_total", METRICS_COUNTER, "Guests that used up a limit.",
         (double)s.limited},
    };
    write_rows(o, rows, ARRAY_LEN(rows));
}

static void write_all(struct api *a, struct metrics_out *o)
{
    struct realm_stats stats;
    struct http_stats http;
    realm_stats(a->options.engine, &stats);
    http_stats(a->server, &http);
    write_requests(o, &a->counts);
    write_times(o, &a->counts);
    write_engine(o, &stats, waiting_jobs(a));
    write_store(o, &stats);
    write_http(o, &http);
    metrics_tenants(o, &a->counts, a->options.engine);
    metrics_ledger(o, a->options.tenants);
    if (a->options.wasm)
        write_guests(o, a->options.wasm);
    metrics_process(o);
    metrics_one(o, "realm_log_dropped_total", METRICS_COUNTER, "Lines of the log that were lost.",
                (double)log_dropped());
    metrics_one(o, "realm_uptime_seconds", METRICS_GAUGE, "Time since the start.",
                (double)(clock_ns(clock_system()) - a->started_ns) * 1e-9);
}

/* It names tenants and tells what they do.  While there are no keys it is open to this machine, and
 * on the port that is for it alone; then to who has the operator's key for it. */
static int let_in(struct api *a, const struct http_exchange *x, struct api_error *e)
{
    bool here = http_tag(x) != API_MAIN || http_from_loopback(x);
    bool open = a->options.metrics_public || !auth_wanted(&a->auth);
    if (http_tag(x) == API_ADMIN || (here && open) || auth_is(x, a->metrics_key) ||
        (http_from_loopback(x) && auth_is(x, a->admin_key)))
        return 0;
    if (here || a->metrics_key)
        return auth_refuse(&a->auth, x, e);
    return api_fail(e, 404, "not_found", API_NOTHING);
}

void metrics_answer(struct api *a, struct http_exchange *x)
{
    struct buf text;
    struct api_error e = {0};
    if (let_in(a, x, &e)) {
        api_refuse(x, &e);
        return;
    }
    buf_init(&text, METRICS_BYTES_MAX);
    struct metrics_out out = {.text = &text};
    write_all(a, &out);
    if (out.status) {
        (void)api_from_status(&e, out.status, NULL);
        api_refuse(x, &e);
    } else {
        http_respond(x, 200, "text/plain; version=0.0.4; charset=utf-8", NULL, 0, buf_slice(&text));
    }
    buf_free(&text);
}
