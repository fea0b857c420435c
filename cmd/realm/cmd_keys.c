/* cmd/realm/cmd_keys.c - `realm keys`: what a tenant's clients show at the door. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin.h"

static const struct opt_help help = {
    .usage =
        "keys list TENANT | create TENANT [--name NAME] [--expires 30d]\n"
        "       realm keys disable KEY | enable KEY | remove KEY | rotate TENANT KEY [--after 1d]",
    .about =
        "Shows and changes the keys of a tenant.  KEY is a key's id, the eight characters behind\n"
        "`rlm_`, or the whole key.  `create` prints the key, and that is the only time that it\n"
        "can be seen; from the first key on every call to the server needs one.  A key that is\n"
        "disabled, removed or past its end is refused at once, and what runs under it ends.\n"
        "`rotate` prints a new key with the old one's name and end; the old one goes on for the\n"
        "time of --after.",
    .examples = "  KEY=$(realm keys create acme --name website)\n"
                "  realm keys create acme --expires 30d\n"
                "  realm keys rotate acme 7hGf2kQx --after 2h\n"
                "  realm keys disable 7hGf2kQx",
};

struct keys_cmd {
    struct admin_target at;
    const char *name, *expires, *after;
    bool json;
};

static const char CMD[] = "keys";
static const char KEYS[] = "/admin/keys/";
static const char TENANTS[] = "/admin/tenants/";

/* --name, --expires and --after where they mean nothing. */
static int only(const struct keys_cmd *c, bool creates, bool rotates)
{
    if (!creates && c->name)
        return cmd_usage(CMD, "--name goes with `create` alone");
    if (!creates && !rotates && c->expires)
        return cmd_usage(CMD, "--expires goes with `create` and `rotate` alone");
    if (!rotates && c->after)
        return cmd_usage(CMD, "--after goes with `rotate` alone");
    return -1;
}

static int list(void *ctx, struct admin *a, char **operands)
{
    static const struct admin_column columns[] = {
        {"KEY", "id", ADMIN_TEXT},
        {"NAME", "name", ADMIN_TEXT},
        {"CREATED", "created_at", ADMIN_TIME},
        {"EXPIRES", "expires_at", ADMIN_TIME},
        {"DISABLED", "disabled", ADMIN_TEXT},
    };
    const struct keys_cmd *c = ctx;
    json_t *out = NULL;
    int status = only(c, false, false);
    if (status < 0)
        status = admin_call_id(a, "GET", TENANTS, operands[0], "/keys", NULL, &out);
    if (status >= 0)
        return status;
    admin_show_rows(out, c->json, "keys", columns, ARRAY_LEN(columns));
    return EXIT_DONE;
}

/* The key alone on standard output, so that a script can take it. */
static void show_key(const struct keys_cmd *c, const char *tenant, json_t *out)
{
    if (c->json)
        admin_json(out);
    else
        puts(json_string_value(json_object_get(out, "key")));
    fprintf(stderr,
            "this is the only time that the key is shown; `realm keys list %s` has its id\n",
            tenant);
}

/* end: where there is no --expires; 0: none. */
static int make(const struct keys_cmd *c, struct admin *a, const char *tenant, const char *name,
                int64_t end, json_t **out)
{
    json_t *body = json_object();
    int status = name ? admin_set(CMD, body, "name", json_string(name)) : -1;
    if (status < 0 && c->expires)
        status = admin_end(CMD, "--expires", c->expires, &end);
    if (status < 0 && end)
        status = admin_set(CMD, body, "expires_at", json_integer(end));
    if (status < 0)
        status = admin_call_id(a, "POST", TENANTS, tenant, "/keys", body, out);
    json_decref(body);
    if (status < 0 && !json_is_string(json_object_get(*out, "key"))) {
        json_decref(*out);
        *out = NULL;
        return cmd_failf(CMD, "the answer has no key; is it a realm server?");
    }
    return status;
}

static int create(void *ctx, struct admin *a, char **operands)
{
    const struct keys_cmd *c = ctx;
    json_t *out = NULL;
    int status = only(c, true, false);
    if (status < 0)
        status = make(c, a, operands[0], c->name, 0, &out);
    if (status >= 0)
        return status;
    show_key(c, operands[0], out);
    json_decref(out);
    return EXIT_DONE;
}

/* The id of KEY, which may be a whole key, as whoever finds one somewhere has it: its secret
 * goes no further. */
static const char *id_of(char *key)
{
    enum { PREFIX = 4, ID = 8 }; // of rlm_IIIIIIII_SECRET
    if (strncmp(key, "rlm_", PREFIX) != 0 || strcspn(key + PREFIX, "_") != ID)
        return key;
    key[PREFIX + ID] = '\0';
    return key + PREFIX;
}

static int change(const struct keys_cmd *c, struct admin *a, const char *key, const char *name,
                  json_t *value)
{
    json_t *body = json_object(), *out = NULL;
    int status = admin_set(CMD, body, name, value);
    if (status < 0)
        status = admin_call_id(a, "PATCH", KEYS, key, "", body, &out);
    json_decref(body);
    if (status < 0 && c->json)
        admin_json(out);
    json_decref(out);
    return status;
}

static int disable(void *ctx, struct admin *a, char **operands)
{
    int status = only(ctx, false, false);
    if (status < 0)
        status = change(ctx, a, id_of(operands[0]), "disabled", json_true());
    return status < 0 ? EXIT_DONE : status;
}

static int enable(void *ctx, struct admin *a, char **operands)
{
    int status = only(ctx, false, false);
    if (status < 0)
        status = change(ctx, a, id_of(operands[0]), "disabled", json_false());
    return status < 0 ? EXIT_DONE : status;
}

static int drop(void *ctx, struct admin *a, char **operands)
{
    json_t *out = NULL;
    int status = only(ctx, false, false);
    if (status < 0)
        status = admin_call_id(a, "DELETE", KEYS, id_of(operands[0]), "", NULL, &out);
    json_decref(out);
    return status < 0 ? EXIT_DONE : status;
}

/* The key among the tenant's, so that a slip of the pen makes none: a new reference. */
static int find(struct admin *a, const char *tenant, const char *key, json_t **out)
{
    json_t *all = NULL, *one;
    size_t i;
    int status = admin_call_id(a, "GET", TENANTS, tenant, "/keys", NULL, &all);
    if (status >= 0)
        return status;
    *out = NULL;
    json_array_foreach(json_object_get(all, "keys"), i, one)
    {
        const char *id = json_string_value(json_object_get(one, "id"));
        if (id && strcmp(id, key) == 0)
            *out = json_incref(one);
    }
    json_decref(all);
    return *out ? -1
                : cmd_failf(CMD, "%s has no key '%s'; `realm keys list %s` shows them", tenant, key,
                            tenant);
}

/* The new key is made first: if the rest fails there are two, and nobody is locked out. */
static int rotate(void *ctx, struct admin *a, char **operands)
{
    const struct keys_cmd *c = ctx;
    const char *tenant = operands[0], *key = id_of(operands[1]);
    json_t *old = NULL, *out = NULL;
    int64_t after = 86400;
    int status = only(c, false, true);
    if (status < 0 && c->after)
        status = admin_duration(CMD, "--after", c->after, &after);
    if (status < 0)
        status = find(a, tenant, key, &old);
    int64_t now = (int64_t)time(NULL),
            ends = json_integer_value(json_object_get(old, "expires_at"));
    if (status < 0 && ends && ends <= now && !c->expires)
        status = cmd_failf(CMD,
                           "the key '%s' is past its end; say with --expires when the new one "
                           "ends, or make one with `create`",
                           key);
    if (status < 0)
        status = make(c, a, tenant, json_string_value(json_object_get(old, "name")), ends, &out);
    json_decref(old);
    if (status >= 0)
        return status;
    show_key(c, tenant, out);
    json_decref(out);
    int64_t end = now + after;
    if (ends && ends < end)
        return EXIT_DONE; // it does not outlive what it was given
    const struct keys_cmd quiet = {0};
    status = change(&quiet, a, key, "expires_at", json_integer(end));
    return status < 0 ? EXIT_DONE : status;
}

static const struct admin_verb verbs[] = {
    {"list ls", "TENANT", list},       {"create add", "TENANT", create},
    {"disable", "KEY", disable},       {"enable", "KEY", enable},
    {"remove rm delete", "KEY", drop}, {"rotate", "TENANT KEY", rotate},
};

int cmd_keys(int argc, char **argv)
{
    struct keys_cmd c = {0};
    int rest;
    const struct opt opts[] = {
        {"name", 0, "NAME", "what the key is for", &c.name, NULL},
        {"expires", 0, "WHEN", "its end: a time from now as 30d, or a day as 2027-01-31",
         &c.expires, NULL},
        {"after", 0, "TIME", "how long the old key goes on (default 1d)", &c.after, NULL},
        {"json", 0, NULL, "the server's answer as it is", NULL, &c.json},
        ADMIN_OPTS(c.at),
    };
    int status = opt_parse(argc, argv, opts, ARRAY_LEN(opts), &help, &rest);
    return status >= 0 ? status : admin_run(CMD, &c.at, verbs, ARRAY_LEN(verbs), rest, argv, &c);
}
