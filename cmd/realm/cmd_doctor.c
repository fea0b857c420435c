/* cmd/realm/cmd_doctor.c - `realm doctor`: what this machine has, and what to expect of it. */
#include <string.h>

#include "base/limits.h"
#include "bench.h"
#include "doctor.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"

enum { READ_MS = 300 };

static const struct opt_help help = {
    .usage = "doctor [-t THREADS] [--json]",
    .about =
        "Tells what this machine has (instruction sets, processors, memory), measures how fast\n"
        "it reads memory and multiplies matrices, and says what tokens per second to expect of\n"
        "models of common sizes and which of them fit.  Takes about a second; what slows a\n"
        "machine down is named at the end.",
    .examples = "  realm doctor\n"
                "  realm doctor --json | jq '.models[] | select(.fits)'",
};

static const char *const product_names[DOCTOR_PRODUCTS] = {
    [DOCTOR_Q4_K] = "Q4_K",
    [DOCTOR_Q8_0] = "Q8_0",
    [DOCTOR_F32] = "F32",
};

static int read_arguments(int argc, char **argv, struct doctor *d, bool *json)
{
    int n_rest;
    const char *threads = NULL;
    uint64_t n = machine_threads("");
    const struct opt opts[] = {
        {"threads", 't', "N", "compute threads (default: as many as may run at once)", &threads,
         NULL},
        {"json", 0, NULL, "print one JSON object", NULL, json},
    };
    int status = opt_parse(argc, argv, opts, ARRAY_LEN(opts), &help, &n_rest);
    if (status < 0 && n_rest)
        return cmd_usage("doctor", "there is nothing to do with '%s'", argv[0]);
    if (status < 0 && threads)
        status = opt_u64("doctor", "-t/--threads", threads, 1, POOL_THREADS_MAX, &n);
    d->threads = (unsigned)n;
    return status;
}

/* Starts an engine as the other commands do, which shows that one can be. */
static int ask_engine(struct doctor *d, struct realm_error *err)
{
    struct realm *engine;
    struct realm_stats stats;
    int status = realm_open(&engine, &(struct realm_options){.threads = d->threads}, err);
    if (status)
        return status;
    realm_stats(engine, &stats);
    d->budget_bytes = stats.bytes_max + stats.kv_bytes_max; // of models, and of what they keep
    realm_close(engine);
    return 0;
}

static void measure_reading(struct doctor *d)
{
    if (doctor_room(d) / 2 < bandwidth_bytes(d->threads))
        return;
    struct bandwidth *b = bandwidth_open(d->threads);
    if (b)
        d->read_b_s = bandwidth_measure(b, READ_MS);
    bandwidth_close(b);
}

static int examine(struct doctor *d)
{
    struct realm_error err = {0};
    machine_read("", &d->machine);
    d->cpu_flags = cpu_detect();
    d->used_flags = kernels_best_flags();
    if (ask_engine(d, &err))
        return cmd_fail("doctor", &err);
    measure_reading(d);
    int status = doctor_measure_products(d);
    return status ? cmd_failf("doctor", "the products cannot be measured: %s",
                              realm_status_name(status))
                  : -1;
}

/* ---- for a person ---- */

static void print_machine(const struct doctor *d)
{
    static const char *const pages[] = {
        [MACHINE_PAGES_UNKNOWN] = "none",
        [MACHINE_PAGES_NEVER] = "off",
        [MACHINE_PAGES_MADVISE] = "on (madvise)",
        [MACHINE_PAGES_ALWAYS] = "on (always)",
    };
    const struct machine *m = &d->machine;
    char lacking[64];
    doctor_lacking(d->cpu_flags, lacking, sizeof(lacking));
    printf("processor   %s: %u processor%s on %u core%s, load %.1f", m->cpu[0] ? m->cpu : "unknown",
           m->processors, plural(m->processors), m->cores, plural(m->cores), m->load);
    if (m->quota > 0)
        printf(", the control group's limit %.1f processors", m->quota);
    printf("\n");
    printf("kernels     %s%s%s\n", cpu_level_name(d->used_flags),
           lacking[0] ? "; the processor lacks " : "", lacking);
    printf("memory      %.1f GB, %.1f GB free", (double)m->memory_bytes * 1e-9,
           (double)m->available_bytes * 1e-9);
    if (m->limit_bytes != UINT64_MAX)
        printf(", the control group's limit %.1f GB", (double)m->limit_bytes * 1e-9);
    if (m->swap_bytes)
        printf(", swap %.1f GB", (double)m->swap_bytes * 1e-9);
    printf("; an engine takes up to %.1f GB\n", (double)d->budget_bytes * 1e-9);
    printf("huge pages  %s\n", pages[m->huge_pages]);
}

static void print_measured(const struct doctor *d)
{
    if (d->read_b_s > 0)
        printf("reads       %.1f GB/s, %u thread%s\n", d->read_b_s * 1e-9, d->threads,
               plural(d->threads));
    printf("multiplies ");
    for (size_t i = 0; i < DOCTOR_PRODUCTS; i++)
        printf("%s %s %.0f", i ? "," : "", product_names[i], d->product_s[i] * 1e-9);
    printf(" GOP/s\n");
}

static void print_rate(double rate)
{
    if (rate > 0)
        printf("  %8.*f", rate < 10 ? 1 : 0, rate);
    else
        printf("  %8s", "-");
}

static void print_expected(const struct doctor *d)
{
    struct expected list[EXPECTED_MAX];
    size_t n = doctor_expect(d, list);
    printf("\nto expect, tokens per second of one request (many at once reach more)\n");
    printf("%-5s %-7s  %8s  %8s  %8s  %8s\n", "model", "weights", "GB", "with KV", "answer",
           "prompt");
    for (size_t i = 0; i < n; i++) {
        const struct expected *e = &list[i];
        printf("%-5s %-7s  %8.1f  %8.1f", e->size, e->type, e->weight_bytes * 1e-9,
               e->all_bytes * 1e-9);
        if (e->fits) {
            print_rate(e->decode_tok_s);
            print_rate(e->prefill_tok_s);
            printf("\n");
        } else {
            printf("  does not fit\n");
        }
    }
    printf("(with KV: keys and values of %d tokens)\n", DOCTOR_CONTEXT);
}

static void print_report(const struct doctor *d, const struct doctor_warnings *w)
{
    print_machine(d);
    print_measured(d);
    print_expected(d);
    for (size_t i = 0; i < w->n; i++)
        printf("%s- %s\n", i ? "" : "\nwhat may slow it down\n", w->text[i]);
}

/* ---- for a program ---- */

static void json_machine(const struct doctor *d)
{
    static const char *const pages[] = {
        [MACHINE_PAGES_UNKNOWN] = "none",
        [MACHINE_PAGES_NEVER] = "never",
        [MACHINE_PAGES_MADVISE] = "madvise",
        [MACHINE_PAGES_ALWAYS] = "always",
    };
    const struct machine *m = &d->machine;
    char lacking[64];
    doctor_lacking(d->cpu_flags, lacking, sizeof(lacking));
    printf("{\"version\":\"%s\",\"cpu\":", realm_version());
    print_json_text(m->cpu, strlen(m->cpu));
    printf(",\"kernels\":\"%s\",\"lacking\":\"%s\",\"processors\":%u,\"cores\":%u,\"threads\":%u,"
           "\"load\":%.2f",
           cpu_level_name(d->used_flags), lacking, m->processors, m->cores, d->threads, m->load);
    if (m->quota > 0)
        printf(",\"quota\":%.3f", m->quota);
    printf(",\"memory_bytes\":%llu,\"available_bytes\":%llu,\"swap_bytes\":%llu",
           (unsigned long long)m->memory_bytes, (unsigned long long)m->available_bytes,
           (unsigned long long)m->swap_bytes);
    if (m->limit_bytes != UINT64_MAX)
        printf(",\"limit_bytes\":%llu", (unsigned long long)m->limit_bytes);
    printf(",\"budget_bytes\":%llu,\"huge_pages\":\"%s\"", (unsigned long long)d->budget_bytes,
           pages[m->huge_pages]);
}

static void json_measured(const struct doctor *d)
{
    printf(",\"read_gb_s\":%.3f,\"products_gop_s\":{", d->read_b_s * 1e-9);
    for (size_t i = 0; i < DOCTOR_PRODUCTS; i++)
        printf("%s\"%s\":%.1f", i ? "," : "", product_names[i], d->product_s[i] * 1e-9);
    printf("}");
}

static void json_expected(const struct doctor *d)
{
    struct expected list[EXPECTED_MAX];
    size_t n = doctor_expect(d, list);
    printf(",\"models\":[");
    for (size_t i = 0; i < n; i++)
        printf("%s{\"size\":\"%s\",\"type\":\"%s\",\"weight_bytes\":%.0f,\"bytes\":%.0f,"
               "\"fits\":%s,\"decode_tok_s\":%.2f,\"prefill_tok_s\":%.2f}",
               i ? "," : "", list[i].size, list[i].type, list[i].weight_bytes, list[i].all_bytes,
               list[i].fits ? "true" : "false", list[i].decode_tok_s, list[i].prefill_tok_s);
    printf("]");
}

static void print_json(const struct doctor *d, const struct doctor_warnings *w)
{
    json_machine(d);
    json_measured(d);
    json_expected(d);
    printf(",\"warnings\":[");
    for (size_t i = 0; i < w->n; i++) {
        printf("%s", i ? "," : "");
        print_json_text(w->text[i], strlen(w->text[i]));
    }
    printf("]}\n");
}

int cmd_doctor(int argc, char **argv)
{
    struct doctor d = {0};
    struct doctor_warnings warnings;
    bool json = false;
    int status = read_arguments(argc, argv, &d, &json);
    if (status < 0)
        status = examine(&d);
    if (status >= 0)
        return status;
    doctor_warn(&d, &warnings);
    if (json)
        print_json(&d, &warnings);
    else
        print_report(&d, &warnings);
    return EXIT_DONE;
}
