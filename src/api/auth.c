#include "api/auth.h"

#include <openssl/crypto.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/fair.h"
#include "base/limits.h"
#include "base/map.h"

static const char SCHEME[] = "bearer ";

/* ---- guessing ---- */

/* Addresses that share a slot share its count: a slot is the last one's that missed. */
static bool too_many_misses(struct auth_misses *m, const uint8_t address[16])
{
    static const uint64_t key[2] = {0};
    uint64_t minute = clock_ms(clock_system()) / 60000;
    if (minute != m->minute)
        *m = (struct auth_misses){.minute = minute};
    size_t at = map_hash(key, address, 16) % ARRAY_LEN(m->slots);
    if (memcmp(m->slots[at].address, address, 16) != 0) {
        memcpy(m->slots[at].address, address, 16);
        m->slots[at].n = 0;
    }
    return ++m->slots[at].n > AUTH_MISSES_PER_MIN_MAX;
}

static int missing(struct api_error *e)
{
    return api_fail(e, 401, "missing_api_key",
                    "this server wants an API key: Authorization: Bearer KEY");
}

/* Whoever guesses is not told what is wrong with a key. */
static int wrong(struct auth *a, const uint8_t *address, bool loopback, struct api_error *e)
{
    if (loopback || !too_many_misses(&a->misses, address))
        return api_fail(e, 401, "invalid_api_key", "the API key is not valid");
    (void)api_fail(e, 429, "too_many_wrong_keys", "too many wrong keys came from this address");
    e->retry_ms = 60000;
    return -1;
}

int auth_key(struct auth *a, const char *key, const uint8_t *address, bool loopback,
             struct tenant_pass *pass, struct api_error *e)
{
    if (a->needs_key && !tenants_have_keys(a->tenants))
        return key ? wrong(a, address, loopback, e) : missing(e);
    switch (tenants_auth(a->tenants, key, key ? strlen(key) : 0, pass)) {
    case TENANT_AUTH_OK:
        return 0;
    case TENANT_AUTH_MISSING:
        return missing(e);
    case TENANT_AUTH_WRONG:
        break;
    }
    return wrong(a, address, loopback, e);
}

/* ---- heads ---- */

/* The key itself; "" for another scheme, which is a wrong key. */
static const char *shown(const struct http_exchange *x)
{
    const char *field = http_field(x, "authorization");
    if (!field)
        return http_field(x, "x-api-key");
    if (strncasecmp(field, SCHEME, sizeof(SCHEME) - 1) != 0)
        return "";
    return field + sizeof(SCHEME) - 1;
}

bool auth_shown(const struct http_exchange *x)
{
    return http_field(x, "authorization") || http_field(x, "x-api-key");
}

bool auth_wanted(const struct auth *a)
{
    return a->needs_key || tenants_have_keys(a->tenants);
}

bool auth_is(const struct http_exchange *x, const char *secret)
{
    const char *key = shown(x);
    size_t n = secret ? strlen(secret) : 0;
    return n && key && http_field_count(x, "authorization") <= 1 &&
           http_field_count(x, "x-api-key") <= 1 && n == strlen(key) &&
           CRYPTO_memcmp(key, secret, n) == 0;
}

int auth_refuse(struct auth *a, const struct http_exchange *x, struct api_error *e)
{
    return auth_shown(x) ? wrong(a, http_address(x), http_from_loopback(x), e) : missing(e);
}

bool auth_lets_in(const struct auth *a, const struct http_exchange *x, uint32_t *payer)
{
    struct tenant_pass pass;
    const char *key = shown(x);
    if (!auth_wanted(a))
        return true;
    if (!key || tenants_auth(a->tenants, key, strlen(key), &pass) != TENANT_AUTH_OK)
        return false;
    *payer = fair_hash(tenant_view(&pass)->id);
    tenant_pass_drop(&pass);
    return true;
}

int auth_request(struct auth *a, const struct http_exchange *x, struct tenant_pass *pass,
                 struct api_error *e)
{
    if (http_field_count(x, "authorization") > 1 || http_field_count(x, "x-api-key") > 1)
        return api_bad(e, NULL, "bad_request", "the API key stands more than once");
    return auth_key(a, shown(x), http_address(x), http_from_loopback(x), pass, e);
}
