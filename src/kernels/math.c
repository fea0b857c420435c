/* kernels/math.c - exp, log, sine and cosine of ours: the same bits everywhere.
 *
 * Additions, multiplications and divisions in the order written here, fused only
 * in exp of a float and there by name; the C library's functions differ between versions. */
#include <string.h>

#include "base/compiler.h"
#include "kernels/kernels.h"
#include "kernels/math_inline.h"

float kern_expf(float x)
{
    return exp_1(x);
}

static double f64_from_bits(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, 8);
    return d;
}

static uint64_t f64_bits(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, 8);
    return bits;
}

/* c[0] + c[1] z + ... + c[n - 1] z^(n - 1) */
static double polynomial(const double *c, size_t n, double z)
{
    double sum = c[n - 1];
    for (size_t i = n - 1; i-- > 0;)
        sum = sum * z + c[i];
    return sum;
}

/* x = k ln 2 + r, |r| <= (ln 2) / 2; ln 2 in two parts, k times the first is exact. */
double kern_exp(double x)
{
    static const double factorials[] = {
        1.0,
        1.0,
        1.0 / 2,
        1.0 / 6,
        1.0 / 24,
        1.0 / 120,
        1.0 / 720,
        1.0 / 5040,
        1.0 / 40320,
        1.0 / 362880,
        1.0 / 3628800,
        1.0 / 39916800,
        1.0 / 479001600,
        1.0 / 6227020800,
    };
    const double ln2_hi = 0x1.62e42fefp-1, ln2_lo = 0x1.473de6af278edp-34;
    double shifted = x * 0x1.71547652b82fep+0 + 0x1.8p52; // the integer k in the low bits
    double k = shifted - 0x1.8p52;
    double r = (x - k * ln2_hi) - k * ln2_lo;
    uint64_t power = f64_bits(1.0) + (f64_bits(shifted) << 52);
    return polynomial(factorials, ARRAY_LEN(factorials), r) * f64_from_bits(power);
}

/* For x = 2^k (1 + f), 1 + f in [sqrt 1/2, sqrt 2), and s = f / (2 + f):
 * log(1 + f) = 2 (s + s^3/3 + s^5/5 + ...) = f - s (f - 2 (s^2/3 + s^4/5 + ...)). */
double kern_log(double x)
{
    static const double thirds[] = {
        2.0 / 3,  2.0 / 5,  2.0 / 7,  2.0 / 9,  2.0 / 11,
        2.0 / 13, 2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21,
    };
    const double ln2_hi = 0x1.62e42fefp-1, ln2_lo = 0x1.473de6af278edp-34;
    if (!(x > 0))
        return x == 0 ? -INFINITY : NAN;
    if (x == INFINITY)
        return x;
    int k = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        k = -54;
    }
    uint64_t bits = f64_bits(x);
    k += (int)(bits >> 52) - 1023;
    double y = f64_from_bits((bits & 0xfffffffffffff) | 0x3ff0000000000000);
    if (y >= 0x1.6a09e667f3bcdp+0) {
        y *= 0.5;
        k++;
    }
    double f = y - 1.0, s = f / (2.0 + f), z = s * s;
    double rest = z * polynomial(thirds, ARRAY_LEN(thirds), z);
    return (double)k * ln2_hi + (f - (s * (f - rest) - (double)k * ln2_lo));
}

/* angle = n pi/2 + r, |r| <= pi/4 and a little, pi/2 being cut into 30, 30 and 53
 * bits: n times the first two is exact. */
void kern_sincos(double angle, float *sine, float *cosine)
{
    static const double odd[] = {
        1.0, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800, 1.0 / 6227020800,
    };
    static const double even[] = {
        1.0,         -1.0 / 2,       1.0 / 24,        -1.0 / 720,
        1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600, -1.0 / 87178291200,
    };
    double shifted = angle * 0x1.45f306dc9c883p-1 + 0x1.8p52; // the integer n in the low bits
    double n = shifted - 0x1.8p52;
    double r = angle - n * 0x1.921fb54p+0;
    r = r - n * 0x1.10b46118p-30;
    r = r - n * 0x1.313198a2e037p-61;
    double z = r * r;
    double s = r * polynomial(odd, ARRAY_LEN(odd), z);
    double c = polynomial(even, ARRAY_LEN(even), z);
    unsigned quarter = (unsigned)f64_bits(shifted) & 3;
    double sin_r = quarter & 1 ? c : s, cos_r = quarter & 1 ? s : c;
    *sine = (float)(quarter & 2 ? -sin_r : sin_r);
    *cosine = (float)(quarter == 1 || quarter == 2 ? -cos_r : cos_r);
}
