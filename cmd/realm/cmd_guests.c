/* cmd/realm/cmd_guests.c - `realm guests`: the programs that answer for a tenant. */
#include <string.h>

#include "admin.h"
#include "base/io.h"
#include "base/limits.h"
#include "base/mem.h"
#include "pull.h"

static const struct opt_help help = {
    .usage = "guests list TENANT | put TENANT FILE.wasm [--model NAME]\n"
             "       realm guests rollback TENANT [--model NAME] | remove TENANT [--model NAME]\n"
             "       realm guests log TENANT",
    .about =
        "Shows and changes the programs of a tenant: WebAssembly guests that answer its chats and\n"
        "completions in the model's place.  With --model a program answers for that model alone;\n"
        "without, for all that have none of their own.  The server checks and compiles a program\n"
        "before it takes it.  `rollback` takes the newest version away, so that the one before it\n"
        "answers again; `remove` takes all of them.  `log` shows what they wrote last, and why\n"
        "requests of theirs failed.",
    .examples = "  realm guests put acme summarise.wasm\n"
                "  realm guests put acme summarise.wasm --model llama\n"
                "  realm guests list acme\n"
                "  realm guests rollback acme --model llama",
};

struct guests_cmd {
    struct admin_target at;
    const char *model;
    bool json;
};

static const char CMD[] = "guests";

static const struct admin_column columns[] = {
    {"MODEL", "model", ADMIN_ALL},         {"VERSION", "version", ADMIN_COUNT},
    {"ANSWERS", "in_use", ADMIN_TEXT},     {"BYTES", "bytes", ADMIN_COUNT},
    {"CREATED", "created_at", ADMIN_TIME}, {"SHA256", "sha256", ADMIN_TEXT},
};

static const struct admin_column details[] = {
    {"MODEL", "model", ADMIN_ALL},      {"VERSION", "version", ADMIN_COUNT},
    {"SHA256", "sha256", ADMIN_TEXT},   {"EXPORTS", "exports", ADMIN_TEXT},
    {"IMPORTS", "imports", ADMIN_TEXT},
};

/* /admin/tenants/TENANT/guest… with ?model=… */
static int path_of(const struct guests_cmd *c, const char *tenant, const char *after,
                   struct buf *path)
{
    buf_init(path, 4096);
    if (buf_addf(path, "/admin/tenants/") || pull_url_escape(path, tenant, false) ||
        buf_addf(path, "/guest%s", after) || admin_add_query(path, "model", c->model) ||
        !buf_cstr(path)) {
        buf_free(path);
        return cmd_failf(CMD, "the name is too long");
    }
    return -1;
}

static int call(const struct guests_cmd *c, struct admin *a, const char *method, const char *tenant,
                const char *after, json_t **out)
{
    struct buf path;
    int status = path_of(c, tenant, after, &path);
    if (status >= 0)
        return status;
    status = admin_call(a, method, (const char *)path.p, NULL, out);
    buf_free(&path);
    return status;
}

static int list(void *ctx, struct admin *a, char **operands)
{
    const struct guests_cmd *c = ctx;
    json_t *out = NULL;
    if (c->model)
        return cmd_usage(CMD, "`list` shows the programs for all models");
    int status = call(c, a, "GET", operands[0], "", &out);
    if (status >= 0)
        return status;
    admin_show_rows(out, c->json, "guests", columns, ARRAY_LEN(columns));
    return EXIT_DONE;
}

static int put(void *ctx, struct admin *a, char **operands)
{
    const struct guests_cmd *c = ctx;
    struct realm_error err;
    struct buf path;
    uint8_t *wasm;
    size_t n;
    json_t *out = NULL;
    if (io_read_file(io_system(), operands[1], GUEST_MODULE_BYTES_MAX, &wasm, &n, &err))
        return cmd_fail(CMD, &err);
    int status = path_of(c, operands[0], "", &path);
    if (status < 0) {
        status = admin_send(a, "PUT", (const char *)path.p, (struct slice){wasm, n}, &out);
        buf_free(&path);
    }
    mem_free(wasm);
    if (status >= 0)
        return status;
    admin_show_record(out, c->json, details, ARRAY_LEN(details));
    return EXIT_DONE;
}

static int rollback(void *ctx, struct admin *a, char **operands)
{
    const struct guests_cmd *c = ctx;
    json_t *out = NULL;
    int status = call(c, a, "POST", operands[0], "/rollback", &out);
    if (status >= 0)
        return status;
    admin_show_record(out, c->json, details, ARRAY_LEN(details));
    return EXIT_DONE;
}

static int drop(void *ctx, struct admin *a, char **operands)
{
    json_t *out = NULL;
    int status = call(ctx, a, "DELETE", operands[0], "", &out);
    json_decref(out);
    return status < 0 ? EXIT_DONE : status;
}

static void print_line(const json_t *line)
{
    static const char *const members[] = {"at", "from", "text"};
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        const char *text = json_string_value(json_object_get(line, members[i]));
        fputs(i ? " " : "", stdout);
        admin_print(stdout, text ? text : "-");
    }
    putchar('\n');
}

static json_int_t number(const json_t *log, const char *member)
{
    return json_integer_value(json_object_get(log, member));
}

/* What says that there was nothing to write, where there are no lines. */
static void print_counts(const json_t *log)
{
    fprintf(stderr,
            "(%" JSON_INTEGER_FORMAT " requests, %" JSON_INTEGER_FORMAT
            " trapped, %" JSON_INTEGER_FORMAT " stopped at a limit)\n",
            number(log, "requests"), number(log, "trapped"), number(log, "limited"));
}

static int log_lines(void *ctx, struct admin *a, char **operands)
{
    const struct guests_cmd *c = ctx;
    json_t *out = NULL;
    if (c->model)
        return cmd_usage(CMD, "`log` shows the lines of all programs");
    int status = call(c, a, "GET", operands[0], "/log", &out);
    if (status >= 0)
        return status;
    const json_t *lines = json_object_get(out, "lines");
    for (size_t i = 0; i < json_array_size(lines) && !c->json; i++)
        print_line(json_array_get(lines, i));
    if (c->json)
        admin_json(out);
    else
        print_counts(out);
    json_decref(out);
    return EXIT_DONE;
}

static const struct admin_verb verbs[] = {
    {"list ls show", "TENANT", list},  {"put set add", "TENANT FILE.wasm", put},
    {"rollback", "TENANT", rollback},  {"remove rm delete", "TENANT", drop},
    {"log logs", "TENANT", log_lines},
};

int cmd_guests(int argc, char **argv)
{
    struct guests_cmd c = {0};
    int rest;
    const struct opt opts[] = {
        {"model", 'm', "NAME", "the model that it answers for (default: all others)", &c.model,
         NULL},
        {"json", 0, NULL, "the server's answer as it is", NULL, &c.json},
        ADMIN_OPTS(c.at),
    };
    int status = opt_parse(argc, argv, opts, ARRAY_LEN(opts), &help, &rest);
    return status >= 0 ? status : admin_run(CMD, &c.at, verbs, ARRAY_LEN(verbs), rest, argv, &c);
}
