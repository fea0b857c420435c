/* base/limits.h - ceilings on everything that grows.
 *
 * One place (base/limits.inc), so that an operator can read them, as `realm limits`
 * prints them, and a reviewer can check that nothing lacks one. */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#define KiB 1024ull
#define MiB (1024ull * KiB)
#define GiB (1024ull * MiB)

enum {
#define PART(name)
#define LIMIT(name, value, unit, about) name = value,
#include "base/limits.inc"
#undef PART
#undef LIMIT
};

#endif
