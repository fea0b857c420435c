/* engine/engine_impl.h - inside librealm: what the handles of realm.h hold. */
#ifndef ENGINE_ENGINE_IMPL_H
#define ENGINE_ENGINE_IMPL_H

#include <limits.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/thread.h"
#include "gguf/file.h"
#include "model/model.h"
#include "pool/pool.h"
#include "realm/realm.h"
#include "sched/sched.h"
#include "store/store.h"

struct realm {
    struct realm_options options; /* defaults filled in; models_dir points to the copy */
    char models_dir[PATH_MAX];    /* no link in it; "" : none */
    struct pool *pool;
    struct sched *sched;
    struct store *store;
    bool looks; /* there is a processor to look out on: see realm_expect */
    atomic_bool closing;

    struct mutex lock;
    struct cond left;    /* somebody left */
    uint64_t inside;     /* under lock: handles, and calls that wait for one */
    struct list brought; /* under lock: models in memory that the loader has not taken */
    uint64_t n_brought;  /* under lock: for their names */
};

/* Which file a model came from; all zero for one from memory. */
struct file_id {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
};

/* A model in the store. */
struct loaded {
    struct model *model;
    struct sched_model *run;
    struct file_id id;
    uint64_t bytes; /* that the store has reserved for it */
    char *bos_text, *eos_text;
};

struct realm_model {
    struct realm *realm;
    struct store_lease *lease;
    struct loaded *loaded; /* of the lease */
};

struct realm_gen {
    struct realm *realm;
    struct store_lease *lease;
    struct sched_gen *gen;
    uint64_t seed;
};

/* realm.c */
/* Counts the caller in, so that realm_close waits for him; REALM_E_SHUTDOWN when
 * the engine is closing. */
MUST_USE int engine_enter(struct realm *r, struct realm_error *err);
/* The same for one who holds a handle already; cannot fail. */
void engine_enter_again(struct realm *r);
void engine_leave(struct realm *r);

/* path.c */
/* The path without links, `.` and `..`.  Where the file itself is gone, as it
 * would be: a model may still be in memory.  REALM_E_NOT_FOUND, with errno for io_why. */
MUST_USE int path_canonical(char out[PATH_MAX], const char *path);
/* Whether somebody who may not name paths may say this name. */
bool path_name_allowed(const char *name);
/* false, with errno for io_why, when there is no regular file of this very name (links are
 * not followed). */
bool path_identify(struct file_id *out, const char *path);
bool path_same_file(const struct file_id *a, const struct file_id *b);

/* loader.c */
/* What the store calls; ctx is a struct realm. */
struct store_ops loader_ops(struct realm *r);
/* Hands a model in memory to the loader; writes the name to lease it by. */
enum { BROUGHT_NAME_MAX = 48 };
MUST_USE int loader_bring(struct realm *r, struct gguf_file *file, char name[BROUGHT_NAME_MAX]);
/* Frees it if the loader has not taken it. */
void loader_take_back(struct realm *r, const char *name);

#endif
