/* api/auth.h - who sends a request: the key in its head.
 *
 * `Authorization: Bearer KEY`, as OpenAI's clients send it, or `x-api-key: KEY`, as Anthropic's
 * do.  Threads: the server's. */
#ifndef API_AUTH_H
#define API_AUTH_H

#include "api/error.h"
#include "http/http.h"
#include "tenant/tenant.h"

/* Wrong keys that came from one address lately. */
struct auth_misses {
    uint64_t minute; /* that all of it is of */
    struct {
        uint8_t address[16];
        uint32_t n;
    } slots[256];
};

/* Who may be told apart only by keys: false lets callers in without one while there is none. */
struct auth {
    struct tenants *tenants;
    bool needs_key;
    struct auth_misses misses;
};

/* 0 and a pass for the caller to drop; -1: 401, 400 or 429. */
MUST_USE int auth_request(struct auth *a, const struct http_exchange *x, struct tenant_pass *pass,
                          struct api_error *e);
/* The same of a key that came in another way; address as http_address has it. */
MUST_USE int auth_key(struct auth *a, const char *key, const uint8_t *address, bool loopback,
                      struct tenant_pass *pass, struct api_error *e);
/* Whether auth_request is going to let the sender in; counts nothing.  *payer: a number for its
 * tenant. */
bool auth_lets_in(const struct auth *a, const struct http_exchange *x, uint32_t *payer);
/* Whether the request's head shows something; without it nobody is let in where keys are needed. */
bool auth_shown(const struct http_exchange *x);
/* Whether nobody is let in without a key. */
bool auth_wanted(const struct auth *a);

/* The operator's own keys, which are no tenant's: whether x shows this one; NULL: there is none. */
bool auth_is(const struct http_exchange *x, const char *secret);
/* Why a request that does not show such a key is refused; counts it.  -1. */
int auth_refuse(struct auth *a, const struct http_exchange *x, struct api_error *e);

#endif
