/* sim/fake.h - a model that computes nothing: the next token is a hash of all before it.
 *
 * The hash is kept in the pages of the sequence, one number per position, and read from there:
 * a page that was given to two, or taken from one that still needs it, shows in the answer. */
#ifndef SIM_FAKE_H
#define SIM_FAKE_H

#include "model/forward.h"
#include "sched/sched.h"

enum { FAKE_VOCAB = 64, FAKE_CONTEXT = 2048 };

/* What its steps do beside computing; ctx is of fake_watch. */
struct fake_watch {
    /* A step of n rows begins; false: it is to look who waits for it. */
    bool (*step)(void *ctx, const struct forward_row *rows, size_t n);
    bool (*bad)(void *ctx, const struct forward_row *row); /* has values that are not finite */
    void *ctx;
};

/* Of all fakes; stays until another is set. */
void fake_watch(const struct fake_watch *watch);

extern const struct sched_forward fake_forward;

/* One whose pages take so many layers' bytes and whose tokens cost so much. */
struct model fake_model(uint32_t layers, uint64_t params);

/* The hash of a sequence, begun with 0 and led on by each token; and the token it stands for. */
uint64_t fake_lead(const struct model *m, uint64_t hash, uint32_t token);
uint32_t fake_token(uint64_t hash);

#endif
