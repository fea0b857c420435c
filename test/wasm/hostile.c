#include "hostile.h"

enum { OWN_MS = 100, REQUEST_MS = 20000 };

const uint8_t hostile_answer[2] = {0x41, 8}; // i32.const 8

static struct wasm_guest *bystander;

static enum end run_end(struct rig *rig, struct wasm_guest *g, const char *what)
{
    struct wasm_request r = request_of(rig, "Once");
    struct outcome out = {0};
    run_guest(g, &r, &out);
    outcome_free(&out);
    switch (out.status) {
    case 0:
        return RUNS;
    case REALM_E_GUEST:
        return TRAPS;
    case REALM_E_LIMIT:
        return LIMITED;
    default:
        fail_msg("%s: %d, %s", what, out.status, out.err.message);
        return 0;
    }
}

enum end end_of(struct rig *rig, const void *wasm, size_t n, const char *what)
{
    struct realm_error err = {0};
    struct wasm_guest *g;
    int status = wasm_guest_open(&g, rig->host, wasm, n, &err);
    if (status) {
        assert_null(g);
        /* Of compiling's two limits, processor time and the clock, a busy machine
         * comes to the second first. */
        bool too_much = status == REALM_E_LIMIT || status == REALM_E_DEADLINE;
        if ((status != REALM_E_GUEST && !too_much) || !err.message[0])
            fail_msg("%s: %d, %s", what, status, err.message);
        return too_much ? TOO_MUCH : REFUSED;
    }
    enum end end = run_end(rig, g, what);
    wasm_guest_close(g);
    return end;
}

void expect_bystander(struct rig *rig)
{
    struct wasm_request r = request_of(rig, "Once");
    struct outcome out = {0};
    run_guest(bystander, &r, &out);
    assert_int_equal(out.status, 0);
    assert_string_equal(out.result.text, "ok");
    outcome_free(&out);
}

void expect_end(struct rig *rig, const struct module *m, unsigned allowed, const char *what)
{
    struct buf wasm;
    module_write(m, &wasm);
    enum end end = end_of(rig, wasm.p, wasm.n, what);
    if (!(end & allowed))
        fail_msg("%s: %u, not of %u", what, end, allowed);
    buf_free(&wasm);
}

int hostile_setup(void **state)
{
    const struct wasm_limits limits = {.own_ms = OWN_MS, .request_ms = REQUEST_MS};
    struct rig *rig = rig_open(&limits);
    struct module m;
    struct buf wasm;
    struct realm_error err = {0};
    module_init(&m, hostile_answer, sizeof(hostile_answer));
    module_write(&m, &wasm);
    if (wasm_guest_open(&bystander, rig->host, wasm.p, wasm.n, &err))
        fail_msg("%s", err.message);
    buf_free(&wasm);
    module_free(&m);
    *state = rig;
    return 0;
}

int hostile_teardown(void **state)
{
    wasm_guest_close(bystander);
    rig_close(*state);
    return 0;
}
