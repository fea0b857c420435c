#include "module_make.h"

#include <string.h>

#include "util.h"

enum { MODULE_BYTES_MAX = 16 << 20 };

void add_byte(struct buf *b, uint8_t byte)
{
    add_bytes(b, &byte, 1);
}

void add_bytes(struct buf *b, const void *bytes, size_t n)
{
    assert_int_equal(buf_add(b, bytes, n), 0);
}

void add_uint(struct buf *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        add_byte(b, (uint8_t)(v | 0x80));
    add_byte(b, (uint8_t)v);
}

void add_name(struct buf *b, const char *name)
{
    add_uint(b, strlen(name));
    add_bytes(b, name, strlen(name));
}

void module_func(struct module *m, uint32_t type, const struct buf *code)
{
    add_uint(&m->items[FUNCS], type);
    m->n[FUNCS]++;
    add_uint(&m->items[CODES], code->n);
    add_bytes(&m->items[CODES], code->p, code->n);
    m->n[CODES]++;
}

void module_export(struct module *m, const char *name, uint8_t kind, uint32_t index)
{
    add_name(&m->items[EXPORTS], name);
    add_byte(&m->items[EXPORTS], kind);
    add_uint(&m->items[EXPORTS], index);
    m->n[EXPORTS]++;
}

static void add_generate(struct module *m, const void *code, size_t n)
{
    struct buf body;
    buf_init(&body, MODULE_BYTES_MAX);
    add_uint(&body, 0); // no locals
    add_bytes(&body, code, n);
    add_byte(&body, 0x0b);
    module_func(m, TYPE_GENERATE, &body);
    buf_free(&body);
}

void module_init(struct module *m, const void *code, size_t n)
{
    static const uint8_t types[] = {0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f, 0x60, 0, 0};
    static const uint8_t memory[] = {0, 1};
    static const uint8_t data[] = {0, 0x41, 8, 0x0b, 3, 'o', 'k', 0};
    *m = (struct module){0};
    for (int i = 0; i < SECTIONS; i++)
        buf_init(&m->items[i], MODULE_BYTES_MAX);
    buf_init(&m->tail, MODULE_BYTES_MAX);
    add_bytes(&m->items[TYPES], types, sizeof(types));
    m->n[TYPES] = TYPES_MADE;
    add_bytes(&m->items[MEMORIES], memory, sizeof(memory));
    m->n[MEMORIES] = 1;
    add_bytes(&m->items[DATAS], data, sizeof(data));
    m->n[DATAS] = 1;
    module_export(m, "memory", 2, 0);
    module_export(m, "generate", 0, 0);
    add_generate(m, code, n);
}

void module_free(struct module *m)
{
    for (int i = 0; i < SECTIONS; i++)
        buf_free(&m->items[i]);
    buf_free(&m->tail);
}

void module_section(struct buf *b, uint8_t id, const void *bytes, size_t n)
{
    add_byte(b, id);
    add_uint(b, n);
    add_bytes(b, bytes, n);
}

void module_write(const struct module *m, struct buf *out)
{
    struct buf body;
    buf_init(&body, MODULE_BYTES_MAX);
    buf_init(out, MODULE_BYTES_MAX);
    add_bytes(out, "\0asm\1\0\0\0", 8);
    for (int i = 1; i < SECTIONS; i++) {
        if (m->items[i].n == 0)
            continue;
        buf_clear(&body);
        if (i != START)
            add_uint(&body, m->n[i]);
        add_bytes(&body, m->items[i].p, m->items[i].n);
        module_section(out, (uint8_t)i, body.p, body.n);
    }
    add_bytes(out, m->tail.p, m->tail.n);
    buf_free(&body);
}
