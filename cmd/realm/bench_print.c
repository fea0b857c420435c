/* cmd/realm/bench_print.c - the figures of `realm bench`, for a person and for a program. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double figures_median(const struct figures *f)
{
    double v[BENCH_RUNS_MAX];
    if (f->n == 0)
        return 0;
    memcpy(v, f->v, f->n * sizeof(*v));
    qsort(v, f->n, sizeof(*v), compare);
    return f->n % 2 ? v[f->n / 2] : (v[f->n / 2 - 1] + v[f->n / 2]) / 2;
}

double figures_min(const struct figures *f)
{
    double least = f->n ? f->v[0] : 0;
    for (size_t i = 1; i < f->n; i++)
        least = f->v[i] < least ? f->v[i] : least;
    return least;
}

double figures_max(const struct figures *f)
{
    double most = f->n ? f->v[0] : 0;
    for (size_t i = 1; i < f->n; i++)
        most = f->v[i] > most ? f->v[i] : most;
    return most;
}

static const char *test_name(const struct row *r)
{
    static const char *const names[] = {
        [BENCH_PREFILL] = "prefill", [BENCH_DECODE] = "decode", [BENCH_EMBED] = "embed"};
    return names[r->test];
}

static void json_figures(const char *name, const struct figures *f)
{
    printf(",\"%s\":{\"median\":%.4f,\"min\":%.4f,\"max\":%.4f}", name, figures_median(f),
           figures_min(f), figures_max(f));
}

void bench_print_json(const char *model, const struct plan *plan, const char *peer)
{
    const struct machine *m = &plan->machine;
    printf("{\"version\":\"%s\",\"cpu\":", realm_version());
    print_json_text(m->cpu, strlen(m->cpu));
    printf(",\"kernels\":\"%s\",\"load\":%.2f,\"model\":", cpu_level_name(kernels_best_flags()),
           m->load);
    print_json_text(model, strlen(model));
    if (peer) {
        printf(",\"peer\":");
        print_json_text(peer, strlen(peer));
    }
    printf(",\"threads\":%u,\"depth\":%u,\"kv\":\"%s\",\"runs\":%u,\"read_gb_s\":%.3f",
           plan->threads, plan->depth, cmd_kv_name(plan->kv), plan->runs,
           figures_median(&plan->read_gb_s));
    if (plan->share.n)
        json_figures("decode_share_of_read", &plan->share);
    printf(",\"rows\":[");
    for (size_t i = 0; i < plan->n_rows; i++) {
        const struct row *r = &plan->rows[i];
        printf("%s{\"test\":\"%s\",\"tokens\":%u,\"batch\":%u", i ? "," : "", test_name(r),
               r->tokens, r->batch);
        json_figures("tok_s", &r->tok_s);
        if (plan->compare) {
            json_figures("peer_tok_s", &r->peer_tok_s);
            json_figures("ratio", &r->ratio);
        }
        printf("}");
    }
    printf("]}\n");
}

static void print_rows(const struct plan *plan)
{
    printf("%-8s %7s %6s  %10s  %10s %10s\n", "test", "tokens", "batch", "tokens/s", "least",
           "greatest");
    for (size_t i = 0; i < plan->n_rows; i++) {
        const struct row *r = &plan->rows[i];
        printf("%-8s %7u %6u  %10.2f  %10.2f %10.2f\n", test_name(r), r->tokens, r->batch,
               figures_median(&r->tok_s), figures_min(&r->tok_s), figures_max(&r->tok_s));
    }
}

static void print_ratios(const struct plan *plan)
{
    printf("%-8s %7s %6s  %10s %10s  %7s  %s\n", "test", "tokens", "batch", "Realm", "llama.cpp",
           "ratio", "least to greatest");
    for (size_t i = 0; i < plan->n_rows; i++) {
        const struct row *r = &plan->rows[i];
        printf("%-8s %7u %6u  %10.2f %10.2f  %7.2f  %.2f to %.2f\n", test_name(r), r->tokens,
               r->batch, figures_median(&r->tok_s), figures_median(&r->peer_tok_s),
               figures_median(&r->ratio), figures_min(&r->ratio), figures_max(&r->ratio));
    }
}

void bench_print_table(const char *model, const struct plan *plan, const char *peer)
{
    const struct machine *m = &plan->machine;
    printf("%s, %u thread%s, kv %s, %u token%s before, %u run%s\n", model, plan->threads,
           plural(plan->threads), cmd_kv_name(plan->kv), plan->depth, plural(plan->depth),
           plan->runs, plural(plan->runs));
    printf("%s, %s, load %.1f at the start, memory reads %.1f GB/s (%.1f to %.1f)\n",
           m->cpu[0] ? m->cpu : "processor", cpu_level_name(kernels_best_flags()), m->load,
           figures_median(&plan->read_gb_s), figures_min(&plan->read_gb_s),
           figures_max(&plan->read_gb_s));
    if (peer)
        printf("beside %s\n", peer);
    printf("\n");
    if (peer)
        print_ratios(plan);
    else
        print_rows(plan);
    if (plan->share.n)
        printf("\none answer's weights take %.0f %% of the read bandwidth (%.0f to %.0f)\n",
               100 * figures_median(&plan->share), 100 * figures_min(&plan->share),
               100 * figures_max(&plan->share));
}
