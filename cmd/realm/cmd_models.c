/* cmd/realm/cmd_models.c - `realm models`: what a running server has, and has loaded. */
#include "admin.h"

static const struct opt_help help = {
    .usage = "models [list] | load NAME | unload NAME | pin NAME | unpin NAME",
    .about =
        "Shows the models of a running server, loads and unloads them.  A model that is pinned\n"
        "stays loaded whatever else wants its memory; `pin` loads it.  Unloading waits for\n"
        "nobody: a model that is in use goes when its last request ends.",
    .examples = "  realm models\n"
                "  realm models pin llama\n"
                "  realm models unload llama --url http://127.0.0.1:8080",
};

struct models_cmd {
    struct admin_target at;
    bool json;
};

static int list(void *ctx, struct admin *a, char **operands)
{
    static const struct admin_column columns[] = {
        {"MODEL", "id", ADMIN_TEXT},          {"STATE", "state", ADMIN_TEXT},
        {"PINNED", "pinned", ADMIN_TEXT},     {"MEMORY", "memory_bytes", ADMIN_BYTES},
        {"ALIAS OF", "alias_of", ADMIN_TEXT},
    };
    const struct models_cmd *c = ctx;
    json_t *out = NULL;
    (void)operands;
    int status = admin_call(a, "GET", "/admin/models", NULL, &out);
    if (status >= 0)
        return status;
    admin_show_rows(out, c->json, "data", columns, ARRAY_LEN(columns));
    return EXIT_DONE;
}

static int act(const struct models_cmd *c, struct admin *a, const char *name, const char *what)
{
    json_t *out = NULL;
    int status = admin_call_id(a, "POST", "/admin/models/", name, what, NULL, &out);
    if (status < 0 && c->json)
        admin_json(out);
    json_decref(out);
    return status < 0 ? EXIT_DONE : status;
}

static int load(void *ctx, struct admin *a, char **operands)
{
    return act(ctx, a, operands[0], "/load");
}

static int unload(void *ctx, struct admin *a, char **operands)
{
    return act(ctx, a, operands[0], "/unload");
}

static int pin(void *ctx, struct admin *a, char **operands)
{
    return act(ctx, a, operands[0], "/pin");
}

static int unpin(void *ctx, struct admin *a, char **operands)
{
    return act(ctx, a, operands[0], "/unpin");
}

static const struct admin_verb verbs[] = {
    {"list ls", NULL, list}, {"load", "NAME", load},   {"unload", "NAME", unload},
    {"pin", "NAME", pin},    {"unpin", "NAME", unpin},
};

int cmd_models(int argc, char **argv)
{
    struct models_cmd c = {0};
    int rest;
    const struct opt opts[] = {
        {"json", 0, NULL, "the server's answer as it is", NULL, &c.json},
        ADMIN_OPTS(c.at),
    };
    int status = opt_parse(argc, argv, opts, ARRAY_LEN(opts), &help, &rest);
    return status >= 0 ? status
                       : admin_run("models", &c.at, verbs, ARRAY_LEN(verbs), rest, argv, &c);
}
