#include "api/openai.h"

#include <string.h>

#include "api/api_impl.h"
#include "base/ckd.h"

/* Chunks are filled up to a multiple of this, so that their length tells little of what
 * they say. */
enum { OBFUSCATION_BYTES = 64 };

const char *openai_model(const struct job *j)
{
    return j->ask.model && !atomic_load(&j->api->compat) ? j->ask.model : j->named.id;
}

void openai_begin(struct job *j, const char *id_prefix, const char *object)
{
    /* The request's id without its "req_". */
    write_f(&j->w, "{\"id\":\"%s-%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", id_prefix,
            j->id + 4, object, (long long)j->created_s);
    write_quoted(&j->w, openai_model(j));
}

static void write_usage(struct job *j)
{
    struct realm_usage u = job_usage(j);
    write_f(&j->w,
            "\"usage\":{\"prompt_tokens\":%u,\"completion_tokens\":%u,\"total_tokens\":%llu,"
            "\"prompt_tokens_details\":{\"cached_tokens\":%u}}",
            u.prompt_tokens, u.completion_tokens,
            (unsigned long long)u.prompt_tokens + u.completion_tokens, u.cached_tokens);
}

static double rate(uint32_t tokens, uint64_t ns)
{
    return ns ? (double)tokens * 1e9 / (double)ns : 0;
}

static double each_ms(uint32_t tokens, uint64_t ns)
{
    return tokens ? (double)ns * 1e-6 / tokens : 0;
}

void write_timings(struct job *j)
{
    struct realm_usage u = job_usage(j);
    write_timings_of(j, &u);
}

void write_timings_of(struct job *j, const struct realm_usage *u)
{
    uint32_t computed = u->prompt_tokens - u->cached_tokens;
    if (j->guest)
        return;
    write_f(&j->w,
            ",\"timings\":{\"cache_n\":%u,\"prompt_n\":%u,\"prompt_ms\":%.3f,"
            "\"prompt_per_token_ms\":%.3f,\"prompt_per_second\":%.3f,\"predicted_n\":%u,"
            "\"predicted_ms\":%.3f,\"predicted_per_token_ms\":%.3f,\"predicted_per_second\":%.3f,"
            "\"queued_ms\":%.3f}",
            u->cached_tokens, computed, (double)u->prefill_ns * 1e-6,
            each_ms(computed, u->prefill_ns), rate(computed, u->prefill_ns), u->completion_tokens,
            (double)u->decode_ns * 1e-6, each_ms(u->completion_tokens, u->decode_ns),
            rate(u->completion_tokens, u->decode_ns), (double)u->queued_ns * 1e-6);
}

void write_timings_so_far(struct job *j, const struct choice *c)
{
    if (!j->ask.timings || j->guest)
        return; // while a guest runs its usage is its worker's
    struct realm_usage u = {.prompt_tokens = c->usage.prompt_tokens,
                            .completion_tokens = c->n_drawn};
    if (j->first_ns) {
        u.prefill_ns = j->first_ns - j->arrived_ns;
        u.decode_ns = j->last_ns - j->first_ns;
    }
    write_timings_of(j, &u);
}

static void write_obfuscation(struct job *j)
{
    static const char name[] = ",\"obfuscation\":\"\"}";
    char filling[OBFUSCATION_BYTES];
    size_t n = j->out.n + sizeof(name) - 1;
    memset(filling, 'x', sizeof(filling));
    write_text(&j->w, ",\"obfuscation\":");
    write_string(&j->w, filling, round_up(n, OBFUSCATION_BYTES) - n);
}

void openai_end_chunk(struct job *j)
{
    if (j->ask.include_usage)
        write_text(&j->w, ",\"usage\":null");
    if (j->ask.include_obfuscation)
        write_obfuscation(j);
    write_text(&j->w, "}");
    job_event(j, NULL);
}

void openai_finish(struct job *j)
{
    write_text(&j->w, ",");
    write_usage(j);
    write_timings(j);
    write_text(&j->w, "}");
    job_answer(j, 200);
}

void openai_finish_stream(struct job *j, const char *id_prefix, const char *object)
{
    if (j->ask.include_usage) {
        openai_begin(j, id_prefix, object);
        write_text(&j->w, ",\"choices\":[],");
        write_usage(j);
        write_timings(j);
        write_text(&j->w, "}");
        job_event(j, NULL);
    }
    write_text(&j->w, "[DONE]");
    job_event(j, NULL);
    job_done(j);
}

void openai_fail(struct job *j, const struct api_error *error)
{
    struct api_error e = *error;
    struct api_error_text t;
    api_error_write(&t, &e, api_error_openai, j->shown_id);
    http_stream_event(j->x, NULL, slice_of(t.text));
    api_error_text_free(&t);
}
