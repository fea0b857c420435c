/* W07: modules with too much of one thing: each runs, is refused, or is more than
 * compiling may take; the bystander's guest never notices. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "hostile.h"

enum { NAME_BYTES_MAX = 100000 /* of WebAssembly */ };

static void many_funcs(struct module *m, uint32_t n)
{
    struct buf body;
    buf_init(&body, 16);
    add_bytes(&body, "\0\x0b", 2);
    for (uint32_t i = 0; i < n; i++)
        module_func(m, TYPE_NOTHING, &body);
    buf_free(&body);
}

/* A function with that many locals, in two groups. */
static void many_locals(struct module *m, uint32_t n)
{
    struct buf body;
    buf_init(&body, 64);
    add_uint(&body, 2);
    add_uint(&body, n);
    add_byte(&body, 0x7e);
    add_uint(&body, 1);
    add_byte(&body, 0x7f);
    add_byte(&body, 0x0b);
    module_func(m, TYPE_NOTHING, &body);
    buf_free(&body);
}

static void deep_blocks(struct module *m, uint32_t n)
{
    struct buf body;
    buf_init(&body, 8 << 20);
    add_uint(&body, 0);
    for (uint32_t i = 0; i < n; i++)
        add_bytes(&body, "\x02\x40", 2);
    for (uint32_t i = 0; i <= n; i++)
        add_byte(&body, 0x0b);
    module_func(m, TYPE_NOTHING, &body);
    buf_free(&body);
}

/* Operands that pile up, then fold. */
static void deep_operands(struct module *m, uint32_t n)
{
    struct buf body;
    buf_init(&body, 8 << 20);
    add_uint(&body, 0);
    for (uint32_t i = 0; i <= n; i++)
        add_bytes(&body, "\x41\x01", 2);
    for (uint32_t i = 0; i < n; i++)
        add_byte(&body, 0x6a);
    add_bytes(&body, "\x1a\x0b", 2);
    module_func(m, TYPE_NOTHING, &body);
    buf_free(&body);
}

/* A table of jumps to each of 64 blocks around it, in each of 16 functions. */
static void many_jumps(struct module *m, uint32_t n)
{
    enum { BLOCKS = 64, JUMP_FUNCS = 16 };
    struct buf body;
    buf_init(&body, 8 << 20);
    add_uint(&body, 0);
    for (uint32_t i = 0; i < BLOCKS; i++)
        add_bytes(&body, "\x02\x40", 2);
    add_bytes(&body, "\x41\x05\x0e", 3);
    add_uint(&body, n);
    for (uint32_t i = 0; i <= n; i++)
        add_uint(&body, i % BLOCKS);
    for (uint32_t i = 0; i <= BLOCKS; i++)
        add_byte(&body, 0x0b);
    for (uint32_t i = 0; i < JUMP_FUNCS; i++)
        module_func(m, TYPE_NOTHING, &body);
    buf_free(&body);
}

static void many_globals(struct module *m, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        add_bytes(&m->items[GLOBALS], "\x7f\x01\x41\x00\x0b", 5);
    m->n[GLOBALS] = n;
}

static void many_types(struct module *m, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        add_bytes(&m->items[TYPES], "\x60\0\0", 3);
    m->n[TYPES] += n;
}

/* A function type with that many parameters and results, and a function of it. */
static void many_params(struct module *m, uint32_t n)
{
    struct buf *t = &m->items[TYPES];
    struct buf body;
    add_byte(t, 0x60);
    for (int side = 0; side < 2; side++) {
        add_uint(t, n);
        for (uint32_t i = 0; i < n; i++)
            add_byte(t, 0x7f);
    }
    m->n[TYPES]++;
    buf_init(&body, 16);
    add_bytes(&body, "\0\0\x0b", 3); // unreachable
    module_func(m, TYPES_MADE, &body);
    buf_free(&body);
}

static void large_memory(struct module *m, uint32_t pages)
{
    buf_clear(&m->items[MEMORIES]);
    add_byte(&m->items[MEMORIES], 0);
    add_uint(&m->items[MEMORIES], pages);
}

static void large_table(struct module *m, uint32_t n)
{
    add_bytes(&m->items[TABLES], "\x70\0", 2);
    add_uint(&m->items[TABLES], n);
    m->n[TABLES] = 1;
}

static void many_tables(struct module *m, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        add_bytes(&m->items[TABLES], "\x70\0\1", 3);
    m->n[TABLES] = n;
}

static void many_datas(struct module *m, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        add_bytes(&m->items[DATAS], "\0\x41\x10\x0b\0", 5);
    m->n[DATAS] += n;
}

static void many_exports(struct module *m, uint32_t n)
{
    char name[16];
    for (uint32_t i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "e%u", i);
        module_export(m, name, 0, 0);
    }
}

/* generate comes after what is imported. */
static void many_imports(struct module *m, uint32_t n)
{
    char name[16];
    for (uint32_t i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "i%u", i);
        add_name(&m->items[IMPORTS], "env");
        add_name(&m->items[IMPORTS], name);
        add_bytes(&m->items[IMPORTS], "\0\0", 2);
    }
    m->n[IMPORTS] = n;
    buf_clear(&m->items[EXPORTS]);
    m->n[EXPORTS] = 0;
    module_export(m, "memory", 2, 0);
    module_export(m, "generate", 0, n);
}

static void long_name(struct module *m, uint32_t n)
{
    char *name = malloc(n + 1);
    assert_non_null(name);
    memset(name, '\n', n);
    name[n] = '\0';
    many_imports(m, 1);
    buf_clear(&m->items[IMPORTS]);
    add_name(&m->items[IMPORTS], name);
    add_name(&m->items[IMPORTS], name);
    add_bytes(&m->items[IMPORTS], "\0\0", 2);
    free(name);
}

static void large_custom(struct module *m, uint32_t n)
{
    uint8_t *bytes = calloc(1, n);
    assert_non_null(bytes);
    module_section(&m->tail, 0, bytes, n);
    free(bytes);
}

static void many_customs(struct module *m, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        module_section(&m->tail, 0, "\4name\xff\xff\xff", 8);
}

static const struct family too_much[] = {
    {"functions", many_funcs, 10000, RUNS},
    {"functions", many_funcs, 65536, RUNS | TOO_MUCH},
    {"locals", many_locals, 49999, RUNS},
    {"locals", many_locals, 50000, REFUSED},
    {"locals", many_locals, UINT32_MAX, REFUSED},
    {"blocks", deep_blocks, 1000, RUNS},
    {"blocks", deep_blocks, 50000, RUNS | TOO_MUCH},
    {"blocks", deep_blocks, 1000000, RUNS | REFUSED | TOO_MUCH},
    {"operands", deep_operands, 1000, RUNS},
    {"operands", deep_operands, 100000, RUNS | TOO_MUCH},
    {"jumps", many_jumps, 1000, RUNS},
    {"jumps", many_jumps, 60000, RUNS | TOO_MUCH},
    {"jumps", many_jumps, 200000, REFUSED | TOO_MUCH},
    {"globals", many_globals, 10000, RUNS | LIMITED},
    {"globals", many_globals, 200000, RUNS | REFUSED | LIMITED | TOO_MUCH},
    {"types", many_types, 10000, RUNS},
    {"types", many_types, 1000001, REFUSED | TOO_MUCH},
    {"parameters", many_params, 1000, RUNS},
    {"parameters", many_params, 1001, REFUSED},
    {"memory", large_memory, 1023, RUNS | LIMITED},
    {"memory", large_memory, 1025, REFUSED},
    {"memory", large_memory, 65536, REFUSED},
    {"memory", large_memory, 65537, REFUSED},
    {"memory", large_memory, UINT32_MAX, REFUSED},
    {"table", large_table, 10000, RUNS},
    {"table", large_table, 10001, REFUSED | LIMITED},
    {"table", large_table, UINT32_MAX, REFUSED | LIMITED},
    {"tables", many_tables, 2, REFUSED | LIMITED},
    {"tables", many_tables, 101, REFUSED | LIMITED},
    {"segments", many_datas, 10000, RUNS},
    {"segments", many_datas, 100001, REFUSED},
    {"exports", many_exports, 10000, RUNS},
    {"exports", many_exports, 1000001, REFUSED},
    {"imports", many_imports, 1000, RUNS},
    {"imports", many_imports, 20000, RUNS | REFUSED},
    {"imports", many_imports, 1000001, REFUSED},
    {"name", long_name, 1, RUNS},
    {"name", long_name, NAME_BYTES_MAX, RUNS},
    {"name", long_name, NAME_BYTES_MAX + 1, REFUSED},
    {"custom section", large_custom, 4000000, RUNS},
    {"custom section", large_custom, GUEST_MODULE_BYTES_MAX, REFUSED},
    {"custom sections", many_customs, 10000, RUNS},
};

static void test_too_much(void **state)
{
    char what[64];
    for (size_t i = 0; i < ARRAY_LEN(too_much); i++) {
        const struct family *f = &too_much[i];
        struct module m;
        snprintf(what, sizeof(what), "%u %s", f->n, f->name);
        module_init(&m, hostile_answer, sizeof(hostile_answer));
        f->make(&m, f->n);
        uint64_t start = now_ms();
        expect_end(*state, &m, f->allowed, what);
        assert_true(now_ms() - start < HELPER_COMPILE_MS_MAX + 60000);
        module_free(&m);
        expect_bystander(*state);
    }
}

int wasm_tests(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_too_much)};
    return cmocka_run_group_tests(tests, hostile_setup, hostile_teardown);
}
