/* tenant/key.h - keys: "rlm_", an id, "_", a secret and a checksum.
 *
 * The id is public and finds the key; of the secret only its HMAC under the pepper is kept,
 * which is enough for 256 random bits.  The checksum tells a typo before anything is looked
 * up. */
#ifndef TENANT_KEY_H
#define TENANT_KEY_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/compiler.h"
#include "tenant/tenant.h"

enum { KEY_MAC = 32, KEY_PEPPER = 32, KEY_TEXT = 62 };

_Static_assert((int)KEY_TEXT <= (int)KEY_TEXT_MAX, "a key fits");

/* Draws a key; REALM_E_SYS when there is no randomness. */
MUST_USE int key_draw(char text[KEY_TEXT + 1]);

/* Where id and secret stand in it; REALM_E_ARG for what is no key. */
struct key_parts {
    char id[KEY_ID_MAX + 1];
    struct slice secret; /* a view */
};
MUST_USE int key_split(const char *key, size_t n, struct key_parts *out);

/* REALM_E_NOMEM. */
MUST_USE int key_mac(const uint8_t pepper[KEY_PEPPER], struct slice secret, uint8_t mac[KEY_MAC]);

/* Reads the pepper, or makes one when there is none yet.  must_exist: there are keys already,
 * which no other would open.
 *   REALM_E_FORMAT, REALM_E_IO, REALM_E_SYS */
MUST_USE int key_pepper(const char *dir, bool must_exist, uint8_t pepper[KEY_PEPPER],
                        struct realm_error *err);

#endif
