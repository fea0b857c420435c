/* test/wasm/module_make.h - modules put together byte by byte, which no compiler
 * and no text form would make. */
#ifndef TEST_WASM_MODULE_MAKE_H
#define TEST_WASM_MODULE_MAKE_H

#include <stdint.h>

#include "base/buf.h"

/* Numbers of sections in the order in which a module has them. */
enum section {
    TYPES = 1,
    IMPORTS,
    FUNCS,
    TABLES,
    MEMORIES,
    GLOBALS,
    EXPORTS,
    START,
    ELEMENTS,
    CODES,
    DATAS,
    SECTIONS
};

/* Types that every module here has. */
enum { TYPE_GENERATE, TYPE_NOTHING, TYPES_MADE };

struct module {
    struct buf items[SECTIONS]; /* without their count; of START, all of it */
    uint32_t n[SECTIONS];
    struct buf tail; /* after the last section */
};

/* A module whose generate is `code` (opcodes without the last end; no locals), with
 * a page of memory and what an answer needs at 8. */
void module_init(struct module *m, const void *code, size_t n);
void module_free(struct module *m);

void add_byte(struct buf *b, uint8_t byte);
void add_bytes(struct buf *b, const void *bytes, size_t n);
void add_uint(struct buf *b, uint64_t v); /* LEB128 */
void add_name(struct buf *b, const char *name);

/* A function of that type with that code, in which locals are declared already. */
void module_func(struct module *m, uint32_t type, const struct buf *code);
void module_export(struct module *m, const char *name, uint8_t kind, uint32_t index);
void module_section(struct buf *b, uint8_t id, const void *bytes, size_t n);

/* Its bytes. */
void module_write(const struct module *m, struct buf *out);

#endif
