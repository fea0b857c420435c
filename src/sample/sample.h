/* sample/sample.h - from logits to the next token.
 *
 * The chain of one draw: biases, penalties over the last PENALTY_WINDOW tokens (prompt
 * included), top-k, top-p, min-p, temperature, draw.  Random numbers are a
 * function of (seed, choice, position), so a draw does not depend on batching,
 * preemption or the order of work.  Ties go to the lower id. */
#ifndef SAMPLE_SAMPLE_H
#define SAMPLE_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "kernels/kernels.h"
#include "realm/realm.h"

enum { PENALTY_WINDOW = 64 };

/* Scratch for one worker, sized for a vocabulary. */
struct sample_scratch;
MUST_USE int sample_scratch_open(struct sample_scratch **out, size_t vocab);
void sample_scratch_close(struct sample_scratch *s);
uint64_t sample_scratch_bytes(size_t vocab); /* of one */

struct sample_input {
    const float *logits; /* (vocab), finite */
    size_t vocab;
    const uint32_t *history; /* the sequence so far; the last PENALTY_WINDOW are read */
    size_t n_history;
    const struct realm_sampling *sampling;
    const struct realm_logit_bias *bias; /* (n_bias), of tokens below vocab */
    size_t n_bias;
    uint64_t seed;
    uint32_t choice;   /* which of n answers to one prompt */
    uint32_t position; /* of the token to be drawn */
};

/* Draws a token. */
uint32_t sample_draw(struct sample_scratch *s, const struct kernels *k,
                     const struct sample_input *in);

/* Log-probability of token and of the n_top likeliest (likeliest first), from
 * logits before the chain. */
float sample_logprobs(struct sample_scratch *s, const struct kernels *k, const float *logits,
                      size_t vocab, uint32_t token, struct realm_logprob *top, size_t n_top);

#endif
