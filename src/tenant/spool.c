/* tenant/spool.c - rows that the database could not take, in a file beside it.
 *
 * The file has its full size from the start and is written with O_DSYNC, so that a full disk does
 * not matter and a row is durable when the write returns.  A record is one of RECORD_BYTES with a
 * checksum; the first that is not whole is the end. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "base/mem.h"
#include "tenant/tenant_impl.h"

enum { RECORD_BYTES = 1024 };

struct fields {
    char id[REQUEST_ID_MAX + 1], endpoint[32], key[KEY_ID_MAX + 1], tenant[TENANT_ID_MAX + 1];
    char model[MODEL_NAME_MAX + 1], guest[96], code[48];
    int64_t started_s, outcome;
    uint64_t prompt_tokens, cached_tokens, completion_tokens;
    uint64_t queued_ms, first_token_ms, total_ms;
};

struct record {
    uint64_t check; /* of fields; 0 is none */
    struct fields fields;
};

_Static_assert(sizeof(struct record) <= RECORD_BYTES, "a record fits");

static uint64_t check_of(const struct fields *f)
{
    static const uint64_t key[2] = {0x7265616c6d, 1};
    uint64_t hash = map_hash(key, f, sizeof(*f));
    return hash ? hash : 1;
}

int spool_open(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_DSYNC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -1;
    bool whole = fstat(fd, &st) == 0 && st.st_size >= (off_t)SPOOL_ROWS * RECORD_BYTES;
    if (whole || posix_fallocate(fd, 0, (off_t)SPOOL_ROWS * RECORD_BYTES) == 0)
        return fd;
    close(fd);
    return -1;
}

int spool_write(int fd, size_t at, const struct tenant_grant *g)
{
    uint8_t bytes[RECORD_BYTES] = {0};
    struct record r;
    memset(&r, 0, sizeof(r)); // the checksum is of padding, too
    struct fields *f = &r.fields;
    memcpy(f->id, g->id, sizeof(f->id));
    memcpy(f->endpoint, g->endpoint, sizeof(f->endpoint));
    memcpy(f->key, g->key, sizeof(f->key));
    memcpy(f->tenant, g->tenant_id, sizeof(f->tenant));
    memcpy(f->model, g->model, sizeof(f->model));
    memcpy(f->guest, g->guest, sizeof(f->guest));
    memcpy(f->code, g->code, sizeof(f->code));
    f->started_s = g->started_s;
    f->outcome = (int64_t)g->row.outcome;
    f->prompt_tokens = g->row.prompt_tokens;
    f->cached_tokens = g->row.cached_tokens;
    f->completion_tokens = g->row.completion_tokens;
    f->queued_ms = g->row.queued_ms;
    f->first_token_ms = g->row.first_token_ms;
    f->total_ms = g->row.total_ms;
    r.check = check_of(f);
    memcpy(bytes, &r, sizeof(r));
    off_t where = (off_t)(at * RECORD_BYTES);
    return pwrite(fd, bytes, sizeof(bytes), where) == RECORD_BYTES ? 0 : REALM_E_IO;
}

int spool_clear(int fd, size_t rows)
{
    static const uint8_t zeros[RECORD_BYTES];
    for (size_t i = rows; i-- > 0;)
        if (pwrite(fd, zeros, sizeof(zeros), (off_t)(i * RECORD_BYTES)) != RECORD_BYTES)
            return REALM_E_IO;
    return 0;
}

/* A text of a record; it was checked, but not by whoever may have made the file. */
static void take(char *to, size_t n, const char *from)
{
    memcpy(to, from, n);
    to[n - 1] = '\0';
}

static void to_grant(struct tenant_grant *g, const struct fields *f)
{
    take(g->id, sizeof(g->id), f->id);
    take(g->endpoint, sizeof(g->endpoint), f->endpoint);
    take(g->key, sizeof(g->key), f->key);
    take(g->tenant_id, sizeof(g->tenant_id), f->tenant);
    take(g->model, sizeof(g->model), f->model);
    take(g->guest, sizeof(g->guest), f->guest);
    take(g->code, sizeof(g->code), f->code);
    g->started_s = f->started_s;
    g->row = (struct tenant_row){
        .outcome = (enum tenant_outcome)(f->outcome < 0 || f->outcome >= TENANT_OUTCOMES
                                             ? (int64_t)TENANT_INTERRUPTED
                                             : f->outcome),
        .prompt_tokens = f->prompt_tokens,
        .cached_tokens = f->cached_tokens,
        .completion_tokens = f->completion_tokens,
        .queued_ms = (uint32_t)f->queued_ms,
        .first_token_ms = (uint32_t)f->first_token_ms,
        .total_ms = (uint32_t)f->total_ms,
    };
}

int spool_replay(int fd, int (*each)(void *ctx, struct tenant_grant *g), void *ctx, size_t *rows)
{
    struct tenant_grant *g = mem_zalloc(sizeof(*g));
    int status = g ? 0 : REALM_E_NOMEM;
    *rows = 0;
    while (!status && *rows < SPOOL_ROWS) {
        uint8_t bytes[RECORD_BYTES];
        struct record r;
        if (pread(fd, bytes, sizeof(bytes), (off_t)(*rows * RECORD_BYTES)) != RECORD_BYTES)
            break;
        memcpy(&r, bytes, sizeof(r));
        if (r.check != check_of(&r.fields))
            break;
        to_grant(g, &r.fields);
        status = each(ctx, g);
        *rows += status == 0;
    }
    mem_free(g);
    return status;
}
