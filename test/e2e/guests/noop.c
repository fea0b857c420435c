/* noop.c - answers at once and asks nobody: what an instance costs by itself. */
#define REALM_GUEST_ALLOC
#include "realm_guest.h"

REALM_EXPORT("generate")
const char *generate(const char *prompt, uint32_t len, uint32_t model,
                     const struct realm_gen_options *options)
{
    (void)prompt;
    (void)len;
    (void)model;
    (void)options;
    return "ok";
}
