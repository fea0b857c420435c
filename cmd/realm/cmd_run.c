/* cmd/realm/cmd_run.c - `realm run`: one prompt, or a chat at the terminal. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "run.h"
#include "sampling_opts.h"

atomic_bool run_interrupted;

static const struct opt_help help = {
    .usage = "run [PROMPT] [-m FILE] [OPTION ...]",
    .about =
        "Answers PROMPT and prints the answer as it is made.  Without PROMPT it reads one from\n"
        "standard input, or, at a terminal, chats until Ctrl-D.  Ctrl-C ends an answer early.\n"
        "The prompt is put into the model's chat template unless --raw is given.",
    .examples = "  realm run \"What is the capital of France?\"\n"
                "  realm run \"Tell me a story.\" --temperature 1 --seed 7\n"
                "  realm run --raw \"Once upon a time\" -n 40\n"
                "  realm run --guest build/guests/default.wasm \"What is the capital of Peru?\"",
};

struct arguments {
    const char *model, *guest, *stop, *prompt, *threads;
    bool raw, print_prompt;
    struct sampling_opts sampling;
};

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    atomic_store(&run_interrupted, true);
}

static bool interrupted(void *ctx)
{
    (void)ctx;
    return atomic_load(&run_interrupted);
}

/* Ctrl-C sets a flag and wakes a read that waits (no SA_RESTART). */
static void catch_interrupt(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

/* Prints a generation's pieces until its end. */
static int print_events(struct realm_gen *gen, struct buf *answer, struct realm_error *err)
{
    const struct realm_wait wait = {.cancelled = interrupted};
    struct realm_event event;
    int status;
    do {
        status = realm_gen_next(gen, &event, &wait);
        if (status)
            return err_set(err, status, "the answer was cut short: %s", realm_status_name(status));
        fwrite(event.text, 1, event.text_bytes, stdout);
        if (fflush(stdout))
            return err_set(err, REALM_E_IO, "the output cannot be written");
        if (buf_add(answer, event.text, event.text_bytes))
            return err_nomem(err, "the answer");
    } while (event.kind == REALM_EVENT_TOKEN);
    if (event.finish == REALM_FINISH_ERROR)
        return err_set(err, event.status, "the generation failed: %s",
                       realm_status_name(event.status));
    return 0;
}

static int generate(struct run *run, const struct chat_prompt *prompt, struct buf *answer,
                    struct realm_error *err)
{
    struct realm_request request;
    struct realm_gen *gen;
    realm_request_init(&request, REALM_DOOR_CLI);
    request.text = prompt->text;
    request.text_bytes = prompt->bytes;
    request.text_flags = prompt->flags;
    request.sampling = run->sampling;
    request.stop = &run->stop;
    request.n_stop = run->stop ? 1 : 0;
    int status = realm_gen_start(&gen, run->on.model, &request, err);
    if (status)
        return status;
    status = print_events(gen, answer, err);
    realm_gen_close(gen);
    return status;
}

/* The template's text as a person reads it: without guards. */
static void print_prompt(const struct chat_prompt *prompt)
{
    static const size_t guard_n = sizeof(REALM_TEXT_GUARD) - 1;
    const char *at = prompt->text, *end = prompt->text + prompt->bytes, *guard;
    while ((guard = memmem(at, (size_t)(end - at), REALM_TEXT_GUARD, guard_n))) {
        fwrite(at, 1, (size_t)(guard - at), stdout);
        at = guard + guard_n;
    }
    fwrite(at, 1, (size_t)(end - at), stdout);
    putchar('\n');
}

int run_turn(struct run *run, const json_t *messages, const char *text, size_t bytes,
             struct buf *answer, struct realm_error *err)
{
    if (run->guest)
        return run_guest_turn(run, messages, text, bytes, answer, err);
    if (!messages) {
        const struct chat_prompt prompt = {(char *)text, bytes, REALM_TEXT_BOS};
        return generate(run, &prompt, answer, err);
    }
    struct chat_prompt prompt;
    const struct realm_wait wait = {.cancelled = interrupted};
    const struct chat_request request = {.messages = messages, .wait = &wait};
    int status = chat_render(run->chat, run->on.model, &request, &prompt, err);
    if (status)
        return status;
    if (run->print_prompt)
        print_prompt(&prompt);
    else
        status = generate(run, &prompt, answer, err);
    mem_free(prompt.text);
    return status;
}

static int add_message(json_t *messages, const char *role, const char *text, size_t n)
{
    json_t *content = json_stringn(text, n);
    if (!content)
        return REALM_E_UTF8;
    json_t *message = json_pack("{s:s, s:o}", "role", role, "content", content);
    return json_array_append_new(messages, message) ? REALM_E_NOMEM : 0;
}

/* One user message, answered; both stay in messages. */
static int talk(struct run *run, json_t *messages, const char *text, size_t n,
                struct realm_error *err)
{
    struct buf answer;
    buf_init(&answer, PROMPT_BYTES_MAX);
    int status;
    if (run->raw) {
        status = run_turn(run, NULL, text, n, &answer, err);
    } else {
        status = add_message(messages, "user", text, n);
        if (status)
            err_set(err, status, "%s",
                    status == REALM_E_UTF8 ? "the prompt is not UTF-8" : "out of memory");
        else
            status = run_turn(run, messages, text, n, &answer, err);
        /* What was said until Ctrl-C stays said. */
        if (!status || status == REALM_E_CANCELLED)
            (void)add_message(messages, "assistant", (const char *)answer.p, answer.n);
        else
            json_array_remove(messages, json_array_size(messages) - 1);
    }
    if (!run->print_prompt && (!status || answer.n))
        putchar('\n');
    fflush(stdout);
    buf_free(&answer);
    return status;
}

static int one_prompt(struct run *run, const char *text, size_t n)
{
    struct realm_error err = {0};
    json_t *messages = json_array();
    int status = talk(run, messages, text, n, &err);
    json_decref(messages);
    if (status == REALM_E_CANCELLED)
        return cmd_failf("run", "interrupted");
    return status ? cmd_fail("run", &err) : EXIT_DONE;
}

/* As talk; where the conversation has outgrown the context, its oldest turns go. */
static int talk_on(struct run *run, json_t *messages, const char *text, size_t n,
                   struct realm_error *err)
{
    int status = talk(run, messages, text, n, err);
    bool told = false;
    while (status == REALM_E_CONTEXT && json_array_size(messages) >= 2) {
        if (!told)
            fprintf(stderr, "(the context is full: the oldest turns are forgotten)\n");
        told = true;
        json_array_remove(messages, 0);
        json_array_remove(messages, 0);
        status = talk(run, messages, text, n, err);
    }
    return status;
}

static int chat_at_terminal(struct run *run)
{
    struct realm_error err = {0};
    json_t *messages = json_array();
    char *line = NULL;
    size_t room = 0;
    fprintf(stderr, "Ctrl-D ends the chat, Ctrl-C an answer.\n");
    for (;;) {
        fputs("> ", stderr);
        errno = 0;
        ssize_t n = getline(&line, &room, stdin);
        if (n < 0 && errno == EINTR) {
            /* Ctrl-C at the prompt clears the line, as a shell does. */
            atomic_store(&run_interrupted, false);
            clearerr(stdin);
            fputc('\n', stderr);
            continue;
        }
        if (n < 0)
            break;
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            n--;
        if (n == 0)
            continue;
        atomic_store(&run_interrupted, false);
        int status = talk_on(run, messages, line, (size_t)n, &err);
        if (status && status != REALM_E_CANCELLED)
            cmd_fail("run", &err);
    }
    fputc('\n', stderr);
    free(line);
    json_decref(messages);
    return EXIT_DONE;
}

static int converse(struct run *run, const char *prompt)
{
    if (!prompt && isatty(STDIN_FILENO))
        return chat_at_terminal(run);
    char *text;
    size_t n;
    int status = cmd_text("run", prompt, prompt ? NULL : "-", &text, &n);
    if (status >= 0)
        return status;
    status = n ? one_prompt(run, text, n) : cmd_usage("run", "the prompt is empty");
    mem_free(text);
    return status;
}

static int read_arguments(int argc, char **argv, struct arguments *a, struct run *run)
{
    int n_rest;
    struct opt opts[8 + SAMPLING_OPTS_MAX] = {
        {"model", 'm', "FILE", "GGUF file (default: the model that comes along)", &a->model, NULL},
        {"guest", 0, "FILE.wasm", "let this WebAssembly guest answer", &a->guest, NULL},
        {"raw", 0, NULL, "continue the prompt as it is, without the chat template", NULL, &a->raw},
        {"stop", 0, "TEXT", "end the answer before this text", &a->stop, NULL},
        {"threads", 't', "N", "compute threads (default: as many as may run at once)", &a->threads,
         NULL},
        {"print-prompt", 0, NULL, "print what the template makes of the prompt, and stop", NULL,
         &a->print_prompt},
    };
    size_t n = sampling_opts_add(&a->sampling, opts, 6);
    int status = opt_parse(argc, argv, opts, n, &help, &n_rest);
    if (status >= 0)
        return status;
    if (n_rest > 1)
        return cmd_usage("run",
                         "more than one prompt; put quotes around it, and name a model with -m");
    a->prompt = n_rest ? argv[0] : NULL;
    if (a->prompt && cmd_names_gguf(a->prompt) && access(a->prompt, F_OK) == 0)
        return cmd_usage("run", "'%s' is a model's file and no prompt; name it with -m", a->prompt);
    if (a->stop && !a->stop[0])
        return cmd_usage("run", "--stop must not be empty");
    if (a->print_prompt && (a->raw || a->guest))
        return cmd_usage("run", "--print-prompt goes with neither --raw nor --guest");
    realm_sampling_init(&run->sampling, REALM_DOOR_CLI);
    return sampling_opts_read(&a->sampling, "run", &run->sampling);
}

/* A guest's GenOptions have no place for these. */
static int check_guest_options(const struct arguments *a)
{
    static const struct {
        const char *param, *option;
    } missing[] = {{"min_p", "--min-p"},
                   {"presence_penalty", "--presence-penalty"},
                   {"frequency_penalty", "--frequency-penalty"}};
    const char *given = a->stop ? "--stop" : NULL;
    for (size_t i = 0; i < ARRAY_LEN(missing); i++)
        if (sampling_opts_given(&a->sampling, missing[i].param))
            given = missing[i].option;
    if (!a->guest || !given)
        return -1;
    return cmd_usage(
        "run", "%s cannot be given with --guest: a guest's options have no place for it", given);
}

static int open_model(struct run *run, const struct arguments *a)
{
    uint64_t threads = 0;
    if (a->threads) {
        int status = opt_u64("run", "-t/--threads", a->threads, 1, POOL_THREADS_MAX, &threads);
        if (status >= 0)
            return status;
    }
    const struct realm_options options = {.threads = (uint32_t)threads};
    int status = cmd_engine_open(&run->on, "run", a->model, &options, interrupted);
    if (status < 0 && chat_open(&run->chat, NULL))
        status = cmd_failf("run", "out of memory");
    return status;
}

int cmd_run(int argc, char **argv)
{
    struct arguments a = {0};
    struct run run = {0};
    int status = read_arguments(argc, argv, &a, &run);
    if (status >= 0)
        return status;
    status = check_guest_options(&a);
    if (status >= 0)
        return status;
    catch_interrupt();
    run.raw = a.raw;
    run.stop = a.stop;
    run.print_prompt = a.print_prompt;
    status = open_model(&run, &a);
    if (status < 0 && a.guest)
        status = run_guest_open(&run, a.guest);
    if (status < 0) {
        struct realm_model_info info;
        realm_model_info(run.on.model, &info);
        if (!info.chat_template && !run.raw) {
            fprintf(stderr, "realm run: this model has no chat template; the prompt is continued "
                            "as it is\n");
            run.raw = true;
        }
        status = converse(&run, a.prompt);
    }
    run_guest_close(&run);
    chat_close(run.chat);
    cmd_engine_close(&run.on);
    return status;
}
