/* api/ask_impl.h - requests are read by tables.
 *
 * Each endpoint has rows for the members that its clients can send; the same rows describe
 * it in /openapi.json.  Ranges and defaults of what realm_params has come from there. */
#ifndef API_ASK_IMPL_H
#define API_ASK_IMPL_H

#include "api/ask.h"
#include "base/compiler.h"

enum ask_kind {
    ASK_PARAM,   /* a number of realm_params, of the name `param`, or else of its own */
    ASK_FLAG,    /* true or false, into the bool at `at` */
    ASK_COUNT,   /* a whole number from min to max, into the uint32_t at `at` */
    ASK_READ,    /* read() says */
    ASK_PASS,    /* changes nothing: its type alone is checked */
    ASK_NEUTRAL, /* cannot be honoured: only values that change nothing are accepted, which
                    are false, empty ones, numbers from min to max, and `words` */
    ASK_REFUSE,  /* cannot be honoured at all */
};

enum ask_type {
    ASK_STRING = 1,
    ASK_BOOL = 2,
    ASK_INT = 4,
    ASK_NUMBER = 8, /* and integers */
    ASK_ARRAY = 16,
    ASK_OBJECT = 32,
    ASK_ANY = 63,
};

struct ask_member;
typedef int ask_read_fn(struct ask *a, const struct ask_member *m, const json_t *value,
                        struct api_error *e);

struct ask_member {
    const char *name;
    enum ask_kind kind;
    unsigned types; /* what it may be, beside null; for PARAM, FLAG, COUNT as they are */
    bool required;
    const char *param;
    size_t at;         /* in struct ask */
    double min, max;   /* PARAM: a max over 0 is lower than the table's */
    const char *words; /* each followed by a space */
    ask_read_fn *read;
    const char *schema; /* members of its JSON Schema beside those that the rest gives */
    const char *help;
};

struct ask_group {
    const struct ask_member *rows;
    size_t n;
};

enum { ASK_SHARED_MAX = 2 };

struct ask_endpoint {
    const char *path;
    const char *summary;
    struct ask_group own;
    const struct ask_group *shared[ASK_SHARED_MAX]; /* read after its own; may be NULL */
    void (*defaults)(struct realm_sampling *s);     /* NULL: nothing is drawn */
    ask_read_fn *finish; /* what depends on several members (m and value NULL); may be NULL */
};

#define ASK_GROUP(rows)       \
    {                         \
        rows, ARRAY_LEN(rows) \
    }
#define ASK_FLAG_ROW(name_, field, help_)                                                 \
    {                                                                                     \
        .name = name_, .kind = ASK_FLAG, .at = offsetof(struct ask, field), .help = help_ \
    }
#define ASK_PASS_ROW(name_, types_)                      \
    {                                                    \
        .name = name_, .kind = ASK_PASS, .types = types_ \
    }

/* The row of seed, and those of what shapes draws beside temperature, top_p and top_k. */
#define ASK_SEED_ROW                                                                  \
    {                                                                                 \
        .name = "seed", .kind = ASK_READ, .types = ASK_INT, .read = ask_read_seed,    \
        .help = "makes draws repeatable; a fresh one is drawn without it, and for -1" \
    }
#define ASK_PARAM_ROW(name_)             \
    {                                    \
        .name = name_, .kind = ASK_PARAM \
    }
#define ASK_PENALTY_ROWS                                         \
    ASK_PARAM_ROW("min_p"), ASK_PARAM_ROW("repetition_penalty"), \
        ASK_PARAM_ROW("presence_penalty"), ASK_PARAM_ROW("frequency_penalty")

/* A NEUTRAL of any type; of numbers alone. */
#define ASK_OFF_ROW(name_)                                   \
    {                                                        \
        .name = name_, .kind = ASK_NEUTRAL, .types = ASK_ANY \
    }
#define ASK_OFF_AT_ROW(name_, min_, max_)                                                 \
    {                                                                                     \
        .name = name_, .kind = ASK_NEUTRAL, .types = ASK_NUMBER, .min = min_, .max = max_ \
    }

#define ASK_N_PREDICT_ROW                                                               \
    {                                                                                   \
        .name = "n_predict", .kind = ASK_READ, .types = ASK_ANY, .param = "max_tokens", \
        .read = ask_read_n_predict, .schema = "{\"minimum\":-1}"                        \
    }

/* The items of a prompt that is an array. */
#define ASK_PROMPTS_SCHEMA                                                               \
    "{\"minItems\":1,\"items\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"," \
    "\"minimum\":0},"                                                                    \
    "{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"integer\",\"minimum\":0}}]}}"

extern const struct ask_endpoint ask_count_endpoint, ask_embeddings_endpoint,
    ask_llama_embeddings_endpoint;

/* Rows that several endpoints have. */
extern const struct ask_group ask_openai_group;  /* of chats and completions */
extern const struct ask_group ask_foreign_group; /* what other servers' clients send */

/* Fills *a from body by the endpoint's rows, in their order, then finish. */
MUST_USE int ask_read(struct ask *a, json_t *body, const struct ask_endpoint *endpoint,
                      struct api_error *e);

/* 400 unsupported_parameter */
int ask_refuse(struct api_error *e, const char *param, const char *fmt, ...) PRINTF_LIKE(3, 4);
int ask_nomem(struct api_error *e);

/* The row of realm_params of this name, which must be there. */
const struct realm_param *ask_param_of(const char *name);

/* Members that are read alike at several doors. */
ask_read_fn ask_read_param, ask_read_model, ask_read_messages, ask_read_prompt, ask_read_stop,
    ask_read_bias, ask_read_seed, ask_read_stream_options, ask_read_template, ask_read_effort,
    ask_read_variables, ask_read_thinking, ask_read_priority, ask_read_n_predict,
    ask_read_repeat_last_n, ask_read_samplers, ask_read_response_format;

/* A member of value that must be true or false if it is there; place: "stream_options.x". */
int ask_nested_flag(const json_t *value, const char *key, const char *place, bool *out,
                    struct api_error *e);
/* Sets a variable of the template; takes over value. */
int ask_set_variable(struct ask *a, const char *name, json_t *value, struct api_error *e);
/* n times prompts is at most CHOICES_MAX. */
int ask_check_choices(const struct ask *a, const char *param, struct api_error *e);
/* Adds prompts of a JSON string, or of an array of ids; place names it in errors. */
int ask_add_text(struct ask *a, const json_t *value);
int ask_add_ids(struct ask *a, const json_t *value, const char *place, struct api_error *e);
/* One prompt, or an array of up to max of them; each text or ids. */
int ask_read_inputs(struct ask *a, const char *name, const json_t *value, size_t max,
                    struct api_error *e);

#endif
