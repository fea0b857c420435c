/* cmd/realm/doctor_advice.c - from what a machine has: what to expect of it, what to mend. */
#include <stdarg.h>
#include <string.h>

#include "base/ckd.h"
#include "base/limits.h"
#include "doctor.h"
#include "kernels/cpu.h"

uint64_t doctor_room(const struct doctor *d)
{
    const struct machine *m = &d->machine;
    return m->limit_bytes < m->available_bytes ? m->limit_bytes : m->available_bytes;
}

/* ---- what to expect ---- */

/* Of the read bandwidth, by decoding one answer; and of the rate of products alone, by reading
 * a prompt: what 1.1 B models reach (docs/benchmarks.md). */
static const double DECODE_SHARE = 0.9, PREFILL_SHARE = 0.6;

/* Sizes as they are usual: Qwen 2.5 0.5B, Llama 3's 1B to 8B, Qwen 2.5 14B and 32B.
 * In millions of weights; a token's step reads all but the table of embeddings (where that
 * is not the output matrix, too), a prompt's token is multiplied by those of the layers. */
static const struct {
    const char *name;
    double all, step, layers;
    double kv_bytes;     /* of one token in f16 */
    double q4_k_m, q8_0; /* bits of a weight; rows of 896 have no Q4_K */
} sizes[] = {
    {"0.5B", 494, 494, 358, 12288, 6.4, 8.5},       {"1B", 1236, 1236, 973, 32768, 4.9, 8.5},
    {"3B", 3213, 3213, 2819, 114688, 4.9, 8.5},     {"8B", 8030, 7505, 6980, 131072, 4.9, 8.5},
    {"14B", 14770, 13991, 13212, 196608, 4.9, 8.5}, {"32B", 32764, 31985, 31206, 262144, 4.9, 8.5},
};
_Static_assert(2 * ARRAY_LEN(sizes) <= EXPECTED_MAX, "two types of each size");

static struct expected expect(const struct doctor *d, size_t size, bool q8_0)
{
    const double bytes = (q8_0 ? sizes[size].q8_0 : sizes[size].q4_k_m) / 8 * 1e6;
    const double product_s = d->product_s[q8_0 ? DOCTOR_Q8_0 : DOCTOR_Q4_K];
    struct expected e = {.size = sizes[size].name, .type = q8_0 ? "Q8_0" : "Q4_K_M"};
    e.weight_bytes = sizes[size].all * bytes;
    e.all_bytes = e.weight_bytes + sizes[size].kv_bytes * DOCTOR_CONTEXT;
    e.fits = e.all_bytes <= (double)d->budget_bytes;
    e.decode_tok_s = d->read_b_s * DECODE_SHARE / (sizes[size].step * bytes);
    e.prefill_tok_s = product_s * PREFILL_SHARE / (2 * sizes[size].layers * 1e6);
    return e;
}

size_t doctor_expect(const struct doctor *d, struct expected *out)
{
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        out[n++] = expect(d, i, false);
        out[n++] = expect(d, i, true);
    }
    return n;
}

/* ---- what to mend ---- */

void doctor_lacking(unsigned flags, char *out, size_t max)
{
    static const struct {
        const char *name;
        unsigned flag;
    } levels[] = {{"avx2", CPU_AVX2},
                  {"avx512", CPU_AVX512},
                  {"vnni", CPU_VNNI | CPU_AVXVNNI},
                  {"bf16", CPU_BF16}};
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (!(flags & levels[i].flag) && at < max)
            at += (size_t)snprintf(out + at, max - at, "%s%s", at ? ", " : "", levels[i].name);
}

static void warn(struct doctor_warnings *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void warn(struct doctor_warnings *w, const char *fmt, ...)
{
    va_list args;
    if (w->n == DOCTOR_WARNINGS_MAX)
        return;
    va_start(args, fmt);
    vsnprintf(w->text[w->n++], DOCTOR_WARNING_BYTES, fmt, args);
    va_end(args);
}

static void warn_of_processor(const struct doctor *d, struct doctor_warnings *w)
{
    const struct machine *m = &d->machine;
    if (!(d->cpu_flags & CPU_AVX2))
        warn(w, "the processor has no AVX2 (with FMA and F16C): Realm computes all the same, but "
                "ten times slower or more");
    else if (d->used_flags != d->cpu_flags)
        warn(w, "REALM_CPU is set: the kernels leave unused what the processor has");
    if (d->threads > m->processors)
        warn(w, "%u threads have to share %u processor%s: use -t %u", d->threads, m->processors,
             plural(m->processors), m->processors);
    if (m->quota > 0 && m->quota < d->threads)
        warn(w,
             "the control group gives the time of %.1f processors, and is stopped when %u "
             "thread%s used it up: use -t %u",
             m->quota, d->threads, d->threads == 1 ? " has" : "s have",
             m->quota < 1 ? 1 : (unsigned)m->quota);
    if (m->cores < d->threads && d->threads <= m->processors)
        warn(w,
             "%u threads share %u core%s (hyperthreads): -t %u may be as fast and leaves room "
             "for others",
             d->threads, m->cores, plural(m->cores), m->cores);
    if (m->load > 0.5 * m->processors)
        warn(w,
             "other programs are running (load %.1f on %u processor%s): what was measured is "
             "what they leave",
             m->load, m->processors, plural(m->processors));
}

static void warn_of_memory(const struct doctor *d, struct doctor_warnings *w)
{
    const struct machine *m = &d->machine;
    if (m->huge_pages == MACHINE_PAGES_NEVER)
        warn(w, "huge pages are off, which slows down reading weights; as root: echo madvise > "
                "/sys/kernel/mm/transparent_hugepage/enabled");
    if (m->huge_pages == MACHINE_PAGES_UNKNOWN)
        warn(w, "the kernel offers no transparent huge pages, which slows down reading weights");
    if (m->swap_used_bytes)
        warn(w,
             "the system swaps (%.1f GB are out): weights that have to be read back from the "
             "disk hold up every token",
             (double)m->swap_used_bytes * 1e-9);
    if (m->available_bytes < d->budget_bytes)
        warn(w, "only %.1f GB of memory are free now: an engine would take up to %.1f GB",
             (double)m->available_bytes * 1e-9, (double)d->budget_bytes * 1e-9);
    if (d->read_b_s == 0)
        warn(w, "there is not enough free memory for measuring how fast it can be read");
}

void doctor_warn(const struct doctor *d, struct doctor_warnings *out)
{
    out->n = 0;
    warn_of_processor(d, out);
    warn_of_memory(d, out);
}
