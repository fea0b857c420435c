/* api/guest.c - a tenant's program answers in the model's place.
 *
 * The guest runs on the worker that has the job; what it streams goes through a buffer to
 * the server's thread. */
#include <string.h>

#include "api/api_impl.h"
#include "base/clock.h"
#include "base/mem.h"

enum { GUEST_PENDING_MAX = 64 << 20 };

struct guest_run {
    struct mutex lock;
    struct buf pending; /* under lock: not yet shown */
    bool done;          /* under lock; what follows is constant after */
    struct wasm_result result;
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
static int check(const struct job *j, struct api_error *e)
{
    const struct ask *a = &j->ask;
    const char *param = NULL;
    if (a->n != 1 || j->n_choices != 1)
        param = "n";
    else if (a->logprobs)
        param = "logprobs";
    else if (wasm_guest_handles(j->api->options.guest))
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

/* What was returned and not streamed. */
static int add_result(struct guest_run *g)
{
    json_t *owner = NULL;
    if (g->result.streamed)
        return 0;
    struct slice text = {(const uint8_t *)g->result.text, g->result.bytes};
    if (g->result.handled)
        text = handled_text(&g->result, &owner);
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

int guest_run(struct job *j, struct api_error *e)
{
    const struct ask *a = &j->ask;
    if (check(j, e))
        return -1;
    j->guest = guest_alloc();
    if (!j->guest)
        return api_from_status(e, REALM_E_NOMEM, NULL);
    const struct wasm_request request = {
        .tenant = j->api->options.tenant,
        .model = j->model,
        .messages = a->messages,
        .prompt = a->messages ? NULL : a->prompts[0].text,
        .prompt_bytes = a->messages ? 0 : a->prompts[0].bytes,
        .sampling = &a->sampling,
        .body = a->body,
        .on_text = on_text,
        .cancelled = job_cancelled,
        .ctx = j,
        .deadline_ns = j->deadline_ns,
    };
    struct realm_error err = {0};
    int status = wasm_run(j->api->options.guest, &request, &j->guest->result, &err);
    if (!status)
        status = add_result(j->guest);
    if (status)
        return api_from_status(e, status, &err);
    mutex_lock(&j->guest->lock);
    j->guest->done = true;
    mutex_unlock(&j->guest->lock);
    return 0;
}

static void finish(struct choice *c, const struct guest_run *g)
{
    c->finish = REALM_FINISH_STOP;
    c->usage.prompt_tokens = g->result.prompt_tokens;
    c->usage.completion_tokens = g->result.completion_tokens;
    choice_over(c);
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
        finish(c, g);
    }
}
