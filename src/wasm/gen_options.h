/* wasm/gen_options.h - GenOptions, as it lies in a guest's memory.
 *
 *   offset  size  field               type
 *   0       4     max_tokens          u32
 *   4       4     temperature         f32
 *   8       4     top_p               f32
 *   12      4     top_k               u32
 *   16      4     repetition_penalty  f32
 *   20      4     seed                u32, 0 draws a fresh one
 *   24      1     stop_token_count    u8
 *   25      3     padding             anything
 *   28      4     stop_tokens_ptr     u32, offset of u32 ids
 */
#ifndef WASM_GEN_OPTIONS_H
#define WASM_GEN_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "realm/realm.h"
#include "wasm/guest_slice.h"

enum { GEN_OPTIONS_BYTES = 32, GEN_STOP_IDS_MAX = 255 };

struct gen_options {
    uint32_t max_tokens;
    float temperature;
    float top_p;
    uint32_t top_k;
    float repetition_penalty;
    uint32_t seed;
    uint8_t stop_token_count;
    uint8_t padding[3];
    uint32_t stop_tokens_ptr;
};

_Static_assert(sizeof(struct gen_options) == GEN_OPTIONS_BYTES, "as wasm32 lays it out");
_Static_assert(offsetof(struct gen_options, stop_token_count) == 24, "as wasm32 lays it out");
_Static_assert(offsetof(struct gen_options, stop_tokens_ptr) == 28, "as wasm32 lays it out");

/* What a guest asked for, copied and checked. */
struct gen_wish {
    struct realm_sampling sampling;
    uint32_t stop_ids[GEN_STOP_IDS_MAX];
    size_t n_stop_ids;
};

/* Reads the options at `at`, 0 for the defaults.  REALM_E_ARG: out of bounds, a
 * field out of range, or a stop id not below vocab; the sentence names it. */
MUST_USE int gen_options_read(const struct guest_memory *m, uint32_t at, uint32_t vocab,
                              struct gen_wish *out, struct realm_error *err);

/* The bytes that tell a guest of sampling.  What has no field is left out. */
void gen_options_write(const struct realm_sampling *sampling, uint8_t out[GEN_OPTIONS_BYTES]);

#endif
