/* cmd/realm/cmd_tenants.c - `realm tenants`: who may use the server, and how much. */
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "tenant/tenant.h"

static const struct opt_help help = {
    .usage = "tenants [list] | show TENANT | create TENANT [OPTION ...] | set TENANT OPTION ...\n"
             "       realm tenants remove TENANT | audits",
    .about =
        "Shows and changes the tenants of a running server: what each may use, and its share of\n"
        "the engine beside the others.  A limit that is `none` is lifted.  Changes hold from the\n"
        "next request on; what runs goes on.  Removing a tenant removes its keys and programs,\n"
        "its rows of usage stay.  `audits` shows who changed what.",
    .examples =
        "  realm tenants create acme --weight 2 --requests-per-min 60 --budget 1000000/day\n"
        "  realm tenants set acme --models llama,tiny --default temperature=0.2,top_p=0.9\n"
        "  realm tenants set acme --budget none\n"
        "  realm tenants show acme --json",
};

struct settings {
    const char *weight, *models, *requests, *tokens, *parallel, *budget, *kv, *max_tokens;
    const char *defaults;
};

struct tenants_cmd {
    struct admin_target at;
    struct settings given;
    const char *limit;
    bool json;
};

static const char CMD[] = "tenants";
static const char TENANTS[] = "/admin/tenants/";

/* ---- settings become the members of a body ---- */

static bool is_none(const char *text)
{
    return strcmp(text, "none") == 0;
}

static int set_weight(json_t *body, const char *text)
{
    uint64_t value;
    if (!text)
        return -1;
    int status = opt_u64(CMD, "--weight", text, 1, TENANT_WEIGHT_MAX, &value);
    return status >= 0 ? status : admin_set(CMD, body, "weight", json_integer((json_int_t)value));
}

/* "none" lifts it; size: it may have a unit. */
static int set_limit(json_t *limits, const char *name, const char *option, const char *text,
                     bool size)
{
    uint64_t value;
    if (!text)
        return -1;
    if (is_none(text))
        return admin_set(CMD, limits, name, json_null());
    int status = size ? admin_bytes(CMD, option, text, &value)
                      : opt_u64(CMD, option, text, 0, INT64_MAX, &value);
    if (status < 0 && value == 0)
        status = cmd_usage(CMD, "%s must be 1 or more, or none for no limit", option);
    return status >= 0 ? status : admin_set(CMD, limits, name, json_integer((json_int_t)value));
}

/* "llama,tiny"; "all" lifts the list. */
static int set_models(json_t *body, const char *text)
{
    if (!text)
        return -1;
    if (strcmp(text, "all") == 0)
        return admin_set(CMD, body, "models", json_null());
    json_t *names = json_array();
    for (const char *at = text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strcspn(at, ","))
            json_array_append_new(names, json_stringn(at, strcspn(at, ",")));
    return admin_set(CMD, body, "models", names);
}

/* "1000000/day" */
static int set_budget(json_t *limits, const char *text)
{
    const char *slash;
    char number[24];
    if (!text)
        return -1;
    if (is_none(text))
        return set_limit(limits, "budget_tokens", "--budget", text, false);
    slash = strchr(text, '/');
    if (!slash || (size_t)(slash - text) >= sizeof(number) ||
        (strcmp(slash + 1, "hour") != 0 && strcmp(slash + 1, "day") != 0 &&
         strcmp(slash + 1, "month") != 0))
        return cmd_usage(CMD,
                         "--budget must be tokens in an hour, a day or a month, as 1000000/day, "
                         "or none, not '%s'",
                         text);
    snprintf(number, sizeof(number), "%.*s", (int)(slash - text), text);
    int status = set_limit(limits, "budget_tokens", "--budget", number, false);
    return status >= 0 ? status : admin_set(CMD, limits, "budget_window", json_string(slash + 1));
}

/* "temperature=0.2,top_p=0.9"; "none" drops all. */
static int set_defaults(json_t *body, const char *text)
{
    json_t *options = json_object();
    if (!text || is_none(text)) {
        json_decref(options);
        return text ? admin_set(CMD, body, "defaults", json_null()) : -1;
    }
    for (const char *at = text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        size_t n = strcspn(at, ","), name = strcspn(at, "=");
        if (name == 0 || name >= n) {
            json_decref(options);
            return cmd_usage(CMD,
                             "--default must be options with values, as "
                             "temperature=0.2,top_p=0.9, not '%s'",
                             text);
        }
        const char *value = at + name + 1;
        json_t *read = json_loadb(value, n - name - 1, JSON_DECODE_ANY, NULL);
        json_object_setn_new(options, at, name, read ? read : json_stringn(value, n - name - 1));
    }
    return admin_set(CMD, body, "defaults", options);
}

static int read_limits(const struct settings *s, json_t *limits)
{
    int status = set_limit(limits, "requests_per_min", "--requests-per-min", s->requests, false);
    if (status < 0)
        status = set_limit(limits, "tokens_per_min", "--tokens-per-min", s->tokens, false);
    if (status < 0)
        status = set_limit(limits, "parallel", "--parallel", s->parallel, false);
    if (status < 0)
        status = set_budget(limits, s->budget);
    if (status < 0)
        status = set_limit(limits, "kv_bytes_max", "--kv", s->kv, true);
    if (status < 0)
        status = set_limit(limits, "max_tokens", "--max-tokens", s->max_tokens, false);
    return status;
}

static int read_settings(const struct settings *s, json_t *body)
{
    json_t *limits = json_object();
    int status = set_weight(body, s->weight);
    if (status < 0)
        status = set_models(body, s->models);
    if (status < 0)
        status = set_defaults(body, s->defaults);
    if (status < 0)
        status = read_limits(s, limits);
    if (status < 0 && json_object_size(limits))
        return admin_set(CMD, body, "limits", limits);
    json_decref(limits);
    return status;
}

static bool any_setting(const struct settings *s)
{
    return s->weight || s->models || s->requests || s->tokens || s->parallel || s->budget ||
           s->kv || s->max_tokens || s->defaults;
}

static int no_settings(const struct tenants_cmd *c)
{
    if (!any_setting(&c->given))
        return -1;
    return cmd_usage(CMD, "settings go with `create` and `set` alone");
}

/* ---- verbs ---- */

static const struct admin_column columns[] = {
    {"TENANT", "id", ADMIN_TEXT},
    {"WEIGHT", "weight", ADMIN_COUNT},
    {"MODELS", "models", ADMIN_ALL},
    {"REQUESTS/MIN", "limits.requests_per_min", ADMIN_COUNT},
    {"TOKENS/MIN", "limits.tokens_per_min", ADMIN_COUNT},
    {"PARALLEL", "limits.parallel", ADMIN_COUNT},
    {"BUDGET", "limits.budget_tokens", ADMIN_COUNT},
    {"WINDOW", "limits.budget_window", ADMIN_TEXT},
    {"MAX TOKENS", "limits.max_tokens", ADMIN_COUNT},
    {"KV", "limits.kv_bytes_max", ADMIN_BYTES},
};

/* What a table has no room for. */
static const struct admin_column more[] = {
    {"DEFAULTS", "defaults", ADMIN_TEXT},
    {"CREATED", "created_at", ADMIN_TIME},
};

static void show_one(const struct tenants_cmd *c, json_t *tenant)
{
    struct admin_column all[ARRAY_LEN(columns) + ARRAY_LEN(more)];
    memcpy(all, columns, sizeof(columns));
    memcpy(all + ARRAY_LEN(columns), more, sizeof(more));
    admin_show_record(tenant, c->json, all, ARRAY_LEN(all));
}

static int list(void *ctx, struct admin *a, char **operands)
{
    const struct tenants_cmd *c = ctx;
    json_t *out = NULL;
    (void)operands;
    int status = no_settings(c);
    if (status < 0)
        status = admin_call(a, "GET", "/admin/tenants", NULL, &out);
    if (status >= 0)
        return status;
    admin_show_rows(out, c->json, "tenants", columns, ARRAY_LEN(columns));
    return EXIT_DONE;
}

static int show(void *ctx, struct admin *a, char **operands)
{
    const struct tenants_cmd *c = ctx;
    json_t *out = NULL;
    int status = no_settings(c);
    if (status < 0)
        status = admin_call_id(a, "GET", TENANTS, operands[0], "", NULL, &out);
    if (status >= 0)
        return status;
    show_one(c, out);
    return EXIT_DONE;
}

static int create(void *ctx, struct admin *a, char **operands)
{
    const struct tenants_cmd *c = ctx;
    json_t *body = json_object(), *out = NULL;
    int status = admin_set(CMD, body, "id", json_string(operands[0]));
    if (status < 0)
        status = read_settings(&c->given, body);
    if (status < 0)
        status = admin_call(a, "POST", "/admin/tenants", body, &out);
    json_decref(body);
    if (status >= 0)
        return status;
    show_one(c, out);
    fprintf(stderr, "created; `realm keys create %s` makes a key for it\n", operands[0]);
    return EXIT_DONE;
}

static int change(void *ctx, struct admin *a, char **operands)
{
    const struct tenants_cmd *c = ctx;
    json_t *body, *out = NULL;
    if (!any_setting(&c->given))
        return cmd_usage(CMD, "say what to set, as --weight 2; `realm tenants --help` lists it");
    body = json_object();
    int status = read_settings(&c->given, body);
    if (status < 0)
        status = admin_call_id(a, "PATCH", TENANTS, operands[0], "", body, &out);
    json_decref(body);
    if (status >= 0)
        return status;
    show_one(c, out);
    return EXIT_DONE;
}

static int drop(void *ctx, struct admin *a, char **operands)
{
    json_t *out = NULL;
    int status = no_settings(ctx);
    if (status < 0)
        status = admin_call_id(a, "DELETE", TENANTS, operands[0], "", NULL, &out);
    json_decref(out);
    return status >= 0 ? status : EXIT_DONE;
}

static int audits(void *ctx, struct admin *a, char **operands)
{
    static const struct admin_column seen[] = {
        {"AT", "at", ADMIN_TIME},         {"BY", "who", ADMIN_TEXT},
        {"ACTION", "action", ADMIN_TEXT}, {"OF", "subject", ADMIN_TEXT},
        {"DETAIL", "detail", ADMIN_TEXT},
    };
    const struct tenants_cmd *c = ctx;
    struct buf path;
    json_t *out = NULL;
    (void)operands;
    buf_init(&path, 256);
    int status = no_settings(c);
    if (status < 0 && (buf_addf(&path, "/admin/audits") ||
                       admin_add_query(&path, "limit", c->limit) || !buf_cstr(&path)))
        status = cmd_usage(CMD, "--limit must be a number");
    if (status < 0)
        status = admin_call(a, "GET", (const char *)path.p, NULL, &out);
    buf_free(&path);
    if (status >= 0)
        return status;
    admin_show_rows(out, c->json, "rows", seen, ARRAY_LEN(seen));
    return EXIT_DONE;
}

static const struct admin_verb verbs[] = {
    {"list ls", NULL, list},
    {"show get", "TENANT", show},
    {"create add", "TENANT", create},
    {"set change", "TENANT", change},
    {"remove rm delete", "TENANT", drop},
    {"audits", NULL, audits},
};

/* A later one would silently take an earlier one's place. */
static bool given_twice(int argc, char **argv, const char *option)
{
    int n = 0;
    size_t length = strlen(option);
    for (int i = 1; i < argc; i++)
        n += strncmp(argv[i], option, length) == 0 && strchr("=", argv[i][length]);
    return n > 1;
}

int cmd_tenants(int argc, char **argv)
{
    struct tenants_cmd c = {0};
    struct settings *s = &c.given;
    int rest;
    const struct opt opts[] = {
        {"weight", 0, "N", "share of the engine beside the others (1 to 1000, default 1)",
         &s->weight, NULL},
        {"models", 0, "A,B", "the models that it may use; `all` for all", &s->models, NULL},
        {"requests-per-min", 0, "N", "requests in a minute", &s->requests, NULL},
        {"tokens-per-min", 0, "N", "tokens in a minute, prompts and answers", &s->tokens, NULL},
        {"parallel", 0, "N", "requests at once", &s->parallel, NULL},
        {"budget", 0, "N/day", "tokens in an hour, a day or a month (UTC)", &s->budget, NULL},
        {"kv", 0, "SIZE", "keys and values while others wait, as 1GiB", &s->kv, NULL},
        {"max-tokens", 0, "N", "of one answer", &s->max_tokens, NULL},
        {"default", 0, "NAME=VALUE,...", "options for requests that leave them out", &s->defaults,
         NULL},
        {"limit", 0, "N", "how many `audits` (default 100)", &c.limit, NULL},
        {"json", 0, NULL, "the server's answer as it is", NULL, &c.json},
        ADMIN_OPTS(c.at),
    };
    if (given_twice(argc, argv, "--default"))
        return cmd_usage(CMD, "give --default once, as temperature=0.2,top_p=0.9");
    int status = opt_parse(argc, argv, opts, ARRAY_LEN(opts), &help, &rest);
    return status >= 0 ? status : admin_run(CMD, &c.at, verbs, ARRAY_LEN(verbs), rest, argv, &c);
}
