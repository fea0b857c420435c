/* helper/frame.h - whole messages over the socket between parent and child. */
#ifndef HELPER_FRAME_H
#define HELPER_FRAME_H

#include <stdint.h>

#include "base/compiler.h"
#include "helper/helper.h"

struct frame_call {
    uint32_t op;
    uint32_t parts;
    uint64_t bytes[HELPER_PARTS_MAX];
};

struct frame_answer {
    int32_t status;
    uint32_t zero;
    uint64_t bytes;
};

_Static_assert(sizeof(struct frame_call) == 8 + 8 * HELPER_PARTS_MAX, "no padding");
_Static_assert(sizeof(struct frame_answer) == 16, "no padding");

/* All n bytes; REALM_E_DEADLINE or REALM_E_CANCELLED as wait (NULL: none) says;
 * REALM_E_IO when the other side is gone. */
MUST_USE int frame_send(int fd, const void *p, size_t n, const struct realm_wait *wait);
MUST_USE int frame_recv(int fd, void *p, size_t n, const struct realm_wait *wait);

#endif
