/* calls.c - calls the host as often as the prompt, a decimal number, says; the
 * call asks for a sentence, of which there is none, and waits for nobody. */
#define REALM_GUEST_ALLOC
#include "realm_guest.h"

REALM_EXPORT("generate")
const char *generate(const char *prompt, uint32_t len, uint32_t model,
                     const struct realm_gen_options *options)
{
    static char sentence[16];
    uint32_t n = 0;
    (void)model;
    (void)options;
    for (uint32_t i = 0; i < len && prompt[i] >= '0' && prompt[i] <= '9'; i++)
        n = n * 10 + (uint32_t)(prompt[i] - '0');
    for (uint32_t i = 0; i < n; i++)
        if (realm_last_error(sentence, sizeof(sentence)) < 0)
            return NULL;
    return "ok";
}
