/* cmd/realm/pull.h - the pieces of `realm pull`: a hub's listing, the choice of a model in it,
 * and files that arrive whole or go on later.  One thread. */
#ifndef CMD_REALM_PULL_H
#define CMD_REALM_PULL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "base/limits.h"
#include "realm/status.h"

enum {
    PULL_SHA256_HEX = 64,
    PULL_GIT_HEX = 40,
    PULL_LABEL_MAX = 32,
    PULL_ETAG_MAX = 128,
};

/* ---- HTTP (pull_http.c) ---- */

struct pull_http;

/* Where the body of an answer goes. */
struct pull_sink {
    /* Byte of the resource that the next body shall begin with, asked before each attempt. */
    uint64_t (*offset)(void *ctx);
    /* A body begins, at offset's byte or at 0; etag is "" where there is no strong one. */
    int (*begin)(void *ctx, uint64_t offset, const char *etag, struct realm_error *err);
    int (*data)(void *ctx, const void *p, size_t n, struct realm_error *err);
    /* An attempt has ended well, or gone on for a while: 0, or whole is not what came. */
    bool (*whole)(void *ctx);
    const char *etag; /* for If-Range; NULL or "": none */
    void *ctx;
};

/* token: sent to the host of the addresses asked for and to no other; NULL: none.  tries: attempts
 * that may fail in a row.  stop: ends what is under way. */
MUST_USE int pull_http_open(struct pull_http **out, const char *token, uint32_t tries,
                            const atomic_bool *stop, struct realm_error *err);
void pull_http_close(struct pull_http *h);

/* Gets url, with patience.  REALM_E_NOT_FOUND (404), REALM_E_ARG (401, 403), REALM_E_CANCELLED,
 * REALM_E_IO, or what the sink returned. */
MUST_USE int pull_http_get(struct pull_http *h, const char *url, const struct pull_sink *sink,
                           struct realm_error *err);
/* The target of the last answer's Link of rel="next", "" when it had none. */
const char *pull_http_next(const struct pull_http *h);

/* 0 for an address that can be a hub's, else REALM_E_ARG. */
MUST_USE int pull_hub_check(const char *hub, struct realm_error *err);
/* Appends link, which was found in the answer of base; REALM_E_FORMAT unless both have one scheme,
 * host and port. */
MUST_USE int pull_url_follow(const char *base, const char *link, struct buf *out,
                             struct realm_error *err);
/* Appends text percent-encoded; slashes stay where keep_slashes says so. */
MUST_USE int pull_url_escape(struct buf *out, const char *text, bool keep_slashes);

/* ---- listings (pull_tree.c) ---- */

struct pull_source {
    const char *hub;   /* no slash at its end */
    const char *model; /* OWNER/NAME */
    const char *revision;
};

struct pull_file {
    char *path;       /* in the repository */
    const char *name; /* its last component */
    uint64_t size;
    char sha256[PULL_SHA256_HEX + 1]; /* lower case; "" where the hub has none */
    char git[PULL_GIT_HEX + 1];       /* of a file that git itself holds; else "" */
};

/* The GGUF files of a repository. */
struct pull_tree {
    struct pull_file *files;
    size_t n, room;
};

MUST_USE int pull_tree_get(struct pull_tree *t, struct pull_http *h, const struct pull_source *from,
                           struct realm_error *err);
/* One page of JSON, added. */
MUST_USE int pull_tree_add(struct pull_tree *t, struct slice page, struct realm_error *err);
void pull_tree_free(struct pull_tree *t);

/* ---- which of them (pull_choose.c) ---- */

struct pull_choice {
    const struct pull_file *files[GGUF_SPLITS_MAX]; /* the parts in their order */
    uint32_t n;
    char label[PULL_LABEL_MAX]; /* "Q4_K_M", or "" */
    bool runs;                  /* as far as the label tells */
};

/* wish: a label or a file's name; NULL: the best that this build runs.  REALM_E_NOT_FOUND or
 * REALM_E_ARG with a sentence, and in list what there is, one model a line; REALM_E_FORMAT for a
 * name that cannot be a file's in a folder, or parts that are not all there. */
MUST_USE int pull_choose(const struct pull_tree *t, const char *wish, struct pull_choice *out,
                         struct buf *list, struct realm_error *err);
/* The type of weights that a path names, in capitals; "" where it names none. */
void pull_label(const char *path, char out[PULL_LABEL_MAX]);
/* "4.4 GB", in a buffer of 16. */
const char *pull_size(char out[16], uint64_t bytes);

/* ---- one file (pull_file.c) ---- */

struct pull_job {
    struct pull_http *http;
    const struct pull_source *from;
    const char *dir;
    const atomic_bool *stop;
};

/* Bytes that are still to come, 0 for a file that is there. */
uint64_t pull_file_missing(const struct pull_job *j, const struct pull_file *f);

enum { PULL_FETCHED = 0, PULL_WAS_THERE = 1 };

/* Brings f to DIR/NAME; PULL_FETCHED or PULL_WAS_THERE, or a negative status.  What came of a
 * file that is not whole stays as DIR/NAME.part, for the next time. */
MUST_USE int pull_file_get(const struct pull_job *j, const struct pull_file *f,
                           struct realm_error *err);

#endif
