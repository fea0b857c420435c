/* cmd/realm/cmd_quantize.c - `realm quantize`: a model with smaller weights.
 *
 * Streams: a tensor passes through three buffers of CHUNK items, whatever its
 * size.  The output appears under its name only when it is whole. */
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/machine.h"
#include "base/mem.h"
#include "cmd.h"
#include "gguf/file.h"
#include "gguf/split.h"
#include "gguf/write.h"
#include "pool/pool.h"
#include "quant_mix.h"
#include "tensor/quant.h"

static const struct opt_help help = {
    .usage = "quantize IN.gguf OUT.gguf TYPE [--threads N]",
    .about =
        "Writes the model IN to OUT with its matrices as TYPE:\n"
        "  F32, F16, BF16\n"
        "  Q8_0, Q6_K, Q5_K, Q5_1, Q5_0, Q4_K, Q4_1, Q4_0, IQ4_NL, IQ4_XS, MXFP4, Q3_K, Q2_K\n"
        "  Q5_K_M, Q4_K_M, Q3_K_M: those that matter most with more bits, up to Q6_K\n"
        "Vectors stay F32.  Rows that are no multiple of 256 get the nearest type in blocks of\n"
        "32 in place of Q6_K (Q8_0), Q5_K (Q5_1), Q4_K (Q5_0), Q3_K and Q2_K (Q4_0) and IQ4_XS\n"
        "(IQ4_NL).  Begin with a model of F32, F16 or BF16: what is quantised twice loses twice.\n"
        "A file that is at OUT already is replaced.",
    .examples = "  realm quantize llama-f16.gguf llama-q4_k_m.gguf Q4_K_M",
};

enum { CHUNK = 1 << 20, SLICE = 1 << 15 }; /* items; multiples of every block */

struct job {
    const struct quant_mix *mix;
    struct gguf_file *in;
    struct quant_model model; /* of it */
    struct gguf_writer *out;
    struct pool *pool;
    uint8_t *source; /* CHUNK items of any type that runs: 4 bytes each at most */
    float *values;
    uint8_t *result;
    uint64_t done, total; /* bytes of IN */
};

/* A chunk of one tensor, cut into slices for the pool. */
struct chunk {
    const struct job *job;
    enum dtype from, to;
    uint64_t items;
    atomic_int status;
};

static bool is_quantised(uint32_t type)
{
    return dtype_info(type)->block_items > 1;
}

static uint64_t bytes_of(enum dtype type, uint64_t items)
{
    const struct dtype_info *info = dtype_info(type);
    return items / info->block_items * info->block_bytes;
}

static void convert_slice(void *ctx, size_t slice, unsigned worker)
{
    (void)worker;
    struct chunk *c = ctx;
    uint64_t at = (uint64_t)slice * SLICE;
    uint64_t n = c->items - at < SLICE ? c->items - at : SLICE;
    float *values = c->job->values + at;
    dequantize_row(c->from, c->job->source + bytes_of(c->from, at), values, n);
    int status = quantize_row(c->to, values, c->job->result + bytes_of(c->to, at), n);
    if (status)
        atomic_store(&c->status, status);
}

static int convert_chunk(struct job *j, const struct gguf_tensor *t, enum dtype to, uint64_t at,
                         uint64_t n, struct realm_error *err)
{
    struct chunk c = {.job = j, .from = (enum dtype)t->dtype, .to = to, .items = n};
    size_t bytes = (size_t)bytes_of(c.from, n);
    int status = gguf_file_read(j->in, t, bytes_of(c.from, at), j->source, bytes, err);
    if (status)
        return status;
    j->done += bytes;
    if (c.from == to)
        return gguf_writer_data(j->out, j->source, bytes);
    pool_run(j->pool, convert_slice, &c, (size_t)((n + SLICE - 1) / SLICE));
    status = atomic_load(&c.status);
    if (status)
        return err_set(err, status, "tensor %.*s has a value that %s cannot hold (not finite?)",
                       (int)min_size(t->name.n, 100), (const char *)t->name.p,
                       dtype_info(to)->name);
    return gguf_writer_data(j->out, j->result, (size_t)bytes_of(to, n));
}

static int convert_tensor(struct job *j, const struct gguf_tensor *t, struct realm_error *err)
{
    enum dtype to = quant_mix_type(j->mix, &j->model, t);
    uint64_t items = t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
    int status = 0;
    for (uint64_t at = 0; at < items && !status; at += CHUNK) {
        progress_show("quantizing", j->done, j->total);
        status = convert_chunk(j, t, to, at, items - at < CHUNK ? items - at : CHUNK, err);
    }
    return status;
}

/* Keys of which the output has its own or none. */
static bool is_replaced(struct slice key)
{
    return slice_is(key, "general.file_type") || slice_is(key, "general.quantization_version") ||
           (key.n > 6 && memcmp(key.p, "split.", 6) == 0);
}

static int write_header(struct job *j, const char *path, struct realm_error *err)
{
    const struct gguf *g = gguf_file_header(j->in);
    uint64_t kept = 0;
    for (size_t i = 0; i < gguf_values(g); i++)
        kept += !is_replaced(gguf_value(g, i)->key);
    int status = gguf_writer_open(&j->out, path, kept + 2, gguf_file_tensors(j->in), err);
    if (status)
        return status;
    for (size_t i = 0; i < gguf_values(g) && !status; i++)
        if (!is_replaced(gguf_value(g, i)->key))
            status = gguf_writer_value(j->out, gguf_value(g, i));
    if (!status)
        status = gguf_writer_u32(j->out, "general.file_type", j->mix->file_type);
    if (!status)
        status = gguf_writer_u32(j->out, "general.quantization_version", 2);
    for (size_t i = 0; i < gguf_file_tensors(j->in) && !status; i++) {
        struct gguf_tensor t = *gguf_file_tensor(j->in, i);
        t.dtype = quant_mix_type(j->mix, &j->model, &t);
        status = gguf_writer_tensor(j->out, &t);
    }
    return status;
}

/* The type of a matrix that would be quantised although it is already; NULL: there is none. */
static const char *lossy_source(const struct job *j)
{
    for (size_t i = 0; i < gguf_file_tensors(j->in); i++) {
        const struct gguf_tensor *t = gguf_file_tensor(j->in, i);
        const enum dtype to = quant_mix_type(j->mix, &j->model, t);
        if (t->dtype != to && is_quantised(t->dtype) && is_quantised(to))
            return dtype_info(t->dtype)->name;
    }
    return NULL;
}

static int check_source(struct job *j, struct realm_error *err)
{
    for (size_t i = 0; i < gguf_file_tensors(j->in); i++) {
        const struct gguf_tensor *t = gguf_file_tensor(j->in, i);
        if (!dtype_info(t->dtype)->runs)
            return err_set(err, REALM_E_UNSUPPORTED, "tensor %.*s has type %s, which is not read",
                           (int)min_size(t->name.n, 100), (const char *)t->name.p,
                           dtype_info(t->dtype)->name);
        j->total += t->bytes;
    }
    return 0;
}

/* Everything but opening IN; out is NULL again or was closed at the end. */
static int convert(struct job *j, const char *path, struct realm_error *err)
{
    int status = check_source(j, err);
    if (!status)
        status = write_header(j, path, err);
    err->status = 0;
    for (size_t i = 0; i < gguf_file_tensors(j->in) && !status; i++)
        status = convert_tensor(j, gguf_file_tensor(j->in, i), err);
    progress_clear();
    if (!j->out)
        return status;
    if (err->status) { // reading or a value failed, not writing
        gguf_writer_abort(j->out);
        return status;
    }
    return gguf_writer_close(j->out, err);
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Whether OUT is IN or one of its parts. */
static bool is_input(const char *out, const char *in, uint32_t parts)
{
    bool same = same_file(in, out);
    for (uint32_t i = 1; i < parts && !same; i++) {
        char *part;
        struct realm_error err;
        if (split_sibling(in, i, parts, &part, &err))
            return true; // cannot be told apart
        same = same_file(part, out);
        mem_free(part);
    }
    return same;
}

static int get_room(struct job *j, uint64_t threads, struct realm_error *err)
{
    j->source = mem_array(CHUNK, 4);
    j->values = mem_array(CHUNK, sizeof(*j->values));
    j->result = mem_array(CHUNK, 4);
    if (!j->source || !j->values || !j->result || pool_open(&j->pool, (unsigned)threads))
        return err_nomem(err, "the buffers of a conversion");
    return 0;
}

static void warn_of_loss(const struct job *j, const char *in)
{
    const char *type = lossy_source(j);
    if (type)
        fprintf(stderr,
                "realm quantize: %s is quantised already (%s), so it loses twice; a model of F32, "
                "F16 or BF16 would lose once\n",
                in, type);
}

/* What has come of it, where a person waited for that. */
static void tell(const struct job *j, const char *out)
{
    struct stat made;
    if (stat(out, &made) == 0)
        fprintf(stderr, "%s: %.1f MB, of %.1f MB\n", out, (double)made.st_size * 1e-6,
                (double)gguf_file_bytes(j->in) * 1e-6);
}

static int quantize(struct job *j, const char *in, const char *out, uint64_t threads)
{
    struct realm_error err = {0};
    int status = gguf_file_open(&j->in, io_system(), in, 0, &err);
    if (status)
        return cmd_fail_file("quantize", in, &err);
    quant_model_read(&j->model, j->in);
    if (is_input(out, in, gguf_file_parts(j->in))) {
        status = cmd_usage("quantize", "OUT must be another file than IN");
    } else {
        warn_of_loss(j, in);
        status = get_room(j, threads, &err);
        if (!status)
            status = convert(j, out, &err);
        if (!status)
            tell(j, out);
        status = status ? cmd_fail("quantize", &err) : EXIT_DONE;
    }
    if (j->pool)
        pool_close(j->pool);
    mem_free(j->source);
    mem_free(j->values);
    mem_free(j->result);
    gguf_file_close(j->in);
    return status;
}

int cmd_quantize(int argc, char **argv)
{
    const char *threads_text = NULL;
    const struct opt opts[] = {
        {"threads", 't', "N", "threads to use (default: as many as may run at once)", &threads_text,
         NULL},
    };
    int rest;
    int status = opt_parse(argc, argv, opts, ARRAY_LEN(opts), &help, &rest);
    if (status >= 0)
        return status;
    uint64_t threads = machine_threads("");
    if (threads_text)
        status = opt_u64("quantize", "-t/--threads", threads_text, 1, POOL_THREADS_MAX, &threads);
    if (status >= 0)
        return status;
    if (rest != 3)
        return cmd_usage("quantize", "name IN, OUT and a TYPE");
    struct job j = {.mix = quant_mix_find(argv[2])};
    if (!j.mix)
        return cmd_usage("quantize", "'%s' is no type; %s are", argv[2], quant_mix_names());
    return quantize(&j, argv[0], argv[1], threads);
}
