#include "base/rng.h"

#include <errno.h>
#include <sys/random.h>

#include "realm/status.h"

/* Multipliers and Weyl constants of Philox4x32 (Salmon et al., table 2). */
enum { ROUNDS = 10 };
static const uint32_t M0 = 0xD2511F53, M1 = 0xCD9E8D57;
static const uint32_t W0 = 0x9E3779B9, W1 = 0xBB67AE85;

void rng_philox(uint64_t key, uint64_t hi, uint64_t lo, uint32_t out[4])
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = (uint32_t)lo, c1 = (uint32_t)(lo >> 32);
    uint32_t c2 = (uint32_t)hi, c3 = (uint32_t)(hi >> 32);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t p0 = (uint64_t)M0 * c0, p1 = (uint64_t)M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += W0;
        k1 += W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

double rng_unit(uint64_t key, uint64_t hi, uint64_t lo)
{
    uint32_t r[4];
    rng_philox(key, hi, lo, r);
    uint64_t bits = ((uint64_t)r[1] << 32 | r[0]) >> 11;
    return (double)bits * 0x1.0p-53;
}

int rng_system(void *out, size_t n)
{
    unsigned char *p = out;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return REALM_E_SYS;
        p += got;
        n -= (size_t)got;
    }
    return 0;
}
