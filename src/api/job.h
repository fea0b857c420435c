/* api/job.h - one request at work.
 *
 * A job goes through three stages.  While it is PREPARING a worker has it: the body is read,
 * the model opened, the template rendered, the generations started (prepare.c), or a whole
 * answer made (door.work); a guest runs on another kind of worker then (guest.c).  While it is
 * RUNNING the server's thread has it: events of its generations become pieces of the answer
 * (run.c), which the door writes in its own form; a long one that is not streamed is written by
 * a worker, and the job is PREPARING once more.  ENDING it has failed, or was cancelled, and what
 * works for it comes to an end.  Before the last of an answer, or why there is none, is sent the
 * job is SETTLING: its row must be durable (account.c).  It is OVER when its client has its answer
 * or is gone; then it waits only for those who still work for it, and is freed.
 *
 * Threads: the server's, but for what says "worker" and for job_wake, which any may call.
 * `cancelled` tells workers, guests and waits that nobody wants the answer any more. */
#ifndef API_JOB_H
#define API_JOB_H

#include <stdatomic.h>

#include "api/api.h"
#include "api/ask.h"
#include "api/catalog.h"
#include "api/error.h"
#include "api/party.h"
#include "api/reason.h"
#include "api/workers.h"
#include "api/writer.h"
#include "base/list.h"
#include "base/thread.h"
#include "tenant/tenant.h"

/* How requests end. */
enum outcome_kind { OUTCOME_OK, OUTCOME_CANCELLED, OUTCOME_REFUSED, OUTCOME_FAILED, OUTCOMES };

struct job;
struct choice;
struct guest_run;
struct call;

/* Text that has become certain; either may be empty. */
struct piece {
    struct slice text, reasoning;
    const struct realm_event *event; /* its token; NULL: from a guest, or the last of an answer */
};

/* A door's way to read requests and to write answers.  Writers append to j->out and send it
 * with the functions below; any may be NULL that has nothing to say. */
struct door {
    const char *name; /* in logs and metrics */
    /* Worker.  The body, an object; NULL: the door takes none. */
    int (*read)(struct ask *a, json_t *body, struct api_error *e);
    /* What read takes; NULL: nothing that a tenant has defaults for. */
    const struct ask_endpoint *options;
    /* Worker.  Makes the whole answer into j->out, or NULL: generations do. */
    int (*work)(struct job *j, struct api_error *e);
    bool reasons;         /* what stands between think tags is told apart */
    bool by_guest;        /* a guest that is set answers in the model's place */
    bool counts;          /* against the tenant's limits, and in the ledger */
    bool keeps;           /* streams, too, keep the whole text */
    const char *id_field; /* of HTTP: a further name of the one with the request's id, or NULL */
    api_error_form *error;
    void (*begin)(struct job *j);                                          /* of a stream */
    void (*piece)(struct job *j, struct choice *c, const struct piece *p); /* of a stream */
    void (*end)(struct job *j, struct choice *c); /* of a stream's choice */
    /* The last events of a stream; or the whole answer, then it may be a worker that calls. */
    void (*finish)(struct job *j);
    void (*fail)(struct job *j, const struct api_error *e); /* of a stream that cannot go on */
};

/* A token whose log-probability was asked for. */
struct token_record {
    uint32_t token;
    float logprob; /* NaN: the prompt's first */
    size_t top;    /* of choice.tops: the first of its n_top */
    size_t n_top;
    size_t text_end; /* bytes of the answer's text up to here */
};

/* One answer. */
struct choice {
    struct job *job;
    uint32_t index;
    struct realm_gen *gen; /* NULL: a guest's, or not started */
    bool over;
    bool began;   /* something was shown */
    bool bounded; /* by what a budget had left, at some time */
    enum realm_finish finish;
    int status;
    uint32_t stop_index;      /* which stop string ended it; UINT32_MAX: none */
    struct realm_usage usage; /* prompt_tokens from the start, the rest from its end */
    struct reason reason;
    struct buf text, reasoning; /* the whole answer, where it is kept */
    uint64_t text_bytes;        /* shown so far */
    uint32_t n_drawn;           /* tokens so far; 0 for a guest's */
    uint64_t offset;            /* characters before the next token to be shown */
    struct buf tokens;          /* struct token_record; the prompt's first */
    size_t n_prompt_tokens;     /* of these */
    struct buf tops;            /* struct realm_logprob */
    uint32_t block, n_blocks;   /* of a message that is streamed: the open one's kind; so far */
    bool filtered;              /* a guest says that it kept its answer back */
};

/* From ENDING on its outcome stays as it is. */
enum job_stage { JOB_PREPARING, JOB_RUNNING, JOB_ENDING, JOB_SETTLING, JOB_OVER };

/* Room for one answer, whatever form it takes: JSON makes up to six bytes of one. */
enum { JOB_OUT_BYTES_MAX = 512 << 20 };

/* What other threads have told of a job. */
struct job_news {
    bool worked;    /* the worker has let go of it */
    bool committed; /* its row is durable, or cannot be made so: commit_status */
    int commit_status;
};

struct job {
    struct api *api;
    const struct door *door;
    struct list link;       /* in api.jobs */
    struct party *party;    /* whose it is, or administration's */
    size_t bytes;           /* of the request: its part of party.bytes */
    struct list ready_link; /* in api.ready, under its lock */
    bool ready;             /* under api's ready lock: is in api.ready */
    struct job_news news;   /* under api's ready lock */
    bool returned;          /* the worker has let go of it, and the server's thread knows */
    bool settling;          /* its row is with the ledger's thread, which will tell */
    struct work work;
    enum job_stage stage;
    bool writing; /* a worker has it to write the answer; constant while he does */
    int answer;   /* that is written: its status of HTTP; 0: nobody has yet */
    atomic_bool cancelled;
    atomic_bool opened; /* it has its model, and waits for no worker and no load any more */
    atomic_bool program_runs;

    struct http_exchange *x; /* NULL: a WebSocket's, or the client is gone */
    struct call *call;       /* NULL: not a WebSocket's, or that is closed */
    char id[40];             /* "req_…" */
    char shown_id[136];
    uint64_t arrived_ns, deadline_ns;
    int64_t created_s;
    bool began;     /* door.begin was called */
    bool streaming; /* the answer's head is out */

    struct tenant_pass pass;    /* whose it is; tenant NULL: administration's */
    struct tenant_grant *grant; /* NULL: nothing is counted, or it is settled */
    uint64_t noted_ns;          /* when the ledger was last told how far it is */

    /* Of the worker while PREPARING, then of the server's thread. */
    uint64_t reserved, reserved_prompts; /* tokens; prompts: of these */
    uint64_t beyond; /* what the budget had left then, 0 once it refused; UINT64_MAX: no budget */
    bool capped;     /* no more can be reserved: cap_error says why */
    struct api_error cap_error;
    struct realm_usage worked; /* of what door.work had computed */

    /* Of the worker while PREPARING, then constant. */
    struct buf body;
    char *param;     /* from the path: an id; may be NULL */
    char *query;     /* of administration: what stands behind the '?'; else NULL */
    const char *who; /* administers: "socket" or "key"; else NULL */
    bool pin;        /* the model is to stay loaded */
    struct ask ask;
    struct catalog_model named;
    struct realm_model *model;
    struct realm_model_info info;
    struct chat_prompt rendered;
    struct choice *choices; /* (n_choices) */
    size_t n_choices;
    struct guest_run *guest; /* of the single choice */
    char guest_name[80];     /* "" : the model itself answers */
    uint64_t prepared_ns;
    bool failed;
    struct api_error error; /* why, when failed */

    struct buf out;             /* what is being written */
    struct writer w;            /* to out */
    bool holds;                 /* events are the stream's last: into held, until they may go */
    struct buf held;            /* of answer.c */
    struct buf text, reasoning; /* of the piece that is being shown */
    uint64_t first_ns, last_ns; /* of tokens */
    int status;                 /* of HTTP, for the log */
    enum outcome_kind outcome;
    struct api_error end_error; /* with which it failed */
    const char *code;           /* of that */
    uint64_t tell_ns;           /* when the client is told at the latest that it failed */
    uint64_t ended_ns;
};

static inline bool job_ended(const struct job *j)
{
    return j->stage >= JOB_ENDING;
}

/* job.c */

/* Takes over x and pass (NULL: administration).  body is copied; param (may be NULL) too.
 * Answers an error itself. */
void job_open_http(struct api *a, struct http_exchange *x, const struct door *door,
                   const struct tenant_pass *pass, const char *param);
/* The same for administration, with the query and where it came from. */
void job_open_admin(struct api *a, struct http_exchange *x, const struct door *door,
                    const char *param);
/* The same for a call on a WebSocket, whose params it takes over. */
struct call_message {
    json_t *params;
    size_t bytes;   /* of the message */
    const char *id; /* of the request */
};
void job_open_call(struct api *a, struct call *call, const struct door *door,
                   const struct tenant_pass *pass, const struct call_message *message);
/* The server's own work, whose answer nobody waits for. */
void job_open_own(struct api *a, const struct door *door, const char *param);
/* Has the server's thread look at j soon.  Any thread; the engine's notify. */
void job_wake(void *j);
/* After j was woken: does what there is to do, and frees it when it is over.  news: as the
 * lock showed it. */
void job_look(struct job *j, const struct job_news *news);
/* The client left. */
void job_gone(struct job *j);
/* The client of a call wants it no more; false: its end is on the way already. */
bool job_cancel(struct job *j);
/* Now and then: of one that failed the client is not kept waiting for its row for ever, and of one
 * that runs not without a byte. */
void job_tick(struct job *j, uint64_t now_ns);
/* Frees it whatever its stage; the workers are gone. */
void job_drop(struct job *j);
/* The answer cannot be had: ends the work and tells the client. */
void job_fail(struct job *j, const struct api_error *e);
/* All generations are over: has the door write the answer, or the end of the stream. */
void job_finish(struct job *j);
/* All is written: the client has it when its row is durable. */
void job_settle(struct job *j);

/* answer.c */
/* Tells the client how it ended. */
void answer_tell(struct job *j);
/* Now and then: starts the stream of one that has long had nothing to say, for proxies that cut
 * what is silent; the http layer's comments follow. */
void answer_tick(struct job *j);
/* Answers whole with what j->out holds.  For door.finish any thread. */
void job_answer(struct job *j, int status);
/* Sends j->out as one event of the stream and clears it. */
void job_event(struct job *j, const char *event);
/* After the last event. */
void job_done(struct job *j);
/* A failed writer ends the job with an error; true when all is well. */
bool job_written(struct job *j);
/* Whether the caller of a wait is gone; for struct realm_wait. */
bool job_cancelled(void *j);
struct realm_wait job_wait(struct job *j);

/* account.c */
/* Lets j in, where its door counts; -1: *e says why not. */
MUST_USE int account_open(struct job *j, struct api_error *e);
/* Sets whose work a request is, and what is asked before it starts. */
void account_request(const struct job *j, struct realm_request *r);
/* Reserves for a guest's generations, all of them together; growth: for one that has begun, which
 * no rate breaks off.  REALM_E_LIMIT. */
MUST_USE int account_reserve(struct job *j, uint64_t tokens, bool growth, struct realm_error *err);
/* After c's generation was started: where little could be reserved it ends with that. */
void account_started(struct choice *c);
/* Why a generation that account_request let ask was refused; -1. */
int account_refused(const struct job *j, struct api_error *e);
/* After each token: reserves more, or lets the answers end where the budget does. */
void account_token(struct job *j);
void account_tick(struct job *j, uint64_t now_ns);
/* Worker: after some of door.work is computed. */
void account_worked(struct job *j);
/* Hands the row to the ledger; false: there is none to hand over, and committed will not be
 * called. */
bool account_commit(struct job *j, void (*committed)(void *ctx, int status));
/* The same where nobody waits for it. */
void account_close(struct job *j);
/* The same at the end of the process, which interrupts what has no outcome yet. */
void account_interrupt(struct job *j);
enum { RATE_HEADERS_MAX = 6 };
struct rate_texts {
    char text[RATE_HEADERS_MAX][24];
};
/* x-ratelimit-…: how many were written; their texts live in t. */
size_t account_headers(const struct job *j, struct http_header *headers, struct rate_texts *t);

/* prepare.c */
/* Worker: all of PREPARING, but for what a guest does then. */
void job_prepare(struct job *j);
/* Worker: opens the model of that name, NULL being the main one's; j->named and j->model. */
int job_open_named(struct job *j, const char *name, struct api_error *e);
/* Worker: the same of the model that ask names, if names matter (compat). */
int job_open_model(struct job *j, struct api_error *e);
/* Worker: what a name that the tenant said stands for, NULL being the main model's.  What he may
 * not use is to him what does not exist: REALM_E_NOT_FOUND. */
MUST_USE int job_find_model(const struct job *j, const char *name, struct catalog_model *out,
                            struct realm_error *err);
/* Worker: renders ask's messages into j->rendered. */
int job_render(struct job *j, struct api_error *e);
/* Worker: ids of valid UTF-8 text, for mem_free. */
int job_tokenize(const struct job *j, const char *text, size_t bytes, unsigned flags,
                 uint32_t **ids, size_t *n, struct api_error *e);
/* Worker: the same of an array of strings and ids by turns, which errors call name; BOS comes
 * before a string alone. */
int job_tokenize_parts(const struct job *j, const char *name, const json_t *parts, unsigned flags,
                       uint32_t **ids, size_t *n, struct api_error *e);
/* An id of the model's vocabulary; REALM_E_ARG: value is none. */
int job_read_id(const struct job *j, const json_t *value, uint32_t *id);
/* Worker: what the generations of one prompt are asked for, but for the prompt. */
void job_request(const struct job *j, struct realm_request *r);

/* run.c */
/* Takes the events that are there; may end the job, but not free it. */
void job_run(struct job *j);
/* More of c's answer, from whoever makes it.  REALM_E_NOMEM, REALM_E_LIMIT. */
int choice_text(struct choice *c, const char *text, size_t n, const struct realm_event *event);
/* c has its finish, status and usage. */
void choice_over(struct choice *c);
struct realm_usage job_usage(const struct job *j); /* of all choices */
const char *choice_reason(const struct choice *c, const char *stop, const char *length,
                          const char *filtered);

/* guest.c */
/* Worker.  j->guest, when a program answers: the tenant's own, or the operator's. */
int guest_set(struct job *j, struct api_error *e);
/* Worker: from its start to its end. */
int guest_run(struct job *j, struct api_error *e);
void guest_take(struct job *j);
/* Takes over what the guest used, however it ended; the worker is done with it. */
void guest_used(struct job *j);
/* By model, what guest_used took over; 0: nothing. */
size_t guest_parts(const struct job *j, struct tenant_part *parts);
/* Adds what a job's guest did, if it had one. */
struct tenant_counts;
void guest_count(const struct job *j, struct tenant_counts *t);
void guest_free(struct guest_run *g);

/* tokens.c */
enum { TOKEN_SHOWN_MAX = 512 }; /* bytes of a token that an answer shows at most */
/* A token's bytes as they are, maybe no whole UTF-8; at most max. */
size_t token_bytes(const struct job *j, uint32_t token, char *out, size_t max);
/* Records a token of c. */
MUST_USE int choice_record(struct choice *c, const struct realm_event *e);
const struct token_record *choice_tokens(const struct choice *c, size_t *n);
const struct realm_logprob *record_top(const struct choice *c, const struct token_record *r);
/* Streams show each record once. */
void choice_forget_tokens(struct choice *c);
void write_token(struct job *j, uint32_t token); /* as a JSON string */
/* The same where it is text, else an array of its bytes. */
void write_token_or_bytes(struct job *j, uint32_t token);
void write_logprob(struct job *j, float logprob);
/* "token":…,"logprob":…,"bytes":… */
void write_token_members(struct job *j, uint32_t token, float logprob);
/* The members of a chat's logprobs.content, without brackets. */
void write_chat_logprobs(struct job *j, const struct choice *c);

#endif
