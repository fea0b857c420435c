/* cmd/realm/run.h - one turn of `realm run`, with a guest or without. */
#ifndef CMD_REALM_RUN_H
#define CMD_REALM_RUN_H

#include <jansson.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "chat/chat.h"
#include "cmd.h"
#include "wasm/wasm.h"

struct run {
    struct cmd_engine on;
    struct chat *chat;
    struct realm_sampling sampling;
    const char *stop; /* NULL: none */
    bool raw;         /* the prompt is continued as it is */
    bool print_prompt;

    /* With --guest. */
    struct wasm_host *host;
    struct wasm_guest *guest;
    struct wasm_tenant *tenant;
};

/* Set by Ctrl-C, read by whatever waits. */
extern atomic_bool run_interrupted;

/* Answers text, or the conversation when messages is not NULL, printing as it
 * comes; the answer is appended to answer.  0 or a status with its sentence. */
int run_turn(struct run *run, const json_t *messages, const char *text, size_t bytes,
             struct buf *answer, struct realm_error *err);

/* Opens host, guest and tenant for the module in file; -1, or an exit status
 * after a sentence. */
int run_guest_open(struct run *run, const char *file);
void run_guest_close(struct run *run);

/* As run_turn, by the guest. */
int run_guest_turn(struct run *run, const json_t *messages, const char *text, size_t bytes,
                   struct buf *answer, struct realm_error *err);

#endif
