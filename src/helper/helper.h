/* helper/helper.h - a child process for work that may blow up.
 *
 * Libraries that abort when memory runs out, or that run what came with a model
 * file or from a tenant, do their work in a child: this program again, started
 * as `realm helper`, under limits on memory and processor time.  Its death is an
 * error of one call at most; the next call starts another.  It ends when the
 * parent hangs up, and so with the parent.
 *
 * Threads: any; calls on one helper take turns, callers of each name one in a round (start-time
 * fair queueing, Goyal, Vin and Cheng 1996, with calls of equal length), and those of one name
 * in the order they come.
 *
 * On the socket, little endian: a call is {u32 op, u32 parts, u64 bytes of each
 * part (HELPER_PARTS_MAX of them)} and the parts; an answer is {i32 status, u32 0,
 * u64 bytes} and the result, or the sentence when status is not 0. */
#ifndef HELPER_HELPER_H
#define HELPER_HELPER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/compiler.h"
#include "realm/realm.h"

enum helper_op { HELPER_RENDER, HELPER_COMPILE, HELPER_OPS };

enum {
    HELPER_FD = 3, /* where the child finds its end of the socket */
    HELPER_PARTS_MAX = 3,
    HELPER_ANSWER_BYTES_MAX = 256 << 20,
};

struct helper;

/* exe: the program to start, NULL for this one.  Nothing is started yet. */
MUST_USE int helper_open(struct helper **out, const char *exe);
void helper_close(struct helper *h); /* ends the child; NULL is fine */

struct helper_task {
    enum helper_op op;
    const struct slice *parts; /* (n_parts) */
    size_t n_parts;
    uint32_t timeout_ms;           /* for the work; others' is none of the caller's */
    const char *who;               /* those of one name share its turns; NULL: "" */
    const struct realm_wait *wait; /* may be NULL */
};

/* Has the child do the task and appends its answer to out.  Returns 0, what the child says, or
 * REALM_E_DEADLINE (after timeout_ms, or as wait says), REALM_E_CANCELLED (as wait says; in
 * both cases a child that is at it is killed), REALM_E_LIMIT (it died of a limit),
 * REALM_E_SYS (it cannot be started), REALM_E_NOMEM. */
MUST_USE int helper_call(struct helper *h, const struct helper_task *task, struct buf *out,
                         struct realm_error *err);

/* ---- the child's side ---- */

typedef int (*helper_fn)(const struct slice *parts, size_t n_parts, struct buf *out,
                         struct realm_error *err);

/* What the child can do; NULL: nothing under this number. */
struct helper_work {
    helper_fn fn[HELPER_OPS];
    uint32_t cpu_s[HELPER_OPS]; /* processor time of one call */
};

/* Takes on the limits and answers calls until the parent hangs up; returns the
 * exit status. */
int helper_serve(int fd, const struct helper_work *work);

#endif
