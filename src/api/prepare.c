/* api/prepare.c - a worker's part of a job: from the body to generations. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/api_impl.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "chat/json.h"

int job_open_model(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    const struct realm_wait wait = job_wait(j);
    const char *name = atomic_load(&j->api->compat) ? NULL : j->ask.model;
    int status = catalog_find(j->api->catalog, name, &j->named, &err);
    if (!status) {
        status = realm_model_find(&j->model, j->api->options.engine, j->named.path, &err);
        if (status == REALM_E_NOT_FOUND)
            status =
                realm_model_open(&j->model, j->api->options.engine, j->named.path, &wait, &err);
    }
    if (status)
        return api_from_status(e, status, &err);
    realm_model_info(j->model, &j->info);
    return 0;
}

int job_render(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    const struct realm_wait wait = job_wait(j);
    int status = chat_render(j->api->options.chat, j->model, j->ask.messages, j->ask.variables,
                             &wait, &j->rendered, &err);
    if (status == REALM_E_UNSUPPORTED)
        return api_bad(e, "messages", "no_chat_template", "%s", err.message);
    return status ? api_from_status(e, status, &err) : 0;
}

/* Ids of text, for the caller to free. */
int job_tokenize(const struct job *j, const char *text, size_t bytes, unsigned flags,
                 uint32_t **ids, size_t *n, struct api_error *e)
{
    size_t max = bytes + 2; // one for each byte, and BOS
    *n = 0;
    *ids = mem_array(max, sizeof(**ids));
    int status = *ids ? realm_tokenize(j->model, text, bytes, flags, *ids, max, n) : REALM_E_NOMEM;
    if (!status)
        return 0;
    mem_free(*ids);
    *ids = NULL;
    return api_from_status(e, status, NULL);
}

int job_count(struct job *j, struct api_error *e)
{
    uint32_t *ids;
    size_t n;
    const char *text = j->rendered.text ? j->rendered.text : "";
    if (job_tokenize(j, text, j->rendered.bytes, j->rendered.flags, &ids, &n, e))
        return -1;
    mem_free(ids);
    j->prompt_tokens = (uint32_t)n;
    return 0;
}

void job_request(const struct job *j, struct realm_request *r)
{
    const struct ask *a = &j->ask;
    realm_request_init(r, REALM_DOOR_OPENAI);
    if (!j->door->embeds)
        r->sampling = a->sampling;
    r->stop = a->stop;
    r->n_stop = a->n_stop;
    r->logit_bias = a->bias;
    r->n_logit_bias = a->n_bias;
    r->ignore_end = a->ignore_end;
    r->logprobs = a->logprobs;
    r->top_logprobs = a->top_logprobs;
    r->prompt_logprobs = a->echo && a->logprobs;
    r->prompt_only = a->prompt_only || j->door->embeds;
    r->pooling = a->pooling;
    r->notify = job_wake;
    r->notify_ctx = (void *)j;
}

static void set_prompt(const struct job *j, struct realm_request *r, size_t at)
{
    if (j->ask.messages) {
        r->text = j->rendered.text ? j->rendered.text : "";
        r->text_bytes = j->rendered.bytes;
        r->text_flags = j->rendered.flags;
        return;
    }
    const struct ask_prompt *p = &j->ask.prompts[at];
    r->ids = p->ids;
    r->n_ids = p->n_ids;
    r->text = p->text;
    r->text_bytes = p->bytes;
    r->text_flags = REALM_TEXT_BOS | (j->ask.special ? REALM_TEXT_SPECIAL : 0);
}

static void init_choice(struct job *j, struct choice *c, uint32_t index)
{
    enum { LOGS_MAX = 1 << 30 };
    c->job = j;
    c->index = index;
    c->stop_index = UINT32_MAX;
    buf_init(&c->text, LOGS_MAX);
    buf_init(&c->reasoning, LOGS_MAX);
    buf_init(&c->tokens, LOGS_MAX);
    buf_init(&c->tops, LOGS_MAX);
    reason_init(&c->reason, j->door->reasons && reason_known(j->info.chat_template),
                j->rendered.text && reason_open(j->rendered.text, j->rendered.bytes));
}

static int make_choices(struct job *j, struct api_error *e)
{
    size_t n = (j->ask.messages ? 1 : j->ask.n_prompts) * j->ask.n;
    j->choices = mem_zarray(n, sizeof(*j->choices));
    if (!j->choices)
        return api_from_status(e, REALM_E_NOMEM, NULL);
    for (size_t i = 0; i < n; i++)
        init_choice(j, &j->choices[i], (uint32_t)i);
    j->n_choices = n;
    return 0;
}

/* The first token of a prompt, which has no log-probability: BOS, which is not shown, if the
 * model puts one before texts. */
static int first_token(const struct job *j, const struct realm_request *r, uint32_t *id,
                       bool *shown, struct api_error *e)
{
    *shown = true;
    if (!r->text) {
        *id = r->n_ids ? r->ids[0] : 0;
        return 0;
    }
    *shown = !j->info.adds_bos && r->text_bytes > 0;
    if (!*shown)
        return 0;
    uint32_t *ids;
    size_t n;
    if (job_tokenize(j, r->text, r->text_bytes, r->text_flags, &ids, &n, e))
        return -1;
    *id = ids[0];
    mem_free(ids);
    return 0;
}

/* An echo shows the prompt's first token, too. */
static int record_first(struct choice *c, const struct realm_request *r, struct api_error *e)
{
    bool shown;
    struct realm_event first = {.kind = REALM_EVENT_PROMPT, .logprob = NAN};
    if (first_token(c->job, r, &first.token, &shown, e))
        return -1;
    return shown && choice_record(c, &first) ? api_from_status(e, REALM_E_NOMEM, NULL) : 0;
}

static int start_one(struct choice *c, const struct realm_request *r, struct api_error *e)
{
    struct realm_error err = {0};
    if (r->prompt_logprobs && record_first(c, r, e))
        return -1;
    int status = realm_gen_start(&c->gen, c->job->model, r, &err);
    return status ? api_from_status(e, status, &err) : 0;
}

static int start_all(struct job *j, struct api_error *e)
{
    struct realm_request r;
    job_request(j, &r);
    for (size_t i = 0; i < j->n_choices; i++) {
        struct choice *c = &j->choices[i];
        set_prompt(j, &r, i / j->ask.n);
        r.choice = (uint32_t)(i % j->ask.n);
        /* All answers to one prompt draw from one seed. */
        if (i > 0 && !r.sampling.has_seed) {
            r.sampling.seed = realm_gen_seed(j->choices[0].gen);
            r.sampling.has_seed = true;
        }
        if (start_one(c, &r, e))
            return -1;
    }
    j->prepared_ns = clock_ns(clock_system());
    return 0;
}

static int generate(struct job *j, struct api_error *e)
{
    if (job_open_model(j, e) || (j->ask.messages && job_render(j, e)) ||
        (j->door->counts && job_count(j, e)) || make_choices(j, e))
        return -1;
    j->prepared_ns = clock_ns(clock_system());
    return j->door->by_guest && j->api->options.guest ? guest_run(j, e) : start_all(j, e);
}

/* The body's JSON as the door reads it. */
static int read_body(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    json_t *body = j->ask.body;
    j->ask.body = NULL;
    if (!body) {
        int status = json_read((const char *)j->body.p, j->body.n, &body, &err);
        if (status == REALM_E_LIMIT)
            return api_bad(e, NULL, "json_too_deep", "%s", err.message);
        if (status)
            return api_bad(e, NULL, "invalid_json", "%s", err.message);
        buf_free(&j->body);
    }
    return j->door->read(&j->ask, body, e);
}

void job_prepare(struct job *j)
{
    struct api_error *e = &j->error;
    int status = j->door->read ? read_body(j, e) : 0;
    if (!status)
        status = j->door->work ? j->door->work(j, e) : generate(j, e);
    j->failed = status != 0;
}
