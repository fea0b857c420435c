/* wasm/generation.h - generations of a guest, by whichever call it asked for them. */
#ifndef WASM_GENERATION_H
#define WASM_GENERATION_H

#include "wasm/instance.h"
#include "wasm/tenant.h"

/* Either a conversation, or a prompt; in a request that is a conversation, a
 * prompt takes the place of its last user message. */
struct gen_source {
    const json_t *messages;
    const char *prompt;
    size_t bytes;
};

/* Queues a generation from `from` under the sampling and stops of r, whose text and tenant
 * are set here.  0, or a code with its sentence in in->last, and no generation. */
MUST_USE int32_t generation_start(struct instance *in, const struct lease *m,
                                  const struct gen_source *from, struct realm_request *r,
                                  struct generation *g);

/* The next event, waiting as long as the request may: 0, or a code.  A
 * generation that failed is a code, too. */
MUST_USE int32_t generation_next(struct instance *in, struct generation *g,
                                 struct realm_event *event);

/* Cancels it if it runs, counts its tokens and frees it. */
void generation_end(struct instance *in, struct generation *g);

/* All of it at once: appends the text, and *end says how it ended. */
MUST_USE int32_t generation_whole(struct instance *in, const struct lease *m,
                                  const struct gen_source *from, struct realm_request *r,
                                  struct buf *text, struct realm_event *end);

/* The handles of an instance. */
void generations_init(struct instance *in);
void generations_close(struct instance *in);

#endif
