/* cmd/realm/admin_table.c - answers of the server for people, spreadsheets and programs.
 *
 * Names in them were given by others: no control character of theirs reaches a terminal. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin.h"
#include "base/limits.h"

enum { CELL_BYTES_MAX = 64 << 10 };

/* 0.2 comes back as 0.2. */
#define ADMIN_REALS JSON_REAL_PRECISION(15)

void admin_print(FILE *to, const char *text)
{
    for (; *text; text++)
        fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, to);
}

/* ---- one cell ---- */

static const json_t *member(const json_t *row, const char *name)
{
    const char *dot = strchr(name, '.');
    if (!dot)
        return json_object_get(row, name);
    char first[64];
    snprintf(first, sizeof(first), "%.*s", (int)(dot - name), name);
    return json_object_get(json_object_get(row, first), dot + 1);
}

static int add_bytes(struct buf *out, json_int_t bytes)
{
    static const char *const units[] = {"GiB", "MiB", "KiB"};
    uint64_t size = (uint64_t)bytes, unit = GiB;
    for (size_t i = 0; i < ARRAY_LEN(units); i++, unit /= KiB)
        if (size >= unit && size % unit == 0)
            return buf_addf(out, "%llu %s", (unsigned long long)(size / unit), units[i]);
    if (size >= 10 * MiB)
        return buf_addf(out, "%llu MiB", (unsigned long long)(size / MiB));
    return buf_addf(out, "%llu", (unsigned long long)size);
}

static int add_time(struct buf *out, json_int_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    char text[32];
    if (!gmtime_r(&t, &tm) || !strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &tm))
        return buf_addf(out, "%" JSON_INTEGER_FORMAT, seconds);
    return buf_addf(out, "%s", text);
}

static int add_number(struct buf *out, json_int_t value, enum admin_kind kind)
{
    if (kind == ADMIN_BYTES)
        return add_bytes(out, value);
    if (kind == ADMIN_TIME)
        return add_time(out, value);
    return buf_addf(out, "%" JSON_INTEGER_FORMAT, value);
}

/* A value that is no list and no object. */
static int add_plain(struct buf *out, const json_t *value, enum admin_kind kind)
{
    if (json_is_string(value))
        return buf_addf(out, "%s", json_string_value(value));
    if (json_is_integer(value))
        return add_number(out, json_integer_value(value), kind);
    if (json_is_real(value))
        return buf_addf(out, "%g", json_real_value(value));
    return buf_addf(out, "%s", json_is_true(value) ? "yes" : "no");
}

static int add_list(struct buf *out, const json_t *list)
{
    int status = json_array_size(list) ? 0 : buf_addch(out, '-');
    for (size_t i = 0; i < json_array_size(list) && !status; i++) {
        status = buf_addf(out, "%s", i ? "," : "");
        if (!status)
            status = add_plain(out, json_array_get(list, i), ADMIN_TEXT);
    }
    return status;
}

static int add_object(struct buf *out, const json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT | ADMIN_REALS);
    int status = text ? buf_addf(out, "%s", text) : REALM_E_NOMEM;
    free(text);
    return status;
}

/* The cell's text, whole in out; a text that does not fit is shown as "?". */
static const char *cell(struct buf *out, const json_t *row, const struct admin_column *c)
{
    const json_t *value = member(row, c->member);
    int status;
    buf_clear(out);
    const char *none = c->kind == ADMIN_ALL ? "all" : "-";
    if (!value || json_is_null(value) || (json_is_string(value) && !json_string_length(value)))
        status = buf_addf(out, "%s", none);
    else if (json_is_array(value))
        status = add_list(out, value);
    else if (json_is_object(value))
        status = add_object(out, value);
    else
        status = add_plain(out, value, c->kind);
    const char *text = status ? NULL : buf_cstr(out);
    return text ? text : "?";
}

/* ---- tables ---- */

/* Characters, not bytes. */
static size_t width_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void pad(size_t n)
{
    while (n--)
        putchar(' ');
}

static void print_cell(const char *text, size_t width, const struct admin_column *c, bool last)
{
    bool right = c->kind == ADMIN_COUNT || c->kind == ADMIN_BYTES;
    size_t space = width - width_of(text);
    if (right)
        pad(space);
    admin_print(stdout, text);
    if (!right && !last)
        pad(space);
    fputs(last ? "\n" : "  ", stdout);
}

void admin_table(const json_t *rows, const struct admin_column *columns, size_t n)
{
    enum { COLUMNS_MAX = 16 };
    size_t width[COLUMNS_MAX];
    struct buf text;
    buf_init(&text, CELL_BYTES_MAX);
    for (size_t c = 0; c < n; c++) {
        width[c] = width_of(columns[c].title);
        for (size_t i = 0; i < json_array_size(rows); i++) {
            size_t w = width_of(cell(&text, json_array_get(rows, i), &columns[c]));
            width[c] = w > width[c] ? w : width[c];
        }
    }
    for (size_t c = 0; c < n; c++)
        print_cell(columns[c].title, width[c], &columns[c], c + 1 == n);
    for (size_t i = 0; i < json_array_size(rows); i++)
        for (size_t c = 0; c < n; c++)
            print_cell(cell(&text, json_array_get(rows, i), &columns[c]), width[c], &columns[c],
                       c + 1 == n);
    buf_free(&text);
}

void admin_record(const json_t *row, const struct admin_column *columns, size_t n)
{
    struct buf text;
    size_t width = 0;
    buf_init(&text, CELL_BYTES_MAX);
    for (size_t c = 0; c < n; c++)
        width = width_of(columns[c].title) > width ? width_of(columns[c].title) : width;
    for (size_t c = 0; c < n; c++) {
        const json_t *value = member(row, columns[c].member);
        if ((!value || json_is_null(value)) && columns[c].kind != ADMIN_ALL)
            continue;
        fputs(columns[c].title, stdout);
        pad(width - width_of(columns[c].title) + 2);
        admin_print(stdout, cell(&text, row, &columns[c]));
        putchar('\n');
    }
    buf_free(&text);
}

void admin_show_rows(json_t *answer, bool json, const char *name,
                     const struct admin_column *columns, size_t n)
{
    if (json)
        admin_json(answer);
    else
        admin_table(json_object_get(answer, name), columns, n);
    json_decref(answer);
}

void admin_show_record(json_t *answer, bool json, const struct admin_column *columns, size_t n)
{
    if (json)
        admin_json(answer);
    else
        admin_record(answer, columns, n);
    json_decref(answer);
}

/* ---- for programs ---- */

static void print_quoted(const char *text)
{
    putchar('"');
    for (; *text; text++)
        fputs(*text == '"' ? "\"\"" : (char[]){*text, '\0'}, stdout);
    putchar('"');
}

/* Lists and objects as JSON. */
static void print_field(const json_t *value)
{
    const char *text = json_string_value(value);
    if (json_is_integer(value)) {
        printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (text && !text[strcspn(text, ",\"\r\n")]) {
        fputs(text, stdout);
    } else if (text) {
        print_quoted(text);
    } else if (json_is_array(value) || json_is_object(value)) {
        char *json = json_dumps(value, JSON_COMPACT | ADMIN_REALS);
        print_quoted(json ? json : "null");
        free(json);
    }
}

void admin_csv(const json_t *rows, const struct admin_column *columns, size_t n)
{
    for (size_t c = 0; c < n; c++)
        printf("%s%s", columns[c].member, c + 1 == n ? "\r\n" : ",");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        for (size_t c = 0; c < n; c++) {
            print_field(member(json_array_get(rows, i), columns[c].member));
            fputs(c + 1 == n ? "\r\n" : ",", stdout);
        }
    }
}

void admin_json(const json_t *value)
{
    char *text = json_dumps(value, JSON_INDENT(2) | ADMIN_REALS);
    puts(text ? text : "null");
    free(text);
}
