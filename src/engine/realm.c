/* engine/realm.c - an engine: its parts, its options, who is inside. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/machine.h"
#include "base/mem.h"
#include "engine/engine_impl.h"

enum { STEP_MS = 50, STEP_MS_MAX = 60000, LOAD_WAIT_MS = 30000 };

const char *realm_version(void)
{
    return REALM_VERSION;
}

static void fill_defaults(struct realm_options *o)
{
    if (!o->threads)
        o->threads = machine_threads("");
    if (!o->bytes_max)
        o->bytes_max = machine_memory_max("") / 10 * 7;
    if (!o->kv_bytes_max)
        o->kv_bytes_max = o->bytes_max / 4;
    if (!o->step_ms)
        o->step_ms = STEP_MS;
    if (!o->load_wait_ms)
        o->load_wait_ms = LOAD_WAIT_MS;
}

static const enum kv_type kv_types[] = {
    [REALM_KV_F16] = KV_F16,
    [REALM_KV_F32] = KV_F32,
    [REALM_KV_BF16] = KV_BF16,
    [REALM_KV_Q8_0] = KV_Q8_0,
};

static int check_options(const struct realm_options *o, struct realm_error *err)
{
    if (o->threads > POOL_THREADS_MAX)
        return err_set(err, REALM_E_ARG, "threads: %u, at most %d", o->threads, POOL_THREADS_MAX);
    if (o->kv_bytes_max >= o->bytes_max)
        return err_set(err, REALM_E_ARG,
                       "kv_bytes_max: %llu leaves nothing of bytes_max, %llu, for models",
                       (unsigned long long)o->kv_bytes_max, (unsigned long long)o->bytes_max);
    if ((size_t)o->kv_type >= ARRAY_LEN(kv_types))
        return err_set(err, REALM_E_ARG, "kv_type: no such type");
    if (o->step_ms > STEP_MS_MAX)
        return err_set(err, REALM_E_ARG, "step_ms: %u, at most %d", o->step_ms, STEP_MS_MAX);
    return 0;
}

/* Links on the way to the directory are the operator's; in it none is followed. */
static int find_models_dir(struct realm *r, struct realm_error *err)
{
    const char *dir = r->options.models_dir;
    r->options.models_dir = NULL;
    if (!dir || !*dir)
        return 0;
    struct stat st;
    bool found = realpath(dir, r->models_dir) && stat(r->models_dir, &st) == 0;
    if (!found || !S_ISDIR(st.st_mode)) {
        r->models_dir[0] = '\0';
        return err_set(err, REALM_E_ARG, "%s: %s", dir,
                       found             ? "not a directory"
                       : errno == ENOENT ? "no such directory"
                                         : io_why(errno));
    }
    r->options.models_dir = r->models_dir;
    return 0;
}

static int open_sched(struct realm *r)
{
    r->looks = machine_threads("") > 1;
    return sched_open(&r->sched, &(struct sched_options){
                                     .pool = r->pool,
                                     .kernels = kernels_best(),
                                     .clock = clock_system(),
                                     .kv_bytes_max = r->options.kv_bytes_max,
                                     .kv_type = kv_types[r->options.kv_type],
                                     .step_ms = r->options.step_ms,
                                     .cache_off = r->options.cache_off,
                                 });
}

static int open_store(struct realm *r)
{
    struct store_limits limits = {
        .bytes_max = r->options.bytes_max - r->options.kv_bytes_max,
        .idle_ms_max = r->options.idle_ms_max,
        .load_wait_ms = r->options.load_wait_ms,
    };
    struct store_ops ops = loader_ops(r);
    return store_open(&r->store, &limits, &ops, clock_system());
}

static int open_parts(struct realm *r)
{
    int status = mutex_init(&r->lock);
    if (status)
        return status;
    status = cond_init(&r->left);
    if (status)
        goto no_cond;
    status = pool_open(&r->pool, r->options.threads);
    if (status)
        goto no_pool;
    status = open_sched(r);
    if (status)
        goto no_sched;
    status = open_store(r);
    if (!status)
        return 0;
    sched_close(r->sched);
no_sched:
    pool_close(r->pool);
no_pool:
    cond_destroy(&r->left);
no_cond:
    mutex_destroy(&r->lock);
    return status;
}

int realm_open(struct realm **out, const struct realm_options *options, struct realm_error *err)
{
    *out = NULL;
    struct realm *r = mem_zalloc(sizeof(*r));
    if (!r)
        return err_nomem(err, "an engine");
    if (options)
        r->options = *options;
    list_init(&r->brought);
    fill_defaults(&r->options);
    int status = check_options(&r->options, err);
    if (!status)
        status = find_models_dir(r, err);
    if (status) {
        mem_free(r);
        return status;
    }
    status = open_parts(r);
    if (status) {
        mem_free(r);
        return err_set(err, status, "cannot start the engine: %s", realm_status_name(status));
    }
    *out = r;
    return 0;
}

void realm_close(struct realm *r)
{
    if (!r)
        return;
    atomic_store(&r->closing, true);
    sched_shutdown(r->sched);
    mutex_lock(&r->lock);
    while (r->inside)
        cond_wait(&r->left, &r->lock);
    mutex_unlock(&r->lock);
    store_close(r->store);
    sched_close(r->sched);
    pool_close(r->pool);
    cond_destroy(&r->left);
    mutex_destroy(&r->lock);
    mem_free(r);
}

void realm_expect(struct realm *r)
{
    if (r->looks)
        sched_expect(r->sched);
}

int engine_enter(struct realm *r, struct realm_error *err)
{
    engine_enter_again(r);
    if (!atomic_load(&r->closing))
        return 0;
    engine_leave(r);
    return err_set(err, REALM_E_SHUTDOWN, "the engine is closing");
}

void engine_enter_again(struct realm *r)
{
    mutex_lock(&r->lock);
    r->inside++;
    mutex_unlock(&r->lock);
}

void engine_leave(struct realm *r)
{
    mutex_lock(&r->lock);
    r->inside--;
    cond_signal(&r->left);
    mutex_unlock(&r->lock);
}

uint64_t realm_clear(struct realm *r)
{
    return store_clear(r->store);
}
