/* wasm/lines.c - the last lines that a tenant's guests wrote. */
#include "wasm/lines.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

enum { LINES_PER_S = 100 };

bool lines_may(struct lines *l, enum line_source from, uint64_t now_ns)
{
    const uint64_t second = now_ns / 1000000000u;
    if (second != l->second) {
        l->second = second;
        l->lines[0] = l->lines[1] = 0;
    }
    uint32_t *lines = &l->lines[from == LINE_HOST];
    const bool may = *lines < LINES_PER_S;
    *lines += may;
    l->dropped += !may;
    return may;
}

static void drop_first(struct lines *l)
{
    struct line *line = &l->ring[l->first];
    l->bytes -= line->bytes;
    mem_free(line->text);
    *line = (struct line){0};
    l->first = (l->first + 1) % GUEST_LOG_LINES_MAX;
    l->n--;
}

void lines_add(struct lines *l, enum line_source from, const char *text, size_t n)
{
    char *copy = mem_strndup(text, n);
    if (!copy || n > GUEST_LOG_BYTES_MAX) {
        mem_free(copy);
        l->dropped++;
        return;
    }
    while (l->n == GUEST_LOG_LINES_MAX || l->bytes > GUEST_LOG_BYTES_MAX - n)
        drop_first(l);
    l->ring[(l->first + l->n) % GUEST_LOG_LINES_MAX] =
        (struct line){.from = from, .at_s = clock_wall_s(), .text = copy, .bytes = n};
    l->n++;
    l->bytes += n;
}

void lines_free(struct lines *l)
{
    while (l->n)
        drop_first(l);
}

static json_t *line_json(const struct line *line)
{
    static const char *const sources[] = {"stdout", "stderr", "host"};
    char at[32] = "";
    struct tm tm;
    const time_t s = (time_t)line->at_s;
    if (gmtime_r(&s, &tm))
        strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_pack("{s:s,s:s,s:s%}", "at", at, "from", sources[line->from], "text", line->text,
                     line->bytes);
}

json_t *lines_json(const struct lines *l)
{
    json_t *lines = json_array();
    int failed = !lines;
    for (size_t i = 0; !failed && i < l->n; i++)
        failed =
            json_array_append_new(lines, line_json(&l->ring[(l->first + i) % GUEST_LOG_LINES_MAX]));
    if (failed) {
        json_decref(lines);
        return NULL;
    }
    return json_pack("{s:o,s:I}", "lines", lines, "dropped", (json_int_t)l->dropped);
}
