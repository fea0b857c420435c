/* Every opcode on its own, code and sections that are wrong, real guests with
 * bytes changed: each module is refused, or ends its request with a status of its
 * own; the bystander's guest never notices. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "hostile.h"

enum { MUTANTS = 1500, MUTANTS_QUICK = 150 };

static bool full(void)
{
    const char *e = getenv("REALM_E2E_FULL");
    return e && strcmp(e, "1") == 0;
}

/* ---- what opcodes do ---- */

/* Each of the 256, alone and behind two operands, with what it left dropped. */
static void test_every_opcode(void **state)
{
    unsigned ran = 0;
    for (unsigned op = 0; op < 512; op++) {
        uint8_t code[] = {0x41, 1, 0x41, 2, (uint8_t)op, 0x1a, 0x41, 8};
        const uint8_t alone[] = {(uint8_t)op, 0x41, 8};
        struct module m;
        char what[32];
        snprintf(what, sizeof(what), "opcode %02x", op & 255);
        module_init(&m, op < 256 ? code : alone, op < 256 ? sizeof(code) : sizeof(alone));
        struct buf wasm;
        module_write(&m, &wasm);
        ran += end_of(*state, wasm.p, wasm.n, what) != REFUSED;
        buf_free(&wasm);
        module_free(&m);
    }
    assert_in_range(ran, 20, 511);
    expect_bystander(*state);
}

struct code {
    const char *name;
    const char *bytes;
    size_t n;
    unsigned allowed;
};

#define CODE(name, bytes, allowed)              \
    {                                           \
        name, bytes, sizeof(bytes) - 1, allowed \
    }

static const struct code codes[] = {
    CODE("nothing", "", REFUSED),
    CODE("no value", "\x01", REFUSED),
    CODE("another type", "\x42\x08", REFUSED),
    CODE("two values", "\x41\x08\x41\x08", REFUSED),
    CODE("an end too many", "\x41\x08\x0b\x0b", REFUSED),
    CODE("an open block", "\x02\x40\x41\x08", REFUSED),
    CODE("a jump out of sight", "\x0c\x05\x41\x08", REFUSED),
    CODE("a call of nobody", "\x10\x63\x41\x08", REFUSED),
    CODE("a call through no table", "\x41\0\x11\x01\0\x41\x08", REFUSED),
    CODE("a local that is not", "\x20\x09", REFUSED),
    CODE("a global that is not", "\x23\x09", REFUSED),
    CODE("a constant of eleven bytes", "\x41\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\0", REFUSED),
    CODE("an alignment beyond the access", "\x41\0\x28\x05\0", REFUSED),
    CODE("a second memory", "\x41\0\x28\x42\x01\0", REFUSED),
    CODE("atomic load", "\x41\0\xfe\x10\x02\0", REFUSED),
    CODE("throw", "\x08\0\x41\x08", REFUSED),
    CODE("struct.new", "\xfb\0\0\x41\x08", REFUSED),
    CODE("unreachable", "\0", TRAPS),
    CODE("division by zero", "\x41\x01\x41\0\x6d", TRAPS),
    CODE("overflow", "\x41\x80\x80\x80\x80\x78\x41\x7f\x6d", TRAPS),
    CODE("NaN to an integer", "\x43\0\0\xc0\x7f\xa8", TRAPS),
    CODE("load out of bounds", "\x41\x7f\x28\x02\xff\xff\xff\xff\x0f", TRAPS),
    CODE("fill out of bounds", "\x41\0\x41\0\x41\x7f\xfc\x0b\0\x41\x08", TRAPS),
    CODE("copy out of bounds", "\x41\x7f\x41\0\x41\x08\xfc\x0a\0\0\x41\x08", TRAPS),
    CODE("init without a segment", "\x41\0\x41\0\x41\x01\xfc\x08\x63\0\x41\x08", REFUSED),
    CODE("loop", "\x03\x40\x0c\0\x0b\x41\x08", LIMITED),
    CODE("recursion", "\x20\0\x20\0\x20\0\x20\0\x10\0", LIMITED),
    CODE("tail recursion", "\x20\0\x20\0\x20\0\x20\0\x12\0", LIMITED | REFUSED),
    CODE("growth to the limit", "\x03\x40\x41\x01\x40\0\x41\0\x4e\x0d\0\x0b\x41\x08",
         RUNS | LIMITED),
    CODE("growth by it all", "\x41\x7f\x40\0\x1a\x41\x08", RUNS),
    CODE("an answer at the end of the memory", "\x41\xff\xff\x03", RUNS),
    CODE("an answer beyond it", "\x41\x80\x80\x80\x08", TRAPS),
    CODE("fills without end", "\x03\x40\x41\x10\x41\0\x41\xf0\xff\x03\xfc\x0b\0\x0c\0\x0b\x41\x08",
         LIMITED),
};

static void test_codes(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct module m;
        module_init(&m, codes[i].bytes, codes[i].n);
        expect_end(*state, &m, codes[i].allowed, codes[i].name);
        module_free(&m);
    }
    expect_bystander(*state);
}

/* ---- sections ---- */

static void bad_start(struct module *m, uint32_t func)
{
    add_uint(&m->items[START], func);
}

static void starting(struct module *m, const char *code, size_t n)
{
    struct buf body;
    buf_init(&body, 64);
    add_uint(&body, 0);
    add_bytes(&body, code, n);
    add_byte(&body, 0x0b);
    module_func(m, TYPE_NOTHING, &body);
    buf_free(&body);
    add_uint(&m->items[START], 1);
}

static void starts_a_loop(struct module *m, uint32_t n)
{
    (void)n;
    starting(m, "\x03\x40\x0c\0\x0b", 5);
}

static void starts_a_trap(struct module *m, uint32_t n)
{
    (void)n;
    starting(m, "\0", 1);
}

static void starts_recursion(struct module *m, uint32_t n)
{
    (void)n;
    starting(m, "\x10\x01", 2);
}

static void data_at(struct module *m, uint32_t at)
{
    struct buf *b = &m->items[DATAS];
    add_bytes(b, "\0\x41", 2);
    for (int i = 0; i < 4; i++)
        add_byte(b, (uint8_t)(at >> 7 * i) | 0x80);
    add_byte(b, (uint8_t)(at >> 28 & 7) | (at >> 31 ? 0x78 : 0)); // signed
    add_bytes(b, "\x0b\1x", 3);
    m->n[DATAS]++;
}

static void add_table(struct module *m, uint32_t n)
{
    add_bytes(&m->items[TABLES], "\x70\0", 2);
    add_uint(&m->items[TABLES], n);
    m->n[TABLES] = 1;
}

static void element_at(struct module *m, uint32_t at)
{
    add_table(m, 4);
    add_bytes(&m->items[ELEMENTS], "\0\x41", 2);
    add_uint(&m->items[ELEMENTS], at);
    add_bytes(&m->items[ELEMENTS], "\x0b\1\0", 3);
    m->n[ELEMENTS] = 1;
}

static void again(struct module *m, uint32_t n)
{
    (void)n;
    module_export(m, "generate", 0, 0);
}

static void export_beyond(struct module *m, uint32_t kind)
{
    module_export(m, "x", (uint8_t)kind, 99);
}

static void tail_section(struct module *m, uint32_t id)
{
    module_section(&m->tail, (uint8_t)id, "\1\0", 2);
}

static void tail_size(struct module *m, uint32_t size)
{
    add_byte(&m->tail, 0);
    add_uint(&m->tail, size);
}

static void less_code(struct module *m, uint32_t n)
{
    m->n[CODES] += n;
}

static void fewer_types(struct module *m, uint32_t n)
{
    m->n[TYPES] = n;
}

static void type_form(struct module *m, uint32_t form)
{
    add_byte(&m->items[TYPES], (uint8_t)form);
    add_bytes(&m->items[TYPES], "\0\0", 2);
    m->n[TYPES]++;
}

static void global_type(struct module *m, uint32_t type)
{
    add_byte(&m->items[GLOBALS], (uint8_t)type);
    add_bytes(&m->items[GLOBALS], "\1\x41\0\x0b", 4);
    m->n[GLOBALS]++;
}

static void memory_flags(struct module *m, uint32_t flags)
{
    m->items[MEMORIES].p[0] = (uint8_t)flags;
    add_byte(&m->items[MEMORIES], 1);
}

static const struct family sections[] = {
    {"start of generate", bad_start, 0, REFUSED},
    {"start of nobody", bad_start, 99, REFUSED},
    {"start in a loop", starts_a_loop, 0, LIMITED},
    {"start in a trap", starts_a_trap, 0, TRAPS | LIMITED},
    {"start in recursion", starts_recursion, 0, LIMITED},
    {"data at the end", data_at, 65535, RUNS},
    {"data beyond the end", data_at, 65536, TRAPS | LIMITED},
    {"data at -1", data_at, UINT32_MAX, TRAPS | LIMITED},
    {"element in place", element_at, 3, RUNS},
    {"element beyond", element_at, 4, TRAPS | LIMITED},
    {"export twice", again, 0, REFUSED},
    {"export of no function", export_beyond, 0, REFUSED},
    {"export of no table", export_beyond, 1, REFUSED},
    {"export of no memory", export_beyond, 2, REFUSED},
    {"export of no global", export_beyond, 3, REFUSED},
    {"export of no kind", export_beyond, 9, REFUSED},
    {"types at the end", tail_section, TYPES, REFUSED},
    {"data twice", tail_section, DATAS, REFUSED},
    {"section 12 at the end", tail_section, 12, REFUSED},
    {"section 13", tail_section, 13, REFUSED},
    {"section 14", tail_section, 14, REFUSED},
    {"section 255", tail_section, 255, REFUSED},
    {"custom section without bytes", tail_size, 0, REFUSED},
    {"custom section beyond the end", tail_size, 100, REFUSED},
    {"custom section of 4 GiB", tail_size, UINT32_MAX, REFUSED},
    {"more code said than there is", less_code, 1, REFUSED},
    {"fewer types said than there are", fewer_types, 1, REFUSED},
    {"more types said than there are", fewer_types, 3, REFUSED},
    {"two thousand million types", fewer_types, 0x7FFFFFFF, REFUSED},
    {"struct type", type_form, 0x5f, REFUSED},
    {"array type", type_form, 0x5e, REFUSED},
    {"continuation type", type_form, 0x5d, REFUSED},
    {"recursive group", type_form, 0x4e, REFUSED},
    {"no type", type_form, 0x11, REFUSED},
    {"global i64 of an i32", global_type, 0x7e, REFUSED},
    {"global of no type", global_type, 0x11, REFUSED},
    {"memory without room for a prompt", memory_flags, 1, LIMITED},
    {"shared memory", memory_flags, 3, REFUSED},
    {"memory64", memory_flags, 4, REFUSED},
    {"memory with page sizes", memory_flags, 8, REFUSED},
    {"memory of no kind", memory_flags, 0xff, REFUSED},
};

static void test_sections(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
        struct module m;
        module_init(&m, hostile_answer, sizeof(hostile_answer));
        sections[i].make(&m, sections[i].n);
        expect_end(*state, &m, sections[i].allowed, sections[i].name);
        module_free(&m);
    }
    expect_bystander(*state);
}

/* ---- real guests with a few bytes changed ---- */

/* Changes 1 to 4 bytes behind the header. */
static void mutate(uint8_t *wasm, size_t n, uint32_t seed)
{
    uint32_t r[4];
    rng_philox(20, 0, seed, r);
    for (uint32_t i = 0, changes = 1 + seed % 4; i < changes; i++) {
        uint32_t at = 8 + r[i] % (uint32_t)(n - 8), how = r[i] >> 28;
        const uint32_t byte = how < 8 ? wasm[at] ^ 1u << how : r[(i + 1) % 4] >> 8;
        wasm[at] = (uint8_t)byte;
    }
}

static void test_mutants(void **state)
{
    const uint32_t mutants = full() ? MUTANTS : MUTANTS_QUICK;
    unsigned ends[LIMITED + 1] = {0};
    for (uint32_t i = 0; i < mutants; i++) {
        size_t n;
        char what[32];
        uint8_t *wasm = read_bytes(args[i % (uint32_t)n_args], &n);
        mutate(wasm, n, i);
        snprintf(what, sizeof(what), "mutant %u", i);
        ends[end_of(*state, wasm, n, what)]++;
        free(wasm);
        if (i % 50 == 0)
            expect_bystander(*state);
    }
    expect_bystander(*state);
    print_message("# %u refused, %u over the limits of compiling, %u answered, %u trapped, "
                  "%u over their limits\n",
                  ends[REFUSED], ends[TOO_MUCH], ends[RUNS], ends[TRAPS], ends[LIMITED]);
    assert_true(ends[REFUSED] > 0 && ends[RUNS] > 0);
}

int wasm_tests(void)
{
    if (n_args == 0)
        return 2;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_opcode),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_mutants),
    };
    return cmocka_run_group_tests(tests, hostile_setup, hostile_teardown);
}
