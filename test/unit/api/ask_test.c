/* Requests door by door: what is read into which field, and what is refused where. */
#include "doors.h"

enum { CHAT, COMPLETION, MESSAGES, COUNT, LLAMA, EMBEDDINGS, LLAMA_EMBEDDINGS, GENERATE, CALL };

/* Bad requests, and the parameter that is named; code NULL: any. */
struct bad {
    int door;
    const char *text, *param, *code;
};

static void check_bad(const struct bad *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct ask a;
        struct api_error e;
        int http = read_text(&doors[rows[i].door], rows[i].text, &a, &e);
        if (http != 400 || strcmp(e.param, rows[i].param) != 0)
            fail_msg("%s %s: %d, param \"%s\": %s", doors[rows[i].door].name, rows[i].text, http,
                     e.param, e.message);
        if (rows[i].code)
            assert_string_equal(e.code, rows[i].code);
    }
}

static void read_ok(int door, const char *text, struct ask *a)
{
    struct api_error e;
    if (read_text(&doors[door], text, a, &e))
        fail_msg("%s %s: %s", doors[door].name, text, e.message);
}

#define UNSUPPORTED "unsupported_parameter"

/* J01 to J04: what is no request at all. */
static void test_json(void **state)
{
    (void)state;
    static const struct bad rows[] = {
        {CHAT, "", "", "invalid_json"},
        {CHAT, "[]", "", "invalid_json"},
        {CHAT, "{" TALK ",\"n\":1,\"n\":1}", "", "invalid_json"},
        {CHAT, "{" TALK ",\"temperature\":1e999}", "", "invalid_json"},
        {CHAT, "{" TALK ",\"temperature\":NaN}", "", "invalid_json"},
        {CHAT, "{" TALK ",\"temperature\":.5}", "", "invalid_json"},
        {CHAT, "{" TALK ",\"temperature\":+1}", "", "invalid_json"},
        {CHAT, "{" TALK ",\"n\":01}", "", "invalid_json"},
        {CHAT, "{" TALK ",\"seed\":18446744073709551616}", "", "invalid_json"},
        {CHAT, "{" TALK ",\"model\":\"\\ud800\"}", "", "invalid_json"},
        {CHAT, "{" TALK ",\"mod\\u0000el\":\"a\"}", "", "invalid_json"},
        {CHAT, "{" TALK ",\"model\":\"\xff\"}", "", "invalid_json"},
        {CHAT, "{" TALK ",\"model\":\"\xc0\x80\"}", "", "invalid_json"},
        {CHAT, "\xef\xbb\xbf{" TALK "}", "", "invalid_json"},
        {CHAT, "{" TALK ",\"model\":\"a\\u0000b\"}", "model", NULL},
    };
    check_bad(rows, ARRAY_LEN(rows));
    struct api_error e;
    json_t *body;
    assert_int_equal(ask_json(&body, "{\"a\": secret}", 13, &e), -1);
    assert_null(strstr(e.message, "secret"));
    static char deep[200000];
    memset(deep, '[', sizeof(deep));
    assert_int_equal(ask_json(&body, deep, sizeof(deep), &e), -1);
    assert_string_equal(e.code, "json_too_deep");
    assert_null(body);
}

/* What each door draws with when nothing is said. */
static void test_defaults(void **state)
{
    (void)state;
    struct ask a;
    read_ok(CHAT, "{" TALK ",\"unknown\":[1],\"__proto__\":{}}", &a);
    assert_true(a.n == 1 && a.sampling.temperature == 1 && !a.sampling.has_seed && !a.stream);
    assert_true(a.sampling.max_tokens == 0 && a.sampling.top_k == 0 && !a.model && a.messages);
    ask_free(&a);
    read_ok(LLAMA, "{\"prompt\":\"x\"}", &a);
    assert_true(a.sampling.temperature == 0.8f && a.sampling.top_k == 40 && a.special);
    assert_true(a.sampling.top_p == 0.95f && a.sampling.min_p == 0.05f);
    ask_free(&a);
    read_ok(GENERATE, "{\"prompt\":\"x\"}", &a);
    assert_true(a.sampling.max_tokens == 100 && a.sampling.top_p == 0.9f && !a.special);
    ask_free(&a);
}

static void test_common(void **state)
{
    (void)state;
    struct ask a;
    read_ok(CHAT,
            "{" TALK ",\"model\":\"m\",\"n\":3,\"max_completion_tokens\":7,\"max_tokens\":7,"
            "\"temperature\":0,\"top_p\":0.5,\"seed\":-2,\"stop\":[\"a\",\"a\"],\"stream\":true,"
            "\"stream_options\":{\"include_usage\":true,\"include_obfuscation\":true},"
            "\"logprobs\":true,\"top_logprobs\":20,\"logit_bias\":{\"7\":-100,\"9\":1.5},"
            "\"ignore_eos\":true,\"repeat_penalty\":1.5,\"timings_per_token\":true,"
            "\"tools\":[{\"type\":\"function\"}],\"tool_choice\":\"none\","
            "\"response_format\":{\"type\":\"text\"},\"modalities\":[\"text\"],\"store\":false,"
            "\"service_tier\":\"auto\",\"verbosity\":\"medium\",\"user\":\"u\",\"metadata\":{}}",
            &a);
    assert_string_equal(a.model, "m");
    assert_true(a.n == 3 && a.sampling.max_tokens == 7 && a.sampling.temperature == 0);
    assert_true(a.sampling.has_seed && a.sampling.seed == UINT64_MAX - 1);
    assert_true(a.n_stop == 2 && strcmp(a.stop[1], "a") == 0 && a.stream && a.include_usage);
    assert_true(a.include_obfuscation && a.logprobs && a.top_logprobs == 20 && a.ignore_end);
    assert_true(a.n_bias == 2 && a.bias[0].token == 7 && a.bias[0].bias == -100);
    assert_true(a.bias[1].token == 9 && a.bias[1].bias == 1.5f && a.timings);
    assert_true(a.sampling.repetition_penalty == 1.5f);
    ask_free(&a);
    read_ok(CHAT, "{" TALK ",\"model\":\"\",\"seed\":9223372036854775807,\"stop\":[]}", &a);
    assert_true(!a.model && a.sampling.seed == INT64_MAX && a.n_stop == 0);
    ask_free(&a);
}

/* J07, J08 and the other members that have shapes of their own. */
static void test_shapes(void **state)
{
    (void)state;
    static const struct bad rows[] = {
        {CHAT, "{" TALK ",\"stop\":\"\"}", "stop", NULL},
        {CHAT, "{" TALK ",\"stop\":[\"a\",\"\"]}", "stop", NULL},
        {CHAT, "{" TALK ",\"stop\":[1]}", "stop", NULL},
        {CHAT, "{" TALK ",\"stop\":\"a\\u0000\"}", "stop", NULL},
        {CHAT, "{" TALK ",\"logit_bias\":{\"-1\":1}}", "logit_bias", NULL},
        {CHAT, "{" TALK ",\"logit_bias\":{\"1x\":1}}", "logit_bias", NULL},
        {CHAT, "{" TALK ",\"logit_bias\":{\"\":1}}", "logit_bias", NULL},
        {CHAT, "{" TALK ",\"logit_bias\":{\"2097152\":1}}", "logit_bias", NULL},
        {CHAT, "{" TALK ",\"logit_bias\":{\"99999999999999999999\":1}}", "logit_bias", NULL},
        {CHAT, "{" TALK ",\"logit_bias\":{\"1\":100.5}}", "logit_bias", NULL},
        {CHAT, "{" TALK ",\"logit_bias\":{\"1\":\"1\"}}", "logit_bias", NULL},
        {CHAT, "{" TALK ",\"logit_bias\":true}", "logit_bias", NULL},
        {LLAMA, "{\"prompt\":\"x\",\"logit_bias\":[[1]]}", "logit_bias", NULL},
        {LLAMA, "{\"prompt\":\"x\",\"logit_bias\":[[1.5,1]]}", "logit_bias", NULL},
        {LLAMA, "{\"prompt\":\"x\",\"logit_bias\":[[1,true]]}", "logit_bias", NULL},
        {LLAMA, "{\"prompt\":\"x\",\"logit_bias\":[[\"text\",1]]}", "logit_bias", NULL},
        {CHAT, "{" TALK ",\"stream_options\":{\"include_usage\":1}}",
         "stream_options.include_usage", NULL},
        {CHAT, "{" TALK ",\"max_tokens\":5,\"max_completion_tokens\":6}", "max_completion_tokens",
         NULL},
        {CHAT, "{" TALK ",\"max_tokens\":5,\"n_predict\":6}", "n_predict", NULL},
        {CHAT, "{" TALK ",\"max_tokens\":5,\"n_predict\":-1}", "n_predict", NULL},
        {CHAT, "{" TALK ",\"n_predict\":0}", "n_predict", NULL},
        {CHAT, "{" TALK ",\"n_predict\":\"5\"}", "n_predict", NULL},
        {LLAMA, "{\"prompt\":\"x\",\"max_tokens\":5,\"n_predict\":6}", "max_tokens", NULL},
        {CHAT, "{" TALK ",\"top_logprobs\":1}", "top_logprobs", NULL},
        {CHAT, "{" TALK ",\"top_logprobs\":21,\"logprobs\":true}", "top_logprobs", NULL},
        {CHAT, "{" TALK ",\"reasoning_effort\":\"much\"}", "reasoning_effort", NULL},
        {CHAT, "{" TALK ",\"response_format\":{}}", "response_format.type", NULL},
        {EMBEDDINGS, "{\"input\":\"x\",\"encoding_format\":\"hex\"}", "encoding_format", NULL},
    };
    check_bad(rows, ARRAY_LEN(rows));
    const struct door *d = &doors[CHAT];
    char text[16384];
    for (int n = 256; n <= 257; n++) {
        snprintf(text, sizeof(text), "\"%0*d\"", n, 0);
        assert_int_equal(takes(d, "stop", text), n == 256);
    }
    for (int n = 16; n <= 17; n++) {
        size_t at = (size_t)snprintf(text, sizeof(text), "[\"a\"");
        for (int i = 1; i < n; i++)
            at += (size_t)snprintf(text + at, sizeof(text) - at, ",\"a\"");
        snprintf(text + at, sizeof(text) - at, "]");
        assert_int_equal(takes(d, "stop", text), n == 16);
    }
    for (int n = 1024; n <= 1025; n++) {
        size_t at = (size_t)snprintf(text, sizeof(text), "{\"0\":1");
        for (int i = 1; i < n; i++)
            at += (size_t)snprintf(text + at, sizeof(text) - at, ",\"%d\":1", i);
        snprintf(text + at, sizeof(text) - at, "}");
        assert_int_equal(takes(d, "logit_bias", text), n == 1024);
    }
    snprintf(text, sizeof(text), "\"%0*d\"", MODEL_NAME_MAX + 1, 0);
    assert_false(takes(d, "model", text));
}

/* What is not supported is refused by its name; T01. */
static void test_unsupported(void **state)
{
    (void)state;
    static const struct bad rows[] = {
        {CHAT, "{" TALK ",\"tools\":[{\"type\":\"function\"}]}", "tools", UNSUPPORTED},
        {CHAT, "{" TALK ",\"tool_choice\":\"required\"}", "tool_choice", UNSUPPORTED},
        {CHAT, "{" TALK ",\"tool_choice\":{\"type\":\"function\"}}", "tool_choice", UNSUPPORTED},
        {CHAT, "{" TALK ",\"functions\":[{}]}", "functions", UNSUPPORTED},
        {CHAT, "{" TALK ",\"response_format\":{\"type\":\"json_object\"}}", "response_format",
         UNSUPPORTED},
        {CHAT, "{" TALK ",\"modalities\":[\"text\",\"audio\"]}", "modalities", UNSUPPORTED},
        {CHAT, "{" TALK ",\"store\":true}", "store", UNSUPPORTED},
        {CHAT, "{" TALK ",\"service_tier\":\"flex\"}", "service_tier", UNSUPPORTED},
        {CHAT, "{" TALK ",\"verbosity\":\"low\"}", "verbosity", UNSUPPORTED},
        {CHAT, "{" TALK ",\"web_search_options\":{}}", "web_search_options", UNSUPPORTED},
        {CHAT, "{" TALK ",\"prediction\":{\"type\":\"content\",\"content\":\"x\"}}", "prediction",
         UNSUPPORTED},
        {CHAT, "{" TALK ",\"reasoning_format\":\"none\"}", "reasoning_format", UNSUPPORTED},
        {CHAT, "{" TALK ",\"include_reasoning\":false}", "include_reasoning", UNSUPPORTED},
        {CHAT, "{" TALK ",\"add_special_tokens\":true}", "add_special_tokens", UNSUPPORTED},
        {CHAT, "{" TALK ",\"skip_special_tokens\":false}", "skip_special_tokens", UNSUPPORTED},
        {CHAT, "{" TALK ",\"samplers\":[\"top_p\",\"top_k\"]}", "samplers", UNSUPPORTED},
        {CHAT, "{" TALK ",\"repeat_penalty\":1.1,\"repeat_last_n\":-1}", "repeat_last_n",
         UNSUPPORTED},
        {CHAT, "{" TALK ",\"chat_template_kwargs\":{\"messages\":[]}}",
         "chat_template_kwargs.messages", UNSUPPORTED},
        {CHAT, "{" TALK ",\"chat_template_kwargs\":{\"add_generation_prompt\":false}}",
         "chat_template_kwargs.add_generation_prompt", UNSUPPORTED},
        {CHAT, "{" TALK ",\"chat_template_kwargs\":{\"bos_token\":\"\"}}",
         "chat_template_kwargs.bos_token", UNSUPPORTED},
        {COMPLETION, "{\"prompt\":\"x\",\"add_special_tokens\":false}", "add_special_tokens",
         UNSUPPORTED},
        {CHAT, "{" TALK ",\"chat_template\":\"{{ 1 }}\"}", "chat_template", "not_allowed"},
        {LLAMA, "{\"prompt\":\"x\",\"chat_template\":\"\"}", "chat_template", "not_allowed"},
        {COMPLETION, "{\"prompt\":\"x\",\"suffix\":\"y\"}", "suffix", UNSUPPORTED},
        {COMPLETION, "{\"prompt\":\"x\",\"best_of\":2}", "best_of", UNSUPPORTED},
        {COMPLETION, "{\"prompt\":\"x\",\"n\":2,\"best_of\":1}", "best_of", UNSUPPORTED},
        {LLAMA, "{\"prompt\":\"x\",\"grammar\":\"root ::= x\"}", "grammar", UNSUPPORTED},
        {LLAMA, "{\"prompt\":\"x\",\"json_schema\":{}}", "json_schema", UNSUPPORTED},
        {LLAMA, "{\"prompt\":\"x\",\"mirostat\":2}", "mirostat", UNSUPPORTED},
        {LLAMA, "{\"prompt\":\"x\",\"typical_p\":0.5}", "typical_p", UNSUPPORTED},
        {LLAMA, "{\"prompt\":\"x\",\"dry_multiplier\":0.8}", "dry_multiplier", UNSUPPORTED},
        {LLAMA, "{\"prompt\":\"x\",\"xtc_probability\":0.1}", "xtc_probability", UNSUPPORTED},
        {LLAMA, "{\"prompt\":\"x\",\"dynatemp_range\":0.1}", "dynatemp_range", UNSUPPORTED},
        {LLAMA, "{\"prompt\":\"x\",\"top_n_sigma\":1}", "top_n_sigma", UNSUPPORTED},
        {LLAMA, "{\"prompt\":\"x\",\"repeat_penalty\":1.1,\"repeat_last_n\":32}", "repeat_last_n",
         UNSUPPORTED},
        {LLAMA, "{\"prompt\":\"x\",\"samplers\":[\"top_p\",\"top_k\"]}", "samplers", UNSUPPORTED},
        {LLAMA, "{\"prompt\":\"x\",\"samplers\":[\"infill\"]}", "samplers", UNSUPPORTED},
        {LLAMA, "{\"prompt\":{\"prompt_string\":\"x\",\"multimodal_data\":[\"y\"]}}", "prompt",
         UNSUPPORTED},
        {MESSAGES, "{" TALK ",\"max_tokens\":1,\"tools\":[{}]}", "tools", UNSUPPORTED},
        {MESSAGES, "{" TALK ",\"max_tokens\":1,\"speed\":\"fast\"}", "speed", UNSUPPORTED},
        {MESSAGES, "{" TALK ",\"max_tokens\":1,\"container\":\"c\"}", "container", UNSUPPORTED},
        {MESSAGES, "{" TALK ",\"max_tokens\":1,\"output_config\":{\"format\":{}}}",
         "output_config.format", UNSUPPORTED},
        {MESSAGES, "{" TALK ",\"max_tokens\":1,\"tool_choice\":{\"type\":\"any\"}}", "tool_choice",
         UNSUPPORTED},
    };
    check_bad(rows, ARRAY_LEN(rows));
}

#define CONVERSATION(messages_) "{\"messages\":[" messages_ "]}"

/* J11: conversations that are none name the place. */
static void test_conversations(void **state)
{
    (void)state;
    static const struct bad rows[] = {
        {CHAT, "{}", "messages", "missing_required_parameter"},
        {CHAT, "{\"messages\":null}", "messages", "missing_required_parameter"},
        {CHAT, "{\"messages\":\"x\"}", "messages", NULL},
        {CHAT, CONVERSATION(""), "messages", NULL},
        {CHAT, CONVERSATION("1"), "messages[0]", NULL},
        {CHAT, CONVERSATION("{\"role\":\"king\",\"content\":\"\"}"), "messages[0].role", NULL},
        {CHAT, CONVERSATION("{\"role\":\"function\",\"content\":\"\"}"), "messages[0].role", NULL},
        {CHAT, CONVERSATION("{\"role\":\"user\",\"content\":\"\"},{\"role\":\"user\"}"),
         "messages[1].content", NULL},
        {CHAT,
         CONVERSATION(
             "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{}}]}"),
         "messages[0].content[0].type", NULL},
        {CHAT, CONVERSATION("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":1}]}"),
         "messages[0].content[0].text", NULL},
        {CHAT, CONVERSATION("{\"role\":\"tool\",\"content\":\"x\"}"), "messages[0].tool_call_id",
         NULL},
        {CALL, CONVERSATION("{\"role\":\"user\"}"), "messages[0].content", NULL},
    };
    check_bad(rows, ARRAY_LEN(rows));
}

/* Variables that requests set for the model's template. */
static void test_variables(void **state)
{
    (void)state;
    struct ask a;
    read_ok(CHAT,
            "{" TALK ",\"enable_thinking\":true,\"chat_template_kwargs\":{\"k\":[1],"
            "\"enable_thinking\":false}}",
            &a);
    assert_true(json_is_false(json_object_get(a.variables, "enable_thinking")));
    assert_int_equal(json_array_size(json_object_get(a.variables, "k")), 1);
    ask_free(&a);
    read_ok(CHAT, "{" TALK ",\"reasoning_effort\":\"none\"}", &a);
    assert_true(json_is_false(json_object_get(a.variables, "enable_thinking")));
    assert_string_equal(json_string_value(json_object_get(a.variables, "reasoning_effort")),
                        "none");
    ask_free(&a);
}

/* J06: prompts of each kind, and how many. */
static void test_prompts(void **state)
{
    (void)state;
    static const struct bad rows[] = {
        {COMPLETION, "{}", "prompt", "missing_required_parameter"},
        {COMPLETION, "{\"prompt\":[]}", "prompt", NULL},
        {COMPLETION, "{\"prompt\":[[]]}", "prompt[0]", NULL},
        {COMPLETION, "{\"prompt\":[1,-1]}", "prompt", NULL},
        {COMPLETION, "{\"prompt\":[1,1.5]}", "prompt", NULL},
        {COMPLETION, "{\"prompt\":[1,2097152]}", "prompt", NULL},
        {COMPLETION, "{\"prompt\":[\"a\",[\"b\"]]}", "prompt[1]", NULL},
        {COMPLETION, "{\"prompt\":[\"a\",1]}", "prompt[1]", NULL},
        {COMPLETION, "{\"prompt\":[\"a\",\"b\"],\"n\":9}", "n", NULL},
        {COMPLETION, "{\"prompt\":\"a\",\"max_tokens\":0}", "max_tokens", NULL},
        {LLAMA, "{\"prompt\":[]}", "prompt", NULL},
        {LLAMA, "{\"prompt\":[1.5]}", "prompt", NULL},
        {LLAMA, "{\"prompt\":[\"a\",-1]}", "prompt", NULL},
        {LLAMA, "{\"prompt\":[\"a\",[]]}", "prompt[1]", NULL},
        {LLAMA, "{\"prompt\":{}}", "prompt", NULL},
        {LLAMA, "{\"prompt\":[\"a\",\"b\"],\"n_cmpl\":9}", "n_cmpl", NULL},
        {EMBEDDINGS, "{\"input\":[\"a\",\"\"]}", "input", NULL},
        {EMBEDDINGS, "{\"input\":\"\"}", "input", NULL},
        {EMBEDDINGS, "{\"input\":[null]}", "input[0]", NULL},
        {GENERATE, "{\"prompt\":[\"a\"]}", "prompt", NULL},
    };
    check_bad(rows, ARRAY_LEN(rows));
    struct ask a;
    read_ok(COMPLETION,
            "{\"prompt\":[\"a\\u0000b\",[1,2]],\"echo\":true,\"max_tokens\":0,\"logprobs\":5,"
            "\"n\":8,\"best_of\":8}",
            &a);
    assert_true(a.n_prompts == 2 && a.prompts[0].bytes == 3 && a.prompts[1].n_ids == 2);
    assert_true(a.prompts[1].ids[1] == 2 && a.echo && a.prompt_only && a.n == 8);
    assert_true(a.logprobs && a.top_logprobs == 5);
    ask_free(&a);
    read_ok(EMBEDDINGS, "{\"input\":[5,6],\"encoding_format\":\"base64\",\"dimensions\":3}", &a);
    assert_true(a.n_prompts == 1 && a.prompts[0].n_ids == 2 && a.base64 && a.dimensions == 3);
    ask_free(&a);
    read_ok(LLAMA_EMBEDDINGS,
            "{\"content\":[\"a\",[5,6]],\"embd_normalize\":-1,\"pooling\":\"cls\"}", &a);
    assert_true(a.n_prompts == 2 && a.raw && a.special && a.pooling == REALM_POOL_CLS);
    ask_free(&a);
    json_t *body = json_pack("{s[]}", "input"), *input = json_object_get(body, "input");
    struct api_error e;
    for (int i = 0; i < EMBEDDING_INPUTS_MAX; i++)
        json_array_append_new(input, json_string("a"));
    assert_int_equal(ask_embeddings(&a, json_incref(body), &e), 0);
    assert_int_equal(a.n_prompts, EMBEDDING_INPUTS_MAX);
    ask_free(&a);
    json_array_append_new(input, json_string("a"));
    assert_int_equal(ask_embeddings(&a, body, &e), -1);
    assert_string_equal(e.param, "input");
    ask_free(&a);
}

static void test_llama(void **state)
{
    (void)state;
    struct ask a;
    read_ok(LLAMA,
            "{\"prompt\":[1,\"a\"],\"n_predict\":0,\"seed\":-1,\"logit_bias\":[[3,false],[4,1]],"
            "\"n_probs\":2,\"return_tokens\":true,\"repeat_penalty\":1.3,\"repeat_last_n\":0}",
            &a);
    assert_true(a.n_prompts == 1 && json_array_size(a.prompts[0].parts) == 2 && a.prompt_only);
    assert_true(!a.sampling.has_seed && a.n_bias == 2 && a.bias[0].bias == -100);
    assert_true(a.logprobs && a.top_logprobs == 2 && a.return_tokens);
    assert_true(a.sampling.repetition_penalty == 1);
    ask_free(&a);
    read_ok(LLAMA,
            "{\"prompt\":[[1,2],\"b\",[3,\"c\"],{\"prompt_string\":\"d\"}],\"n_predict\":-1,"
            "\"logit_bias\":false,\"samplers\":[\"dry\",\"top_k\",\"typ_p\",\"temperature\"],"
            "\"typical_p\":1.0,\"mirostat\":0,\"grammar\":\"\",\"cache_prompt\":true,"
            "\"dry_multiplier\":0.0,\"top_n_sigma\":-1,\"id_slot\":-1,\"seed\":4294967295}",
            &a);
    assert_true(a.n_prompts == 4 && a.prompts[0].n_ids == 2 && a.prompts[1].text);
    assert_true(a.prompts[2].parts && a.prompts[3].text && a.sampling.max_tokens == 0);
    assert_true(a.sampling.top_k == 40 && a.sampling.top_p == 1 && a.sampling.min_p == 0);
    assert_true(a.sampling.temperature == 0.8f && !a.sampling.has_seed && !a.prompt_only);
    ask_free(&a);
}

/* llama-server reads OpenAI's calls as it reads its own, by either's names. */
static void test_llama_at_other_doors(void **state)
{
    (void)state;
    static const int doors_of_openai[] = {CHAT, COMPLETION};
    static const char *const least[] = {TALK, "\"prompt\":\"x\""};
    struct ask a;
    char text[512];
    for (size_t i = 0; i < ARRAY_LEN(least); i++) {
        snprintf(text, sizeof(text),
                 "{%s,\"n_predict\":9,\"max_tokens\":9,\"top_k\":7,\"top_p\":0.5,\"min_p\":0.1,"
                 "\"repeat_penalty\":1.5,\"repeat_last_n\":64,\"skip_special_tokens\":true,"
                 "\"samplers\":[\"penalties\",\"top_k\"],\"logits_processors\":null}",
                 least[i]);
        read_ok(doors_of_openai[i], text, &a);
        assert_true(a.sampling.max_tokens == 9 && a.sampling.top_k == 7);
        assert_true(a.sampling.top_p == 1 && a.sampling.min_p == 0);
        assert_true(a.sampling.temperature == 1 && a.sampling.repetition_penalty == 1.5f);
        ask_free(&a);
        snprintf(text, sizeof(text), "{%s,\"n_predict\":-1,\"repeat_last_n\":0}", least[i]);
        read_ok(doors_of_openai[i], text, &a);
        assert_int_equal(a.sampling.max_tokens, 0);
        ask_free(&a);
    }
    static const char *const all[] = {TALK, "\"prompt\":\"x\"", "\"prompt\":\"x\"", TALK,
                                      TALK ",\"max_tokens\":1"};
    static const int drawing[] = {CHAT, COMPLETION, GENERATE, CALL, MESSAGES};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        snprintf(text, sizeof(text), "{%s,\"seed\":-1}", all[i]);
        read_ok(drawing[i], text, &a);
        assert_false(a.sampling.has_seed);
        ask_free(&a);
        snprintf(text, sizeof(text), "{%s,\"seed\":4294967295}", all[i]);
        read_ok(drawing[i], text, &a);
        assert_true(a.sampling.has_seed && a.sampling.seed == UINT32_MAX);
        ask_free(&a);
    }
    read_ok(CHAT,
            "{" TALK ",\"reasoning_format\":\"auto\",\"include_reasoning\":true,"
            "\"chat_template_kwargs\":{\"add_generation_prompt\":true}}",
            &a);
    ask_free(&a);
    read_ok(LLAMA, "{\"prompt\":\"x\",\"max_tokens\":4}", &a);
    assert_int_equal(a.sampling.max_tokens, 4);
    ask_free(&a);
}

/* Anthropic's: a system prompt of its own, blocks, thoughts. */
static void test_messages(void **state)
{
    (void)state;
    struct ask a;
    read_ok(MESSAGES,
            "{\"max_tokens\":5,\"system\":[{\"type\":\"text\",\"text\":\"S\",\"cache_control\":"
            "{\"type\":\"ephemeral\"}}],\"messages\":[{\"role\":\"user\",\"content\":\"Q\"},"
            "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"T\","
            "\"signature\":\"\"},{\"type\":\"redacted_thinking\",\"data\":\"\"},"
            "{\"type\":\"text\",\"text\":\"A\"}]},{\"role\":\"user\",\"content\":\"R\"}],"
            "\"stop_sequences\":[\"x\"],\"temperature\":1,\"thinking\":{\"type\":\"disabled\"},"
            "\"output_config\":{\"effort\":\"low\"},\"stream\":true}",
            &a);
    json_t *want = json_loads("[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":"
                              "\"S\"}]},{\"role\":\"user\",\"content\":\"Q\"},"
                              "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":"
                              "\"A\"}],\"reasoning_content\":\"T\"},"
                              "{\"role\":\"user\",\"content\":\"R\"}]",
                              0, NULL);
    assert_true(json_equal(a.messages, want));
    assert_true(a.n_stop == 1 && a.sampling.max_tokens == 5 && a.stream);
    assert_true(json_is_false(json_object_get(a.variables, "enable_thinking")));
    json_decref(want);
    ask_free(&a);
    read_ok(MESSAGES,
            "{" TALK ",\"max_tokens\":1,\"seed\":7,\"min_p\":0.5,\"repeat_penalty\":1.5,"
            "\"presence_penalty\":1,\"frequency_penalty\":2,\"ignore_eos\":true}",
            &a);
    assert_true(a.sampling.has_seed && a.sampling.seed == 7 && a.sampling.min_p == 0.5f);
    assert_true(a.sampling.repetition_penalty == 1.5f && a.sampling.presence_penalty == 1);
    assert_true(a.sampling.frequency_penalty == 2 && a.ignore_end);
    ask_free(&a);
    static const struct bad rows[] = {
        {MESSAGES, "{" TALK "}", "max_tokens", "missing_required_parameter"},
        {MESSAGES, "{" TALK ",\"max_tokens\":1,\"temperature\":1.5}", "temperature", NULL},
        {MESSAGES, "{" TALK ",\"max_tokens\":1,\"system\":[{\"type\":\"image\"}]}",
         "system[0].type", UNSUPPORTED},
        {MESSAGES, "{" TALK ",\"max_tokens\":1,\"stop_sequences\":\"x\"}", "stop_sequences", NULL},
        {MESSAGES, "{" TALK ",\"max_tokens\":1,\"thinking\":{\"type\":\"x\"}}", "thinking.type",
         NULL},
        {COUNT, "{\"messages\":[{\"role\":\"tool\",\"content\":\"\"}]}", "messages[0].role", NULL},
        {COUNT, "{\"messages\":[{\"role\":\"user\"}]}", "messages[0].content", NULL},
        {COUNT, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\"}]}]}",
         "messages[0].content[0].type", UNSUPPORTED},
        {COUNT,
         "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"thinking\","
         "\"thinking\":\"T\"}]}]}",
         "messages[0].content[0].type", UNSUPPORTED},
        {COUNT, "{\"messages\":[{\"role\":\"user\",\"content\":[\"x\"]}]}",
         "messages[0].content[0].type", NULL},
        {COUNT,
         "{\"messages\":[{\"role\":\"user\",\"content\":\"Q\"},{\"role\":\"assistant\","
         "\"content\":\"A\"}]}",
         "messages", UNSUPPORTED},
    };
    check_bad(rows, ARRAY_LEN(rows));
    read_ok(COUNT, "{" TALK "}", &a);
    ask_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_common),      cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_unsupported), cmocka_unit_test(test_conversations),
        cmocka_unit_test(test_variables),   cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_llama),       cmocka_unit_test(test_llama_at_other_doors),
        cmocka_unit_test(test_messages),
    };
    return cmocka_run_group_tests_name("api/ask", tests, NULL, NULL);
}
