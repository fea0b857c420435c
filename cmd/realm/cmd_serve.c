/* cmd/realm/cmd_serve.c - `realm serve`: the server's command line. */
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "serve.h"

static const struct opt_help help = {
    .usage = "serve [-m FILE | --models DIR] [--config FILE] [OPTION ...]",
    .about =
        "Serves models over HTTP and WebSocket: OpenAI's, Anthropic's and llama-server's calls.\n"
        "Without -m, --models or a configuration it serves the model that comes along.  The first\n"
        "line on standard output is `listening on http://HOST:PORT`; the log is on standard "
        "error.\n"
        "SIGHUP reads the configuration again; SIGTERM or Ctrl-C lets requests finish, a second "
        "one\n"
        "does not.  REALM_ADMIN_KEY in the environment opens /admin to callers of this machine,\n"
        "REALM_METRICS_KEY opens /metrics to who shows it, from anywhere.",
    .examples = "  realm serve\n"
                "  realm serve -m llama.gguf --port 9000\n"
                "  realm serve --models /var/lib/realm/models\n"
                "  realm serve --print-config > realm.yaml; realm serve --config realm.yaml",
};

static int read_arguments(int argc, char **argv, struct serve_args *a)
{
    int n_rest;
    uint64_t port;
    const struct opt opts[] = {
        {"config", 'c', "FILE", "the configuration (YAML); other options override it", &a->config,
         NULL},
        {"host", 0, "H", "address to listen at (default 127.0.0.1)", &a->host, NULL},
        {"port", 'p', "P", "port (default 8080); 0 picks a free one", &a->port, NULL},
        {"model", 'm', "FILE", "GGUF file to serve, or a model's name", &a->model, NULL},
        {"models", 0, "DIR", "serve every *.gguf in this folder, by its name", &a->models_dir,
         NULL},
        {"guest", 0, "FILE.wasm", "let this WebAssembly guest answer", &a->guest, NULL},
        {"state", 0, "DIR", "folder of what the server keeps (default ~/.local/state/realm)",
         &a->state, NULL},
        {"compat", 0, "llama-server", "behave as llama-server: models' names do not matter",
         &a->compat, NULL},
        {"print-config", 0, NULL, "print the configuration with every key explained, and stop",
         NULL, &a->print_config},
        {"check-config", 0, NULL, "say whether the configuration is sound, and stop", NULL,
         &a->check_config},
    };
    int status = opt_parse(argc, argv, opts, ARRAY_LEN(opts), &help, &n_rest);
    if (status >= 0)
        return status;
    if (n_rest)
        return cmd_usage("serve", "'%s' is no option; a model is named with -m FILE", argv[0]);
    if (a->compat && strcmp(a->compat, "llama-server") != 0)
        return cmd_usage("serve", "--compat knows llama-server alone, not '%s'", a->compat);
    return a->port ? opt_u64("serve", "-p/--port", a->port, 0, 65535, &port) : -1;
}

static int print_config(const struct conf *c)
{
    struct buf out;
    buf_init(&out, 4 * CONF_FILE_BYTES_MAX);
    int status = conf_print(c, &out);
    if (status)
        status = cmd_failf("serve", "the configuration cannot be printed: %s",
                           realm_status_name(status));
    else
        fwrite(out.p, 1, out.n, stdout);
    buf_free(&out);
    return status;
}

/* Each connection is a descriptor. */
static void raise_descriptors(const struct conf *c)
{
    enum { OWN = 128 };
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit))
        log_line(LOG_WARN, "the limit on open files cannot be raised");
    if (limit.rlim_max < (rlim_t)c->http.connections_max + OWN)
        log_line(LOG_WARN, "%llu open files are too few for %u connections",
                 (unsigned long long)limit.rlim_max, c->http.connections_max);
}

static void announce(const struct serve *s)
{
    const struct conf *c = &s->first;
    bool six = strchr(c->host, ':') != NULL;
    char url[CONF_TEXT_MAX + 32];
    snprintf(url, sizeof(url), "%s://%s%s%s:%u", c->tls_cert ? "https" : "http", six ? "[" : "",
             c->host, six ? "]" : "", s->port);
    printf("listening on %s\n", url);
    if (isatty(STDOUT_FILENO))
        printf("OpenAI's clients take %s/v1 as base_url; `curl %s/v1/models` lists the models\n",
               url, url);
    if (fflush(stdout))
        clearerr(stdout); // nobody who reads it; that is no reason not to serve
    if (s->metrics_port)
        log_line(LOG_INFO, "metrics at %s port %u", c->metrics_host, s->metrics_port);
    log_line(LOG_INFO, "administration at %s", s->state.socket);
}

static int serve(struct serve *s)
{
    struct realm_error err;
    serve_conf_log(&s->conf);
    (void)signal(SIGHUP, SIG_IGN); // until there is a loop that reads the configuration again
    raise_descriptors(&s->conf);
    int status = serve_open(s, &err);
    if (status) {
        status = cmd_fail("serve", &err);
    } else {
        announce(s);
        http_run(s->http);
        log_line(LOG_INFO, "the server ends");
    }
    serve_close(s);
    return status;
}

int cmd_serve(int argc, char **argv)
{
    struct serve_args a = {0};
    struct serve s = {.args = &a, .state.lock_fd = -1};
    struct realm_error err;
    int status = read_arguments(argc, argv, &a);
    if (status >= 0)
        return status;
    if (serve_conf_read(&a, &s.conf, &err))
        return cmd_fail("serve", &err);
    if (a.print_config) {
        status = print_config(&s.conf);
    } else if (a.check_config) {
        puts("the configuration is sound");
        status = EXIT_DONE;
    } else if (serve_conf_read(&a, &s.first, &err)) {
        status = cmd_fail("serve", &err);
    } else {
        status = serve(&s);
        conf_free(&s.first);
    }
    conf_free(&s.conf);
    log_line(LOG_DEBUG, "%llu allocations are left", (unsigned long long)mem_live());
    return status;
}
