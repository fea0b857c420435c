/* test/wasm/hostile.h - what becomes of modules that nobody means well with. */
#ifndef TEST_WASM_HOSTILE_H
#define TEST_WASM_HOSTILE_H

#include "module_make.h"
#include "util.h"

/* What may come of a module. */
enum end {
    REFUSED = 1,  /* when it is opened */
    TOO_MUCH = 2, /* then, too: compiling it takes more than is allowed */
    RUNS = 4,
    TRAPS = 8,
    LIMITED = 16, /* it used up what a request may */
};

/* One thing that a module can be given n of, and which ends it may come to. */
struct family {
    const char *name;
    void (*make)(struct module *m, uint32_t n);
    uint32_t n;
    unsigned allowed;
};

/* The code of a generate that answers "ok". */
extern const uint8_t hostile_answer[2];

/* Group setup and teardown: *state is a rig with a short time for guests, and
 * beside it runs the guest of a bystander. */
int hostile_setup(void **state);
int hostile_teardown(void **state);

/* Opens the module and has it answer a request.  Fails the test when that ends in
 * a way that has no name here. */
enum end end_of(struct rig *rig, const void *wasm, size_t n, const char *what);
void expect_end(struct rig *rig, const struct module *m, unsigned allowed, const char *what);

/* The bystander's guest answers as ever. */
void expect_bystander(struct rig *rig);

#endif
