/* cmd/realm/main.c - the program: finds the subcommand and runs it. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin.h"
#include "base/log.h"
#include "cmd.h"

static const struct cmd commands[] = {
    {"run", "answer a prompt, or chat at the terminal", cmd_run},
    {"serve", "answer clients over HTTP and WebSocket", cmd_serve},
    {"inspect", "show what is in a GGUF file", cmd_inspect},
    {"tokenize", "turn text into token ids", cmd_tokenize},
    {"score", "log-probabilities of a text under a model", cmd_score},
    {"embed", "vectors of texts", cmd_embed},
    {"bench", "measure tokens per second", cmd_bench},
    {"doctor", "what this machine has, and what to expect of it", cmd_doctor},
    {"limits", "the ceilings on everything that grows", cmd_limits},
    {"quantize", "write a model with smaller weights", cmd_quantize},
    {"pull", "fetch a model from a hub", cmd_pull},
    {"tenants", "who may use a running server, and how much", cmd_tenants},
    {"keys", "their keys", cmd_keys},
    {"guests", "their programs", cmd_guests},
    {"models", "the models of a running server", cmd_models},
    {"usage", "what tenants used", cmd_usage_report},
};

/* What other programs call these. */
static const struct {
    const char *word, *command;
} elsewhere[] = {
    {"chat", "run"},  {"server", "serve"}, {"list", "models"},
    {"ps", "models"}, {"show", "inspect"}, {"info", "inspect"},
};

static void print_help(FILE *to)
{
    fprintf(to, "usage: realm COMMAND [OPTION ...]\n"
                "\n"
                "Runs open-weight language models (GGUF files) on the processor, many requests at\n"
                "once, and WebAssembly guests beside them.\n"
                "\n"
                "commands:\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(to,
            "\n"
            "`realm COMMAND --help` or `realm help COMMAND` tells more, `realm --version` or\n"
            "`realm version` the version.  Without -m a command takes the small model that comes\n"
            "along.\n"
            "\n"
            "examples:\n"
            "  realm run \"What is the capital of France?\"\n"
            "  realm run -m llama.gguf            chat with a model of yours\n"
            "  realm serve -m llama.gguf          answer OpenAI's clients on port 8080\n"
            "  realm inspect llama.gguf\n"
            "\n"
            "Exit status: 0 done, 1 failed, 2 wrong usage.  Set REALM_LOG=info or debug for more\n"
            "on stderr.\n");
}

static void set_log_level(void)
{
    const char *level = getenv("REALM_LOG");
    if (level && strcmp(level, "debug") == 0)
        log_set_level(LOG_DEBUG);
    else if (level && strcmp(level, "info") == 0)
        log_set_level(LOG_INFO);
}

/* A full disk or a reader that went away is no success. */
static int check_output(const char *name, int status)
{
    bool lost = fflush(stdout) || ferror(stdout);
    return lost && status == EXIT_DONE ? cmd_failf(name, "the output cannot be written") : status;
}

static const struct cmd *find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    return NULL;
}

static int no_such_command(const char *name)
{
    fprintf(stderr, "realm: there is no command '%s'; ", name);
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++)
        if (strcmp(name, elsewhere[i].word) == 0)
            fprintf(stderr, "`realm %s` may be what you want; ", elsewhere[i].command);
    fprintf(stderr, "`realm --help` lists them\n");
    return EXIT_USAGE;
}

/* `realm help`, and `realm help COMMAND` for `realm COMMAND --help`. */
static int show_help(const char *name)
{
    char option[] = "--help";
    const struct cmd *cmd = name ? find(name) : NULL;
    if (cmd)
        return cmd->run(2, (char *[]){(char *)(uintptr_t)name, option, NULL});
    if (name)
        return no_such_command(name);
    print_help(stdout);
    return EXIT_DONE;
}

/* Whoever starts the program without one of the standard files must not find the log or an answer
 * in the file or connection that would get its number.  Using it fails as before. */
static void hold_standard_files(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
    hold_standard_files();
    signal(SIGPIPE, SIG_IGN);
    set_log_level();
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return check_output(name, show_help(argv[2]));
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
        printf("realm %s\n", realm_version());
        return EXIT_DONE;
    }
    if (strcmp(name, "helper") == 0)
        return cmd_helper(argc - 1, argv + 1);
    const struct cmd *cmd = find(name);
    return cmd ? check_output(name, cmd->run(argc - 1, argv + 1)) : no_such_command(name);
}
