/* api/props.c - llama-server's GET /props: what the main model is, or that of ?model=. */
#include <string.h>

#include "api/api_impl.h"
#include "api/ask_impl.h"
#include "api/llama.h"
#include "base/mem.h"

static int props(struct job *j, struct api_error *e)
{
    struct realm_sampling sampling;
    j->ask.model = j->param;
    if (job_open_model(j, e))
        return -1;
    ask_llama_endpoint.defaults(&sampling);
    const struct realm_model_info *info = &j->info;
    write_f(&j->w, "{\"default_generation_settings\":{\"n_ctx\":%u,\"params\":{",
            info->context_tokens);
    write_llama_settings(j, &sampling);
    write_f(&j->w, "}},\"total_slots\":%d,\"model_path\":", BATCH_ROWS_MAX);
    write_quoted(&j->w, j->named.id);
    write_text(&j->w, ",\"model_alias\":");
    write_quoted(&j->w, j->named.id);
    write_text(&j->w, ",\"chat_template\":");
    write_quoted(&j->w, info->chat_template ? info->chat_template : "");
    write_text(&j->w, ",\"bos_token\":");
    write_quoted(&j->w, info->bos_text);
    write_text(&j->w, ",\"eos_token\":");
    write_quoted(&j->w, info->eos_text);
    write_text(&j->w, ",\"modalities\":{\"vision\":false,\"audio\":false},\"build_info\":");
    write_f(&j->w, "\"realm-%s\"}", realm_version());
    return 0;
}

static void finish(struct job *j)
{
    job_answer(j, 200);
}

const struct door door_props = {
    .name = "props",
    .work = props,
    .error = api_error_openai,
    .finish = finish,
};
