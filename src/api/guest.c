/* api/guest.c - a tenant's program answers in the model's place.
 *
 * The guest runs on a worker of its own kind; what it streams goes through a buffer to the
 * server's thread. */
#include <stdio.h>
#include <string.h>

#include "api/api_impl.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { GUEST_PENDING_MAX = 64 << 20 };

struct guest_run {
    struct mutex lock;
    uint64_t version;   /* of the program; 0: the operator's */
    struct buf pending; /* under lock: not yet shown */
    bool done;          /* under lock; what follows is constant after */
    int status;         /* of wasm_run */
    bool ran;
    struct wasm_result result;
    bool used;                /* guest_used took it over */
    enum realm_finish finish; /* as `handle` said; else STOP */
    bool filtered;            /* it said so */
};

void guest_free(struct guest_run *g)
{
    if (!g)
        return;
    buf_free(&g->pending);
    mem_free(g->result.text);
    mutex_destroy(&g->lock);
    mem_free(g);
}

static int add(struct guest_run *g, const char *text, size_t n)
{
    mutex_lock(&g->lock);
    int status = buf_add(&g->pending, text, n);
    mutex_unlock(&g->lock);
    return status;
}

static bool on_text(void *ctx, const char *text, size_t n)
{
    struct job *j = ctx;
    if (atomic_load(&j->cancelled) || add(j->guest, text, n))
        return false;
    job_wake(j);
    return true;
}

/* What GenOptions have no place for. */
static int check(const struct job *j, const struct wasm_guest *guest, struct api_error *e)
{
    const struct ask *a = &j->ask;
    const char *param = NULL;
    if (a->n != 1 || j->n_choices != 1)
        param = "n";
    else if (a->logprobs)
        param = "logprobs";
    else if (wasm_guest_handles(guest))
        return 0; // it has the whole request
    else if (a->n_stop)
        param = "stop";
    else if (a->n_bias)
        param = "logit_bias";
    else if (a->sampling.min_p != 0 && json_object_get(a->body, "min_p")) // no door's default
        param = "min_p";
    else if (a->sampling.presence_penalty != 0)
        param = "presence_penalty";
    else if (a->sampling.frequency_penalty != 0)
        param = "frequency_penalty";
    if (!param && !a->messages && !a->prompts[0].text)
        param = "prompt";
    return param ? api_bad(e, param, "unsupported_parameter",
                           "%s cannot be given here: a program answers in the model's place, and "
                           "its options have no room for it",
                           param)
                 : 0;
}

/* The text of the first choice of what `handle` answered, or its JSON as it is. */
static struct slice handled_text(const struct wasm_result *r, json_t **owner)
{
    *owner = json_loadb(r->text, r->bytes, JSON_REJECT_DUPLICATES, NULL);
    const json_t *choice = json_array_get(json_object_get(*owner, "choices"), 0);
    const json_t *content = json_object_get(json_object_get(choice, "message"), "content");
    if (!content)
        content = json_object_get(choice, "text");
    if (!json_is_string(content))
        return (struct slice){(const uint8_t *)r->text, r->bytes};
    return (struct slice){(const uint8_t *)json_string_value(content), json_string_length(content)};
}

/* Why that answer ended, if it says so in OpenAI's words. */
static void read_reason(struct guest_run *g, const json_t *answer)
{
    const json_t *choice = json_array_get(json_object_get(answer, "choices"), 0);
    const char *said = json_string_value(json_object_get(choice, "finish_reason"));
    if (said && strcmp(said, "length") == 0)
        g->finish = REALM_FINISH_LENGTH;
    g->filtered = said && strcmp(said, "content_filter") == 0;
}

/* What was returned and not streamed. */
static int add_result(struct guest_run *g)
{
    json_t *owner = NULL;
    if (g->result.streamed)
        return 0;
    struct slice text = {(const uint8_t *)g->result.text, g->result.bytes};
    if (g->result.handled) {
        text = handled_text(&g->result, &owner);
        read_reason(g, owner);
    }
    int status = add(g, (const char *)text.p, text.n);
    json_decref(owner);
    return status;
}

static struct guest_run *guest_alloc(void)
{
    struct guest_run *g = mem_zalloc(sizeof(*g));
    if (!g)
        return NULL;
    buf_init(&g->pending, GUEST_PENDING_MAX);
    if (mutex_init(&g->lock) == 0)
        return g;
    mem_free(g);
    return NULL;
}

/* ---- what a guest asks of the job ---- */

/* A name says what it says at the door. */
static int find(void *ctx, const char *name, struct wasm_found *out)
{
    struct catalog_model model;
    int status = job_find_model(ctx, name, &model, NULL);
    if (status)
        return status;
    memcpy(out->id, model.id, sizeof(out->id));
    memcpy(out->path, model.path, sizeof(out->path));
    return 0;
}

static int reserve(void *ctx, uint64_t tokens, bool growth, struct realm_error *err)
{
    return account_reserve(ctx, tokens, growth, err);
}

/* Models that were asked and computed nothing are left out, but for the request's own. */
static size_t parts_of(const struct wasm_use *uses, size_t n, struct tenant_part *parts)
{
    size_t n_parts = 0;
    for (size_t i = 0; i < n; i++) {
        const struct wasm_use *u = &uses[i];
        if (i == 0 || u->prompt_tokens || u->completion_tokens)
            parts[n_parts++] = (struct tenant_part){u->model, u->prompt_tokens, u->cached_tokens,
                                                    u->completion_tokens};
    }
    return n_parts;
}

static void used(void *ctx, const struct wasm_use *uses, size_t n)
{
    const struct job *j = ctx;
    struct tenant_part parts[REQUEST_MODELS_MAX];
    if (j->grant)
        tenant_note(j->grant, parts, parts_of(uses, n, parts));
}

/* ---- running ---- */

/* The model as the client calls it: what is told of it, and what programs are set for. */
static const char *called(const struct job *j)
{
    const char *name = atomic_load(&j->api->compat) ? NULL : j->ask.model;
    return name ? name : j->named.id;
}

static bool wanted(const struct job *j, uint64_t *version)
{
    *version = 0;
    if (!j->door->by_guest || !j->api->guests)
        return false;
    return (j->pass.tenant && tenant_guest(&j->pass, called(j), version)) || j->api->options.guest;
}

int guest_set(struct job *j, struct api_error *e)
{
    uint64_t version;
    if (!wanted(j, &version))
        return 0;
    j->guest = guest_alloc();
    if (!j->guest)
        return api_from_status(e, REALM_E_NOMEM, NULL);
    j->guest->version = version;
    return 0;
}

static void set_name(struct job *j, uint64_t version)
{
    char number[24];
    snprintf(number, sizeof(number), "@%llu", (unsigned long long)version);
    if (version == 0) {
        snprintf(j->guest_name, sizeof(j->guest_name), "operator");
        return;
    }
    const size_t room = sizeof(j->guest_name) - sizeof(number);
    const char *name = called(j);
    size_t n = utf8_whole(name, strnlen(name, room));
    snprintf(j->guest_name, sizeof(j->guest_name), "%.*s%s", (int)n, name, number);
}

void guest_used(struct job *j)
{
    const struct wasm_result *r = &j->guest->result;
    struct realm_usage *u = &j->choices[0].usage;
    j->guest->used = true;
    u->prompt_tokens = r->prompt_tokens;
    u->cached_tokens = r->cached_tokens;
    u->completion_tokens = r->completion_tokens;
}

size_t guest_parts(const struct job *j, struct tenant_part *parts)
{
    const struct guest_run *g = j->guest;
    return g && g->used ? parts_of(g->result.uses, g->result.n_uses, parts) : 0;
}

static int run(struct job *j, const struct guest_lease *lease, struct api_error *e)
{
    const struct ask *a = &j->ask;
    const struct tenant_view *view = tenant_view(&j->pass);
    const struct wasm_request request = {
        .tenant = lease->tenant,
        .model = j->model,
        .model_id = j->named.id,
        .weight = view->weight,
        .kv_bytes_max = view->kv_bytes_max,
        .priority = a->priority,
        .max_tokens = view->max_tokens,
        .messages = a->messages,
        .prompt = a->messages ? NULL : a->prompts[0].text,
        .prompt_bytes = a->messages ? 0 : a->prompts[0].bytes,
        .sampling = &a->sampling,
        .body = a->body,
        .on_text = on_text,
        .cancelled = job_cancelled,
        .find = find,
        .reserve = reserve,
        .used = used,
        .ctx = j,
        .deadline_ns = j->deadline_ns,
    };
    struct realm_error err = {0};
    atomic_store(&j->program_runs, true);
    int status = wasm_run(lease->guest, &request, &j->guest->result, &err);
    j->guest->ran = true;
    j->guest->status = status;
    if (!status)
        status = add_result(j->guest);
    if (status == REALM_E_GUEST && j->guest->result.refused)
        return account_refused(j, e);
    return status ? api_from_status(e, status, &err) : 0;
}

int guest_run(struct job *j, struct api_error *e)
{
    struct guest_lease lease;
    struct realm_error err = {0};
    const struct realm_wait wait = job_wait(j);
    const uint64_t version = j->guest->version;
    int status =
        guests_take(j->api->guests, tenant_view(&j->pass)->id, version, &wait, &lease, &err);
    if (status)
        return api_from_status(e, status, &err);
    set_name(j, version);
    int failed = check(j, lease.guest, e);
    if (!failed)
        failed = run(j, &lease, e);
    guests_give(j->api->guests, &lease);
    if (failed)
        return -1;
    mutex_lock(&j->guest->lock);
    j->guest->done = true;
    mutex_unlock(&j->guest->lock);
    return 0;
}

void guest_count(const struct job *j, struct tenant_counts *t)
{
    const struct guest_run *g = j->guest;
    if (!g || !g->ran)
        return;
    t->guest_requests++;
    t->guest_traps += g->status == REALM_E_GUEST;
    t->guest_limits += g->status == REALM_E_LIMIT;
    t->guest_own_ms += g->result.own_ns / 1000000u;
}

void guest_take(struct job *j)
{
    struct guest_run *g = j->guest;
    struct choice *c = &j->choices[0];
    struct buf taken;
    buf_init(&taken, GUEST_PENDING_MAX);
    if (c->over)
        return;
    mutex_lock(&g->lock);
    bool done = g->done;
    struct buf empty = taken;
    taken = g->pending;
    g->pending = empty;
    mutex_unlock(&g->lock);
    int status = 0;
    if (taken.n) {
        counts_token(j->api, j, clock_ns(clock_system()));
        status = choice_text(c, (const char *)taken.p, taken.n, NULL);
    }
    buf_free(&taken);
    if (status) {
        c->status = status;
        choice_over(c);
    } else if (done) {
        guest_used(j);
        c->finish = g->finish;
        c->filtered = g->filtered;
        choice_over(c);
    }
}
