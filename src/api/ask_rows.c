/* api/ask_rows.c - rows that the endpoints of several makers share. */
#include "api/ask_impl.h"

/* OpenAI's, of chats and completions, with what its rivals' servers add to them. */
static const struct ask_member openai_rows[] = {
    {.name = "model",
     .kind = ASK_READ,
     .types = ASK_STRING,
     .read = ask_read_model,
     .schema = "{\"maxLength\":256}",
     .help = "a model's id; without it the server's main model answers"},
    {.name = "n",
     .kind = ASK_COUNT,
     .at = offsetof(struct ask, n),
     .min = 1,
     .max = CHOICES_MAX,
     .schema = "{\"default\":1}",
     .help = "answers to each prompt"},
    {.name = "temperature", .kind = ASK_PARAM},
    {.name = "top_p", .kind = ASK_PARAM},
    {.name = "top_k", .kind = ASK_PARAM},
    {.name = "min_p", .kind = ASK_PARAM},
    {.name = "repetition_penalty", .kind = ASK_PARAM},
    {.name = "repeat_penalty", .kind = ASK_PARAM, .param = "repetition_penalty"},
    {.name = "presence_penalty", .kind = ASK_PARAM},
    {.name = "frequency_penalty", .kind = ASK_PARAM},
    {.name = "seed",
     .kind = ASK_READ,
     .types = ASK_INT,
     .read = ask_read_seed,
     .help = "makes draws repeatable; a fresh one is drawn without it, and for -1"},
    {.name = "stop",
     .kind = ASK_READ,
     .types = ASK_STRING | ASK_ARRAY,
     .read = ask_read_stop,
     .schema = "{\"minLength\":1,\"maxLength\":256,\"maxItems\":16,"
               "\"items\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":256}}",
     .help = "the answer ends where one of these is spelled, and is cut before it"},
    {.name = "logit_bias",
     .kind = ASK_READ,
     .types = ASK_OBJECT | ASK_ARRAY | ASK_BOOL,
     .read = ask_read_bias,
     .schema = "{\"maxProperties\":1024,\"maxItems\":1024,\"additionalProperties\":"
               "{\"type\":\"number\",\"minimum\":-100,\"maximum\":100}}",
     .help = "added to the logits of tokens, by their ids"},
    ASK_FLAG_ROW("stream", stream, "send the answer as it comes, in events"),
    {.name = "stream_options",
     .kind = ASK_READ,
     .types = ASK_OBJECT,
     .read = ask_read_stream_options,
     .schema = "{\"properties\":{\"include_usage\":{\"type\":[\"boolean\",\"null\"]},"
               "\"include_obfuscation\":{\"type\":[\"boolean\",\"null\"]}}}",
     .help = "include_usage: an event with the tokens used; include_obfuscation: events whose "
             "length tells less"},
    {.name = "priority",
     .kind = ASK_READ,
     .types = ASK_INT,
     .read = ask_read_priority,
     .schema = "{\"minimum\":-100,\"maximum\":100,\"default\":0}",
     .help = "among the tenant's own requests that wait, those with more go first"},
    ASK_FLAG_ROW("ignore_eos", ignore_end, "go on where the model would end"),
    ASK_PASS_ROW("user", ASK_STRING),
};

const struct ask_group ask_openai_group = ASK_GROUP(openai_rows);

#define OFF(name_)                                           \
    {                                                        \
        .name = name_, .kind = ASK_NEUTRAL, .types = ASK_ANY \
    }
#define OFF_AT(name_, min_, max_)                                                         \
    {                                                                                     \
        .name = name_, .kind = ASK_NEUTRAL, .types = ASK_NUMBER, .min = min_, .max = max_ \
    }
#define REFUSED(name_)                    \
    {                                     \
        .name = name_, .kind = ASK_REFUSE \
    }

/* What clients of llama-server and vLLM may send to any door.  Values that leave the answer
 * as it is are let through. */
static const struct ask_member foreign_rows[] = {
    {.name = "chat_template", .kind = ASK_READ, .types = ASK_ANY, .read = ask_read_template},
    /* llama-server; these two come after all that they switch off */
    {.name = "repeat_last_n",
     .kind = ASK_READ,
     .types = ASK_INT,
     .read = ask_read_repeat_last_n,
     .schema = "{\"default\":64}",
     .help = "over how many tokens penalties look; 0 turns them off"},
    {.name = "samplers",
     .kind = ASK_READ,
     .types = ASK_ARRAY,
     .read = ask_read_samplers,
     .schema = "{\"items\":{\"type\":\"string\"}}",
     .help = "samplers that are not named are off"},
    OFF("grammar"),
    REFUSED("json_schema"),
    OFF_AT("typical_p", 1, 1e9),
    OFF_AT("tfs_z", 1, 1e9),
    OFF_AT("top_n_sigma", -1e9, 0),
    OFF_AT("mirostat", 0, 0),
    ASK_PASS_ROW("mirostat_tau", ASK_NUMBER),
    ASK_PASS_ROW("mirostat_eta", ASK_NUMBER),
    OFF_AT("dynatemp_range", 0, 0),
    ASK_PASS_ROW("dynatemp_exponent", ASK_NUMBER),
    OFF_AT("dry_multiplier", 0, 0),
    ASK_PASS_ROW("dry_base", ASK_NUMBER),
    ASK_PASS_ROW("dry_allowed_length", ASK_INT),
    ASK_PASS_ROW("dry_penalty_last_n", ASK_INT),
    ASK_PASS_ROW("dry_sequence_breakers", ASK_ARRAY),
    OFF_AT("xtc_probability", 0, 0),
    ASK_PASS_ROW("xtc_threshold", ASK_NUMBER),
    OFF_AT("adaptive_target", -1e9, -1e-9),
    ASK_PASS_ROW("adaptive_decay", ASK_NUMBER),
    OFF_AT("min_keep", 0, 0),
    OFF_AT("n_indent", 0, 0),
    OFF_AT("n_discard", 0, 0),
    OFF_AT("t_max_predict_ms", -1, 0),
    ASK_PASS_ROW("n_keep", ASK_INT),
    ASK_PASS_ROW("n_cache_reuse", ASK_INT),
    ASK_PASS_ROW("id_slot", ASK_INT),
    ASK_PASS_ROW("cache_prompt", ASK_BOOL),
    ASK_PASS_ROW("sse_ping_interval", ASK_INT),
    ASK_PASS_ROW("backend_sampling", ASK_BOOL),
    OFF("post_sampling_probs"),
    OFF("return_progress"),
    OFF("response_fields"),
    OFF("lora"),
    OFF("image_data"),
    /* vLLM */
    OFF_AT("min_tokens", 0, 0),
    OFF_AT("length_penalty", 1, 1),
    OFF("use_beam_search"),
    OFF("bad_words"),
    OFF("stop_token_ids"),
    OFF("allowed_token_ids"),
    OFF("include_stop_str_in_output"),
    {.name = "skip_special_tokens", .kind = ASK_NEUTRAL, .types = ASK_BOOL, .words = "true "},
    OFF("logits_processors"),
    OFF("return_token_ids"),
    OFF("return_tokens_as_token_ids"),
    REFUSED("guided_json"),
    REFUSED("guided_regex"),
    REFUSED("guided_choice"),
    REFUSED("guided_grammar"),
    REFUSED("structured_outputs"),
    REFUSED("prompt_logprobs"),
    REFUSED("truncate_prompt_tokens"),
    OFF("documents"),
};

const struct ask_group ask_foreign_group = ASK_GROUP(foreign_rows);
