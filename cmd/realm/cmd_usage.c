/* cmd/realm/cmd_usage.c - `realm usage`: who used how many tokens. */
#include <string.h>
#include <time.h>

#include "admin.h"
#include "api/query.h"
#include "pull.h"

static const struct opt_help help = {
    .usage = "usage [OPTION ...]\n"
             "       realm usage requests [--tenant TENANT] [--limit N] [--json | --csv]",
    .about =
        "Adds up what a running server has answered: requests and tokens, exact, as its ledger\n"
        "has them; requests that still run are not in it.  CACHED are those of the prompts'\n"
        "tokens that did not have to be computed.  `requests` shows the newest rows one by one.\n"
        "Days are UTC's.",
    .examples =
        "  realm usage\n"
        "  realm usage --from 7d --by tenant,day\n"
        "  realm usage --tenant acme --from 2026-11-01 --to 2026-12-01 --by key,model --csv\n"
        "  realm usage requests --tenant acme --limit 20",
};

struct usage_cmd {
    struct admin_target at;
    const char *tenant, *key, *model, *from, *to, *by, *limit;
    bool json, csv;
};

static const char CMD[] = "usage";

static const struct admin_column counts[] = {
    {"REQUESTS", "requests", ADMIN_COUNT},
    {"PROMPT", "prompt_tokens", ADMIN_COUNT},
    {"CACHED", "cached_tokens", ADMIN_COUNT},
    {"COMPLETION", "completion_tokens", ADMIN_COUNT},
};

static const struct admin_column groups[] = {
    {"DAY", "day", ADMIN_TEXT},
    {"TENANT", "tenant", ADMIN_TEXT},
    {"KEY", "key", ADMIN_TEXT},
    {"MODEL", "model", ADMIN_TEXT},
};

static const struct admin_column one_by_one[] = {
    {"STARTED", "started_at", ADMIN_TIME},
    {"REQUEST", "request_id", ADMIN_TEXT},
    {"TENANT", "tenant", ADMIN_TEXT},
    {"KEY", "key", ADMIN_TEXT},
    {"ENDPOINT", "endpoint", ADMIN_TEXT},
    {"MODEL", "model", ADMIN_TEXT},
    {"GUEST", "guest", ADMIN_TEXT},
    {"OUTCOME", "outcome", ADMIN_TEXT},
    {"CODE", "code", ADMIN_TEXT},
    {"PROMPT", "prompt_tokens", ADMIN_COUNT},
    {"CACHED", "cached_tokens", ADMIN_COUNT},
    {"COMPLETION", "completion_tokens", ADMIN_COUNT},
    {"MS", "total_ms", ADMIN_COUNT},
    {"PARTS", "parts", ADMIN_TEXT}, // too wide for a table
};

static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, word, n) == 0 && strchr(",", at[n]))
            return true;
    return false;
}

static void show(const struct usage_cmd *c, json_t *out, const struct admin_column *columns,
                 size_t n)
{
    if (!c->csv) {
        admin_show_rows(out, c->json, "rows", columns, n);
        return;
    }
    admin_csv(json_object_get(out, "rows"), columns, n);
    json_decref(out);
}

/* "12h" is that long ago, "7d" the midnight of so many days before today. */
static int add_time(struct buf *path, const char *name, const char *text)
{
    char seconds[32];
    int64_t ago;
    if (!text || !admin_read_duration(text, &ago))
        return admin_add_query(path, name, text);
    long long at = (long long)time(NULL) - (long long)ago;
    if (strchr(text, 'd'))
        at -= at % 86400;
    snprintf(seconds, sizeof(seconds), "%lld", at);
    return admin_add_query(path, name, seconds);
}

static int call(struct admin *a, struct buf *path, int failed, json_t **out)
{
    int status = failed || !buf_cstr(path) ? cmd_usage(CMD, "what is asked for is too long")
                                           : admin_call(a, "GET", (char *)path->p, NULL, out);
    buf_free(path);
    return status;
}

static int check_time(const char *name, const char *text)
{
    int64_t seconds;
    if (!text || admin_read_duration(text, &seconds) || query_time(text, &seconds) == 0)
        return -1;
    return cmd_usage(CMD,
                     "%s must be so long ago, as 12h or 7d, or a day as 2026-11-01, or a time as "
                     "2026-11-01T12:00:00Z, not '%s'",
                     name, text);
}

static int report(void *ctx, struct admin *a, char **operands)
{
    const struct usage_cmd *c = ctx;
    struct admin_column columns[ARRAY_LEN(groups) + ARRAY_LEN(counts)];
    size_t n = 0;
    struct buf path;
    json_t *out = NULL;
    (void)operands;
    if (c->limit)
        return cmd_usage(CMD, "--limit goes with `realm usage requests`");
    int status = check_time("--from", c->from);
    if (status < 0)
        status = check_time("--to", c->to);
    if (status >= 0)
        return status;
    buf_init(&path, 4096);
    int failed =
        buf_addf(&path, "/admin/usage?group_by=") || pull_url_escape(&path, c->by, false) ||
        admin_add_query(&path, "tenant", c->tenant) || admin_add_query(&path, "key", c->key) ||
        admin_add_query(&path, "model", c->model) || add_time(&path, "from", c->from) ||
        add_time(&path, "to", c->to);
    status = call(a, &path, failed, &out);
    if (status >= 0)
        return status;
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        if (has_word(c->by, groups[i].member))
            columns[n++] = groups[i];
    memcpy(columns + n, counts, sizeof(counts));
    show(c, out, columns, n + ARRAY_LEN(counts));
    return EXIT_DONE;
}

static int requests(void *ctx, struct admin *a, char **operands)
{
    const struct usage_cmd *c = ctx;
    struct buf path;
    json_t *out = NULL;
    (void)operands;
    if (c->key || c->model || c->from || c->to)
        return cmd_usage(CMD, "`realm usage requests` takes --tenant and --limit alone");
    buf_init(&path, 4096);
    int failed = buf_addf(&path, "/admin/requests") ||
                 admin_add_query(&path, "tenant", c->tenant) ||
                 admin_add_query(&path, "limit", c->limit);
    int status = call(a, &path, failed, &out);
    if (status >= 0)
        return status;
    show(c, out, one_by_one, ARRAY_LEN(one_by_one) - !c->csv);
    return EXIT_DONE;
}

static const struct admin_verb verbs[] = {
    {"report", NULL, report},
    {"requests", NULL, requests},
};

int cmd_usage_report(int argc, char **argv)
{
    struct usage_cmd c = {.by = "tenant"};
    int rest;
    const struct opt opts[] = {
        {"tenant", 0, "TENANT", "of this tenant alone", &c.tenant, NULL},
        {"key", 0, "KEY", "of this key, by its id", &c.key, NULL},
        {"model", 0, "NAME", "of this model", &c.model, NULL},
        {"from", 0, "WHEN", "what began then or later: 12h ago, 7d before today, or 2026-11-01",
         &c.from, NULL},
        {"to", 0, "WHEN", "what began before then", &c.to, NULL},
        {"by", 0, "A,B", "a row for each: tenant, key, model, day (default: tenant)", &c.by, NULL},
        {"limit", 0, "N", "how many `requests` (1 to 1000, default 100)", &c.limit, NULL},
        {"json", 0, NULL, "the server's answer as it is", NULL, &c.json},
        {"csv", 0, NULL, "comma-separated, for a spreadsheet", NULL, &c.csv},
        ADMIN_OPTS(c.at),
    };
    int status = opt_parse(argc, argv, opts, ARRAY_LEN(opts), &help, &rest);
    if (status >= 0)
        return status;
    if (c.json && c.csv)
        return cmd_usage(CMD, "choose one of --json and --csv");
    return admin_run(CMD, &c.at, verbs, ARRAY_LEN(verbs), rest, argv, &c);
}
