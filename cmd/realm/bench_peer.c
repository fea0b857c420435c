/* cmd/realm/bench_peer.c - llama.cpp in a process of its own, asked by lines of text.
 *
 * bench/peer.py says what is asked and answered.  Its Python is $REALM_PEER, or the one
 * that scripts/setup --peer puts beside the build. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "bench.h"

enum { LINE_BYTES = 1024 };

extern char **environ;

struct peer {
    pid_t pid;
    FILE *to, *from;
    char about[LINE_BYTES];
};

static int spawn(struct peer *p, char *const argv[], int in, int out)
{
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions))
        return -1;
    int failed = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO) ||
                 posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO) ||
                 posix_spawnp(&p->pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed)
        p->pid = 0;
    return failed ? -1 : 0;
}

/* Its ends of two pipes are its standard input and output. */
static int start(struct peer *p, char *const argv[])
{
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC))
        return -1;
    if (pipe2(from, O_CLOEXEC)) {
        close(to[0]);
        close(to[1]);
        return -1;
    }
    int failed = spawn(p, argv, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    p->to = fdopen(to[1], "w");
    p->from = fdopen(from[0], "r");
    return failed || !p->to || !p->from ? -1 : 0;
}

/* What its next line says after the word, or NULL with err set. */
static const char *answer(struct peer *p, const char *word, char line[LINE_BYTES],
                          struct realm_error *err)
{
    const size_t n = strlen(word);
    if (!fgets(line, LINE_BYTES, p->from)) {
        err_set(err, REALM_E_SYS, "llama.cpp's process has ended");
        return NULL;
    }
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, word, n) == 0 && line[n] == ' ')
        return line + n + 1;
    err_set(err, REALM_E_SYS, "llama.cpp: %s", line);
    return NULL;
}

/* The peer's Python and what it is to run; false after a sentence. */
static bool find_program(char **python, char **script)
{
    static const char *const pythons[] = {"../build-peer/bin/python"};
    static const char *const scripts[] = {"../bench/peer.py", "../share/realm/peer.py"};
    const char *given = getenv("REALM_PEER");
    *python = given ? mem_strdup(given) : cmd_beside(pythons, ARRAY_LEN(pythons));
    *script = cmd_beside(scripts, ARRAY_LEN(scripts));
    if (!*python)
        cmd_failf("bench", "llama.cpp is not here to compare with: `scripts/setup --peer` in "
                           "Realm's source tree builds it for this machine, in ten minutes or "
                           "more, or REALM_PEER names a Python that has llama-cpp-python");
    else if (!*script)
        cmd_failf("bench", "bench/peer.py, which asks llama.cpp, is not beside the program");
    return *python && *script;
}

int peer_open(struct peer **out, const char *model, uint32_t threads, const char *kv)
{
    char count[16], line[LINE_BYTES], *python, *script;
    struct realm_error err = {0};
    struct peer *p = mem_zalloc(sizeof(*p));
    int status = EXIT_FAILED;
    *out = NULL;
    snprintf(count, sizeof(count), "%u", threads);
    if (!find_program(&python, &script))
        goto out;
    char *const argv[] = {python, script, (char *)model, count, (char *)kv, NULL};
    if (!p || start(p, argv)) {
        cmd_failf("bench", "%s cannot be started", python);
        goto out;
    }
    const char *about = answer(p, "ready", line, &err);
    if (!about) {
        cmd_fail("bench", &err);
        goto out;
    }
    snprintf(p->about, sizeof(p->about), "%s", about);
    *out = p;
    p = NULL;
    status = -1;

out:
    peer_close(p);
    mem_free(python);
    mem_free(script);
    return status;
}

/* It ends when there is nothing more to read. */
void peer_close(struct peer *p)
{
    if (!p)
        return;
    if (p->to)
        fclose(p->to);
    if (p->from)
        fclose(p->from);
    while (p->pid && waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    mem_free(p);
}

const char *peer_about(const struct peer *p)
{
    return p->about;
}

/* Negative with err set on failure. */
static double rate(struct peer *p, struct realm_error *err)
{
    char line[LINE_BYTES];
    fflush(p->to);
    const char *text = answer(p, "rate", line, err);
    double value = text ? strtod(text, NULL) : -1;
    if (text && value <= 0) {
        err_set(err, REALM_E_SYS, "llama.cpp: %s", line);
        return -1;
    }
    return value;
}

double peer_prefill(struct peer *p, uint32_t tokens, uint32_t depth, struct realm_error *err)
{
    fprintf(p->to, "prefill %u %u\n", tokens, depth);
    return rate(p, err);
}

double peer_decode(struct peer *p, uint32_t tokens, uint32_t batch, uint32_t depth,
                   struct realm_error *err)
{
    fprintf(p->to, "decode %u %u %u\n", tokens, batch, depth);
    return rate(p, err);
}
