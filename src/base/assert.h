/* base/assert.h - invariants that stay checked in release builds.
 *
 * For mistakes of the program alone: what a file, a request or a guest can
 * bring about is an error with a status, never an assertion.
 */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#include "base/compiler.h"

NORETURN void assert_failed(const char *what, const char *file, int line);

#define ASSERT(cond) (LIKELY(cond) ? (void)0 : assert_failed(#cond, __FILE__, __LINE__))

#endif
