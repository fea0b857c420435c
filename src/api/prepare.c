/* api/prepare.c - a worker's part of a job: from the body to generations. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/api_impl.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

/* A disk that went away takes no model with it that is loaded. */
static bool is_still_loaded(const struct job *j, const char *name, struct catalog_model *out)
{
    struct realm_model *model;
    if (!name || !catalog_find_gone(j->api->catalog, name, out) ||
        realm_model_find(&model, j->api->options.engine, out->path, NULL))
        return false;
    realm_model_drop(model);
    return true;
}

int job_find_model(const struct job *j, const char *name, struct catalog_model *out,
                   struct realm_error *err)
{
    int status = catalog_find(j->api->catalog, name, out, err);
    if (status == REALM_E_NOT_FOUND && is_still_loaded(j, name, out))
        status = 0;
    if (status || !j->pass.tenant || (name && tenant_may_use(&j->pass, name)) ||
        tenant_may_use(&j->pass, out->id))
        return status;
    *out = (struct catalog_model){0};
    return catalog_unknown(name, err);
}

int job_open_named(struct job *j, const char *name, struct api_error *e)
{
    struct realm_error err = {0};
    const struct realm_wait wait = job_wait(j);
    int status = job_find_model(j, name, &j->named, &err);
    if (!status) {
        status = realm_model_find(&j->model, j->api->options.engine, j->named.path, &err);
        if (status == REALM_E_NOT_FOUND)
            status =
                realm_model_open(&j->model, j->api->options.engine, j->named.path, &wait, &err);
    }
    if (status)
        return api_from_status(e, status, &err);
    realm_model_info(j->model, &j->info);
    atomic_store(&j->opened, true);
    return 0;
}

int job_open_model(struct job *j, struct api_error *e)
{
    return job_open_named(j, atomic_load(&j->api->compat) ? NULL : j->ask.model, e);
}

int job_render(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    const struct realm_wait wait = job_wait(j);
    const struct chat_request request = {
        .messages = j->ask.messages,
        .extra = j->ask.variables,
        .tenant = j->party->id,
        .wait = &wait,
    };
    int status = chat_render(j->api->options.chat, j->model, &request, &j->rendered, &err);
    if (status == REALM_E_UNSUPPORTED)
        return api_bad(e, "messages", "no_chat_template", "%s", err.message);
    return status ? api_from_status(e, status, &err) : 0;
}

/* Ids of text, for the caller to free. */
int job_tokenize(const struct job *j, const char *text, size_t bytes, unsigned flags,
                 uint32_t **ids, size_t *n, struct api_error *e)
{
    size_t max = bytes + 2; // nearly always enough: one for each byte, and BOS
    int status = REALM_E_TOO_SMALL;
    for (int i = 0; i < 2 && status == REALM_E_TOO_SMALL; i++) {
        *n = 0;
        *ids = mem_array(max, sizeof(**ids));
        status = *ids ? realm_tokenize(j->model, text, bytes, flags, *ids, max, n) : REALM_E_NOMEM;
        if (!status)
            return 0;
        mem_free(*ids);
        *ids = NULL;
        max = *n;
    }
    return api_from_status(e, status, NULL);
}

static int add_id(const struct job *j, const char *name, const json_t *part, struct buf *all,
                  struct api_error *e)
{
    uint32_t id;
    if (job_read_id(j, part, &id))
        return api_bad(e, name, NULL, "%s must be made of strings and ids from 0 to %u", name,
                       j->info.vocab_size - 1);
    return buf_add(all, &id, sizeof(id)) ? api_from_status(e, REALM_E_NOMEM, NULL) : 0;
}

static int add_text(const struct job *j, const json_t *part, unsigned flags, struct buf *all,
                    struct api_error *e)
{
    uint32_t *ids;
    size_t n;
    if (job_tokenize(j, json_string_value(part), json_string_length(part), flags, &ids, &n, e))
        return -1;
    int status = buf_add(all, ids, n * sizeof(*ids));
    mem_free(ids);
    return status ? api_from_status(e, status, NULL) : 0;
}

int job_read_id(const struct job *j, const json_t *value, uint32_t *id)
{
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 0 || n >= (json_int_t)j->info.vocab_size)
        return REALM_E_ARG;
    *id = (uint32_t)n;
    return 0;
}

int job_tokenize_parts(const struct job *j, const char *name, const json_t *parts, unsigned flags,
                       uint32_t **ids, size_t *n, struct api_error *e)
{
    enum { IDS_BYTES_MAX = 64 << 20 }; // a body whose every byte were an id has a quarter of it
    struct buf all;
    buf_init(&all, IDS_BYTES_MAX);
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        unsigned own = i ? flags & ~(unsigned)REALM_TEXT_BOS : flags;
        if (json_is_string(part) ? add_text(j, part, own, &all, e)
                                 : add_id(j, name, part, &all, e)) {
            buf_free(&all);
            return -1;
        }
    }
    *n = all.n / sizeof(**ids);
    *ids = mem_array(*n, sizeof(**ids));
    if (*ids && *n)
        memcpy(*ids, all.p, all.n);
    buf_free(&all);
    return *ids ? 0 : api_from_status(e, REALM_E_NOMEM, NULL);
}

/* Harnesses ask for one token, as none was once refused, and leave out the last row that they
 * get: an end that is drawn must have one, too, or they lose the prompt's last. */
static bool shows_any_token(const struct ask *a)
{
    return a->echo && a->logprobs && a->sampling.max_tokens == 1;
}

void job_request(const struct job *j, struct realm_request *r)
{
    const struct ask *a = &j->ask;
    realm_request_init(r, REALM_DOOR_OPENAI);
    r->sampling = a->sampling;
    r->stop = a->stop;
    r->n_stop = a->n_stop;
    r->logit_bias = a->bias;
    r->n_logit_bias = a->n_bias;
    r->ignore_end = a->ignore_end || shows_any_token(a);
    r->logprobs = a->logprobs;
    r->top_logprobs = a->top_logprobs;
    r->prompt_logprobs = a->echo && a->logprobs;
    r->prompt_only = a->prompt_only;
    r->notify = job_wake;
    r->notify_ctx = (void *)j;
    account_request(j, r);
}

static unsigned text_flags(const struct job *j)
{
    return REALM_TEXT_BOS | (j->ask.special ? REALM_TEXT_SPECIAL : 0);
}

/* Prompts of text and ids by turns become ids. */
static int join_parts(struct job *j, struct api_error *e)
{
    for (size_t i = 0; i < j->ask.n_prompts; i++) {
        struct ask_prompt *p = &j->ask.prompts[i];
        if (p->parts &&
            job_tokenize_parts(j, "prompt", p->parts, text_flags(j), &p->ids, &p->n_ids, e))
            return -1;
    }
    return 0;
}

static void set_prompt(const struct job *j, struct realm_request *r, size_t at)
{
    if (j->ask.messages) {
        r->text = j->rendered.text ? j->rendered.text : "";
        r->text_bytes = j->rendered.bytes;
        r->text_flags = j->rendered.flags;
        r->shared_bytes = shared_of_messages(j->api->shared, &j->ask, &j->rendered);
        return;
    }
    const struct ask_prompt *p = &j->ask.prompts[at];
    r->ids = p->ids;
    r->n_ids = p->n_ids;
    r->text = p->text;
    r->text_bytes = p->bytes;
    r->text_flags = text_flags(j);
    r->shared_bytes = shared_of_text(j->api->shared, p->text, p->bytes);
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

static int not_started(const struct job *j, int status, const struct realm_error *err,
                       struct api_error *e)
{
    if (status == REALM_E_LIMIT && j->capped)
        return account_refused(j, e);
    return api_from_status(e, status, err);
}

/* Of several prompts the last is paid for in advance before the first is computed: a request that
 * is refused for one of them costs nothing. */
static int check_all(const struct job *j, struct realm_request *r, struct api_error *e)
{
    struct realm_error err = {0};
    for (size_t i = 0; i < j->ask.n_prompts; i++) {
        set_prompt(j, r, i);
        int status = realm_gen_check(j->model, r, &err);
        if (status)
            return not_started(j, status, &err, e);
    }
    r->admit = NULL;
    return 0;
}

static int start_one(struct choice *c, const struct realm_request *r, struct api_error *e)
{
    struct realm_error err = {0};
    if (r->prompt_logprobs && record_first(c, r, e))
        return -1;
    int status = realm_gen_start(&c->gen, c->job->model, r, &err);
    if (status)
        return not_started(c->job, status, &err, e);
    c->usage.prompt_tokens = realm_gen_prompt_tokens(c->gen);
    account_started(c);
    return 0;
}

static int start_all(struct job *j, struct api_error *e)
{
    struct realm_request r;
    job_request(j, &r);
    if (j->ask.n_prompts > 1 && check_all(j, &r, e))
        return -1;
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
        r.admit = NULL; // who asked for all answers to the prompt
    }
    j->prepared_ns = clock_ns(clock_system());
    return 0;
}

/* Told before a template is looked for that there will not be. */
static int check_generates(const struct job *j, struct api_error *e)
{
    if (!j->info.encoder)
        return 0;
    return api_bad(e, "model", "model_only_embeds",
                   "the model makes embeddings alone (%s): it cannot generate text",
                   j->info.architecture);
}

static int generate(struct job *j, struct api_error *e)
{
    if (job_open_model(j, e) || check_generates(j, e) || (j->ask.messages && job_render(j, e)) ||
        join_parts(j, e) || make_choices(j, e))
        return -1;
    j->prepared_ns = clock_ns(clock_system());
    if (guest_set(j, e))
        return -1;
    return j->guest ? 0 : start_all(j, e);
}

/* The tenant's own defaults stand for what the request leaves out. */
static int add_defaults(const struct job *j, json_t *body, struct api_error *e)
{
    const json_t *defaults = j->pass.tenant ? tenant_view(&j->pass)->defaults : NULL;
    int status = j->door->options ? ask_add_defaults(j->door->options, body, defaults) : 0;
    return status ? api_from_status(e, status, NULL) : 0;
}

static void cap_length(struct job *j)
{
    uint32_t most = j->pass.tenant ? tenant_view(&j->pass)->max_tokens : 0;
    struct realm_sampling *s = &j->ask.sampling;
    if (most && (s->max_tokens == 0 || s->max_tokens > most))
        s->max_tokens = most;
}

/* The body's JSON as the door reads it. */
static int read_body(struct job *j, struct api_error *e)
{
    json_t *body = j->ask.body;
    j->ask.body = NULL;
    if (!body) {
        if (ask_json(&body, j->body.p, j->body.n, e))
            return -1;
        buf_free(&j->body);
    }
    if (json_is_object(body) && add_defaults(j, body, e)) {
        json_decref(body);
        return -1;
    }
    if (j->door->read(&j->ask, body, e))
        return -1;
    cap_length(j);
    return 0;
}

void job_prepare(struct job *j)
{
    struct api_error *e = &j->error;
    int status = j->door->read ? read_body(j, e) : 0;
    if (!status)
        status = j->door->work ? j->door->work(j, e) : generate(j, e);
    j->failed = status != 0;
}
