/* cmd/realm/cmd_inspect.c - `realm inspect`: what is in a GGUF file.
 *
 * Texts of a file are printed as JSON prints them, so that no byte of a file
 * reaches the terminal as a control character. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "cmd.h"
#include "gguf/file.h"
#include "tensor/dtype.h"

static const struct opt_help help = {
    .usage = "inspect [FILE.gguf] [--json]",
    .about =
        "Shows the header, the keys and the tensors of a GGUF model; of a split model, all of\n"
        "its parts (name the first).  Long arrays show their first items.  Shapes are in the\n"
        "file's order: the row's length first.",
    .examples = "  realm inspect llama.gguf\n"
                "  realm inspect llama.gguf --json | jq '.tensors[].name'",
};

enum { ITEMS_SHOWN = 4, TEXT_SHOWN = 64, KEY_COLUMN = 44, NAME_COLUMN = 32 };

static void print_text(struct slice text, size_t max)
{
    size_t n = text.n <= max ? text.n : utf8_whole(text.p, max);
    print_json_text((const char *)text.p, n);
    if (n < text.n)
        fputs("...", stdout);
}

/* With as few digits as give v again, to the precision of its type. */
static void print_real(double v, bool is_double)
{
    if (!isfinite(v)) {
        fputs("null", stdout);
        return;
    }
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (is_double ? strtod(text, NULL) == v : strtof(text, NULL) == (float)v)
            break;
    }
    fputs(text, stdout);
}

/* An integer of n bytes, signed or not. */
static void print_integer(const uint8_t *p, size_t n, bool is_signed)
{
    uint64_t v = 0;
    memcpy(&v, p, n);
    if (is_signed && p[n - 1] & 0x80)
        printf("-%" PRIu64, (0 - v) & UINT64_MAX >> (64 - 8 * n));
    else
        printf("%" PRIu64, v);
}

/* Prints the next item of the given type as JSON and moves it past the item. */
static void print_item(enum gguf_type type, struct bytes *it, size_t text_max)
{
    static const struct {
        uint8_t bytes;
        bool is_signed;
    } integers[GGUF_TYPES] = {
        [GGUF_U8] = {1, false},  [GGUF_I8] = {1, true},   [GGUF_U16] = {2, false},
        [GGUF_I16] = {2, true},  [GGUF_U32] = {4, false}, [GGUF_I32] = {4, true},
        [GGUF_U64] = {8, false}, [GGUF_I64] = {8, true},
    };
    uint8_t raw[8];
    float f;
    double d;
    if (type == GGUF_STRING)
        print_text(gguf_next_string(it), text_max);
    else if (type == GGUF_BOOL && rd_raw(it, raw, 1))
        fputs(raw[0] ? "true" : "false", stdout);
    else if (type == GGUF_F32 && rd_f32(it, &f))
        print_real((double)f, false);
    else if (type == GGUF_F64 && rd_raw(it, &d, sizeof(d)))
        print_real(d, true);
    else if (integers[type].bytes && rd_raw(it, raw, integers[type].bytes))
        print_integer(raw, integers[type].bytes, integers[type].is_signed);
}

static void print_items(const struct gguf_value *v, size_t text_max, const char *more)
{
    struct bytes it = bytes_from(v->data.p, v->data.n);
    for (uint64_t i = 0; i < v->count && i < ITEMS_SHOWN; i++) {
        if (i)
            fputs(", ", stdout);
        print_item(v->item_type, &it, text_max);
    }
    if (v->count > ITEMS_SHOWN)
        fputs(more, stdout);
}

static void pad_to(size_t printed, size_t column)
{
    do
        putchar(' ');
    while (++printed < column);
}

/* A name without quotes, as wide as it comes out. */
static size_t print_name(struct slice name)
{
    for (size_t i = 0; i < name.n; i++)
        putchar(name.p[i] < 0x20 || name.p[i] == 0x7f ? '?' : name.p[i]);
    return name.n;
}

static void show_value(const struct gguf_value *v)
{
    fputs("  ", stdout);
    pad_to(print_name(v->key), KEY_COLUMN);
    if (v->type == GGUF_ARRAY) {
        printf("%s[%" PRIu64 "]  ", gguf_type_name(v->item_type), v->count);
        print_items(v, TEXT_SHOWN, ", ...");
    } else {
        printf("%-8s ", gguf_type_name(v->type));
        print_items(v, TEXT_SHOWN, "");
    }
    putchar('\n');
}

static void show_tensor(const struct gguf_tensor *t, uint32_t parts)
{
    fputs("  ", stdout);
    pad_to(print_name(t->name), NAME_COLUMN);
    printf("%-7s %14" PRIu64 " bytes", dtype_info(t->dtype)->name, t->bytes);
    if (parts > 1)
        printf("  part %" PRIu32, t->part + 1);
    fputs("  [", stdout);
    for (uint32_t i = 0; i < t->n_dims; i++)
        printf("%s%" PRIu64, i ? ", " : "", t->dims[i]);
    puts("]");
}

static uint64_t parameters_of(const struct gguf_tensor *t)
{
    return t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
}

/* One line for each type that occurs. */
static void show_totals(const struct gguf_file *f)
{
    uint64_t parameters = 0, bytes = 0;
    puts("\ntotals");
    for (uint32_t type = 0; type < 256; type++) {
        uint64_t n = 0, type_parameters = 0, type_bytes = 0;
        for (size_t i = 0; i < gguf_file_tensors(f); i++) {
            const struct gguf_tensor *t = gguf_file_tensor(f, i);
            if (t->dtype != type)
                continue;
            n++;
            type_parameters += parameters_of(t);
            type_bytes += t->bytes;
        }
        if (n)
            printf("  %-7s %5" PRIu64 " tensor%-1s %14" PRIu64 " parameters %14" PRIu64
                   " bytes%s\n",
                   dtype_info(type)->name, n, plural(n), type_parameters, type_bytes,
                   dtype_info(type)->runs ? "" : "  (this build does not run it)");
        parameters += type_parameters;
        bytes += type_bytes;
    }
    printf("  all     %5zu tensor%-1s %14" PRIu64 " parameters %14" PRIu64 " bytes\n",
           gguf_file_tensors(f), plural(gguf_file_tensors(f)), parameters, bytes);
}

static void show(const struct gguf_file *f)
{
    const struct gguf *g = gguf_file_header(f);
    uint32_t parts = gguf_file_parts(f);
    printf("GGUF version %" PRIu32 ", %" PRIu64 " bytes in %" PRIu32 " file%s, alignment %" PRIu64
           ", data at offset %" PRIu64 "\n",
           gguf_version(g), gguf_file_bytes(f), parts, plural(parts), gguf_alignment(g),
           gguf_data_offset(g));
    printf("\n%zu key%s\n", gguf_values(g), plural(gguf_values(g)));
    for (size_t i = 0; i < gguf_values(g); i++)
        show_value(gguf_value(g, i));
    printf("\n%zu tensor%s\n", gguf_file_tensors(f), plural(gguf_file_tensors(f)));
    for (size_t i = 0; i < gguf_file_tensors(f); i++)
        show_tensor(gguf_file_tensor(f, i), parts);
    show_totals(f);
}

static void json_value(const struct gguf_value *v)
{
    fputs("{\"key\": ", stdout);
    print_text(v->key, SIZE_MAX);
    printf(", \"type\": \"%s\", ", gguf_type_name(v->type));
    if (v->type == GGUF_ARRAY) {
        printf("\"item_type\": \"%s\", \"count\": %" PRIu64 ", \"first\": [",
               gguf_type_name(v->item_type), v->count);
        print_items(v, SIZE_MAX, "");
        fputs("]}", stdout);
    } else {
        fputs("\"value\": ", stdout);
        print_items(v, SIZE_MAX, "");
        putchar('}');
    }
}

static void json_tensor(const struct gguf_tensor *t)
{
    fputs("{\"name\": ", stdout);
    print_text(t->name, SIZE_MAX);
    printf(", \"type\": \"%s\", \"shape\": [", dtype_info(t->dtype)->name);
    for (uint32_t i = 0; i < t->n_dims; i++)
        printf("%s%" PRIu64, i ? ", " : "", t->dims[i]);
    printf("], \"bytes\": %" PRIu64 ", \"part\": %" PRIu32 ", \"offset\": %" PRIu64 "}", t->bytes,
           t->part + 1, t->offset);
}

static void show_json(const struct gguf_file *f)
{
    const struct gguf *g = gguf_file_header(f);
    uint64_t parameters = 0;
    for (size_t i = 0; i < gguf_file_tensors(f); i++)
        parameters += parameters_of(gguf_file_tensor(f, i));
    printf("{\"version\": %" PRIu32 ", \"alignment\": %" PRIu64 ", \"data_offset\": %" PRIu64
           ", \"bytes\": %" PRIu64 ", \"parts\": %" PRIu32 ", \"parameters\": %" PRIu64
           ",\n \"keys\": [",
           gguf_version(g), gguf_alignment(g), gguf_data_offset(g), gguf_file_bytes(f),
           gguf_file_parts(f), parameters);
    for (size_t i = 0; i < gguf_values(g); i++) {
        fputs(i ? ",\n  " : "\n  ", stdout);
        json_value(gguf_value(g, i));
    }
    fputs("],\n \"tensors\": [", stdout);
    for (size_t i = 0; i < gguf_file_tensors(f); i++) {
        fputs(i ? ",\n  " : "\n  ", stdout);
        json_tensor(gguf_file_tensor(f, i));
    }
    puts("]}");
}

int cmd_inspect(int argc, char **argv)
{
    bool json = false;
    const char *model = NULL;
    const struct opt opts[] = {
        {"model", 'm', "FILE", "the file, if no operand names it", &model, NULL},
        {"json", 0, NULL, "as one JSON object", NULL, &json},
    };
    int rest;
    int status = opt_parse(argc, argv, opts, ARRAY_LEN(opts), &help, &rest);
    if (status >= 0)
        return status;
    if (rest > 1 || (rest == 1 && model))
        return cmd_usage("inspect", "name one file");
    char *path = cmd_model_path("inspect", rest == 1 ? argv[0] : model);
    if (!path)
        return EXIT_FAILED;
    struct gguf_file *f;
    struct realm_error err;
    status = gguf_file_open(&f, io_system(), path, 0, &err);
    if (status)
        status = cmd_fail_file("inspect", path, &err);
    mem_free(path);
    if (status)
        return status;
    if (json)
        show_json(f);
    else
        show(f);
    gguf_file_close(f);
    return fflush(stdout) ? cmd_failf("inspect", "the output cannot be written") : EXIT_DONE;
}
