/* cmd/realm/cmd_pull.c - `realm pull`: a model from a hub that speaks Hugging Face's paths. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/err.h"
#include "base/mem.h"
#include "cmd.h"
#include "pull.h"

static const struct opt_help help = {
    .usage = "pull [OPTION ...] OWNER/NAME[:TYPE or :FILE]",
    .about =
        "Fetches a GGUF model from a hub.  TYPE is one of weights, as Q8_0, in any case of\n"
        "letters; FILE is a file's name.  Without either, the first that is there of Q4_K_M,\n"
        "Q5_K_M, Q8_0, Q6_K, other types of 5 and 4 bits, BF16, F16, F32, of 3 and 2 bits.  All\n"
        "parts of a split model come.\n"
        "\n"
        "What was begun goes on where it ended, and is checked against the hub's sha256 when it\n"
        "is whole.  $HF_TOKEN, if set, is shown to the hub and to no other host.",
    .examples = "  realm pull Qwen/Qwen2.5-0.5B-Instruct-GGUF\n"
                "  realm pull Qwen/Qwen2.5-0.5B-Instruct-GGUF:q8_0 --to models",
};

static const char DEFAULT_HUB[] = "https://huggingface.co";

struct pull {
    const char *hub_given, *to_given, *tries_given;
    const char *wish; /* or NULL */
    struct pull_source from;
    char *hub, *model, *token, *dir;
    struct pull_http *http;
    struct pull_tree tree;
    struct pull_choice choice;
};

static atomic_bool stopped;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&stopped, true);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- what was asked for ---- */

/* One slash, and on its sides letters, digits, '-', '_' and '.', the last not first. */
static bool is_model_name(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_.";
    size_t owner = strspn(text, allowed);
    if (owner == 0 || text[0] == '.' || text[owner] != '/')
        return false;
    const char *name = text + owner + 1;
    size_t n = strspn(name, allowed);
    return n > 0 && name[0] != '.' && name[n] == '\0' && strlen(text) <= MODEL_NAME_MAX;
}

static int read_operand(struct pull *p, const char *operand)
{
    static const char example[] = "Qwen/Qwen2.5-0.5B-Instruct-GGUF";
    if (strstr(operand, "://"))
        return cmd_usage("pull",
                         "give OWNER/NAME in place of an address, as %s; --hub names another "
                         "hub",
                         example);
    const char *colon = strchr(operand, ':');
    p->model = mem_strndup(operand, colon ? (size_t)(colon - operand) : strlen(operand));
    if (!p->model)
        return cmd_failf("pull", "out of memory");
    if (!is_model_name(p->model))
        return cmd_usage("pull", "'%s' is no OWNER/NAME, as %s", p->model, example);
    if (colon && !colon[1])
        return cmd_usage("pull", "after the colon comes a type, as Q8_0, or a file's name");
    p->wish = colon ? colon + 1 : NULL;
    p->from.model = p->model;
    return -1;
}

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* Without the white space around it; a line break within would end its header. */
static int read_token(struct pull *p)
{
    const char *text = env("HF_TOKEN");
    if (!text)
        return -1;
    text += strspn(text, " \t\r\n");
    size_t n = strlen(text);
    while (n && strchr(" \t\r\n", text[n - 1]))
        n--;
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return cmd_failf("pull", "HF_TOKEN is no token: it has characters that none has");
    p->token = n ? mem_strndup(text, n) : NULL;
    return n && !p->token ? cmd_failf("pull", "out of memory") : -1;
}

static int read_hub(struct pull *p)
{
    struct realm_error err;
    const char *hub = p->hub_given ? p->hub_given : env("HF_ENDPOINT");
    if (!hub)
        hub = DEFAULT_HUB;
    size_t n = strlen(hub);
    while (n && hub[n - 1] == '/')
        n--;
    p->hub = mem_strndup(hub, n);
    if (!p->hub)
        return cmd_failf("pull", "out of memory");
    p->from.hub = p->hub;
    if (pull_hub_check(p->hub, &err)) {
        cmd_fail("pull", &err);
        return p->hub_given ? EXIT_USAGE : EXIT_FAILED;
    }
    return -1;
}

/* ---- the folder ---- */

static char *join(const char *a, const char *b)
{
    struct buf text;
    buf_init(&text, 4096);
    if (buf_addf(&text, "%s%s", a, b) || !buf_cstr(&text))
        buf_free(&text);
    return (char *)text.p;
}

static char *choose_dir(const struct pull *p)
{
    const char *dir = p->to_given ? p->to_given : env("REALM_MODELS");
    if (dir)
        return join(dir, "");
    if (env("XDG_DATA_HOME"))
        return join(env("XDG_DATA_HOME"), "/realm/models");
    return env("HOME") ? join(env("HOME"), "/.local/share/realm/models") : NULL;
}

/* With the folders above it. */
static int make_dir(char *dir, struct realm_error *err)
{
    struct stat s;
    for (char *p = dir + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        mkdir(dir, 0755); // the last one tells
        *p = '/';
    }
    if (mkdir(dir, 0755) && errno != EEXIST)
        return err_set(err, REALM_E_IO, "cannot make the folder %s: %s", dir, strerror(errno));
    if (stat(dir, &s) || !S_ISDIR(s.st_mode))
        return err_set(err, REALM_E_IO, "%s is no folder", dir);
    return 0;
}

static int check_room(const struct pull *p, const struct pull_job *job, struct realm_error *err)
{
    struct statvfs fs;
    uint64_t missing = 0;
    char want[16], have[16];
    for (uint32_t i = 0; i < p->choice.n; i++)
        missing += pull_file_missing(job, p->choice.files[i]);
    if (statvfs(p->dir, &fs))
        return 0;
    uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (missing <= room)
        return 0;
    return err_set(err, REALM_E_NO_ROOM, "%s are still to come, but %s has room for %s only",
                   pull_size(want, missing), p->dir, pull_size(have, room));
}

/* ---- the work ---- */

/* As a shell reads it back. */
static void print_path(const char *dir, const char *name)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789-_./+,:@%=";
    bool quoted = dir[strspn(dir, plain)] || name[strspn(name, plain)] || dir[0] == '-';
    if (!quoted) {
        printf("%s/%s", dir, name);
        return;
    }
    const char *parts[] = {dir[0] == '-' ? "./" : "", dir, "/", name};
    putchar('\'');
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        for (const char *c = parts[i]; *c; c++)
            fputs(*c == '\'' ? "'\\''" : (char[]){*c, '\0'}, stdout);
    putchar('\'');
}

static void print_next(const struct pull *p)
{
    const char *name = p->choice.files[0]->name;
    printf("to chat with it:  realm run -m ");
    print_path(p->dir, name);
    printf("\nto serve it:      realm serve -m ");
    print_path(p->dir, name);
    putchar('\n');
}

static int fetch_one(const struct pull_job *job, const struct pull_file *f)
{
    struct realm_error err = {0};
    char size[16];
    int status = pull_file_get(job, f, &err);
    if (status == REALM_E_CANCELLED)
        return cmd_failf("pull",
                         "stopped; what has come of %s is kept, and the same command goes "
                         "on from there",
                         f->name);
    if (status < 0)
        return cmd_failf("pull", "%s: %s", f->name, err.message);
    printf("%s: %s%s, %s\n", f->name, status == PULL_WAS_THERE ? "there already, " : "",
           pull_size(size, f->size),
           f->sha256[0] || f->git[0] ? "checksum right" : "no checksum to check it by");
    fflush(stdout);
    return -1;
}

static int fetch_all(struct pull *p)
{
    struct realm_error err;
    const struct pull_job job = {p->http, &p->from, p->dir, &stopped};
    int status = make_dir(p->dir, &err);
    if (!status)
        status = check_room(p, &job, &err);
    if (status)
        return cmd_fail("pull", &err);
    if (!p->choice.runs)
        fprintf(stderr, "%s: this build does not run %s\n", p->choice.files[0]->name,
                p->choice.label);
    for (uint32_t i = 0; i < p->choice.n; i++) {
        status = fetch_one(&job, p->choice.files[i]);
        if (status >= 0)
            return status;
    }
    print_next(p);
    return EXIT_DONE;
}

static int choose(struct pull *p)
{
    struct realm_error err;
    struct buf list;
    buf_init(&list, 64 << 10);
    int status = pull_choose(&p->tree, p->wish, &p->choice, &list, &err);
    if (status) {
        cmd_failf("pull", "%s: %s", p->model, err.message);
        fwrite(list.n ? (const char *)list.p : "", 1, list.n, stderr);
    }
    buf_free(&list);
    return status ? EXIT_FAILED : -1;
}

static int pull(struct pull *p, uint32_t tries)
{
    struct realm_error err;
    catch_signals();
    int status = pull_http_open(&p->http, p->token, tries, &stopped, &err);
    if (!status)
        status = pull_tree_get(&p->tree, p->http, &p->from, &err);
    if (status == REALM_E_CANCELLED)
        return cmd_failf("pull", "stopped");
    if (status)
        return cmd_failf("pull", "%s: %s", p->model, err.message);
    status = choose(p);
    return status >= 0 ? status : fetch_all(p);
}

static int prepare(struct pull *p, const char *operand)
{
    int status = read_operand(p, operand);
    if (status < 0)
        status = read_hub(p);
    if (status < 0)
        status = read_token(p);
    if (status >= 0)
        return status;
    p->dir = choose_dir(p);
    if (!p->dir)
        return cmd_failf("pull", "name a folder with --to, or set REALM_MODELS");
    return -1;
}

int cmd_pull(int argc, char **argv)
{
    struct pull p = {.from.revision = "main"};
    const struct opt opts[] = {
        {"to", 'o', "DIR",
         "the folder (default: $REALM_MODELS, else\n"
         "                            $XDG_DATA_HOME/realm/models, ~/.local/share/realm/models)",
         &p.to_given, NULL},
        {"hub", 0, "URL", "the hub (default: $HF_ENDPOINT, else https://huggingface.co)",
         &p.hub_given, NULL},
        {"revision", 0, "REV", "a branch, tag or commit (default: main)", &p.from.revision, NULL},
        {"tries", 0, "N", "attempts that may fail in a row (default: 6)", &p.tries_given, NULL},
    };
    int rest;
    int status = opt_parse(argc, argv, opts, ARRAY_LEN(opts), &help, &rest);
    if (status >= 0)
        return status;
    uint64_t tries = 6;
    if (p.tries_given)
        status = opt_u64("pull", "--tries", p.tries_given, 1, 1000, &tries);
    if (status >= 0)
        return status;
    if (rest != 1)
        return cmd_usage("pull", "name one model, as OWNER/NAME");
    status = prepare(&p, argv[0]);
    if (status < 0)
        status = pull(&p, (uint32_t)tries);
    pull_tree_free(&p.tree);
    pull_http_close(p.http);
    mem_free(p.hub);
    mem_free(p.model);
    mem_free(p.token);
    mem_free(p.dir);
    return status;
}
