/* kernels/tmpl/inline.h - what templates ask of a compiler: functions that melt
 * into their caller, so that arguments written as constants there are constants
 * inside, loops over registers that vanish, and names put together. */
#ifndef KERNELS_TMPL_INLINE_H
#define KERNELS_TMPL_INLINE_H

#include "base/compiler.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* The number stands apart, for a sanitizer's look at it would come between the loop and the
 * wish for it to vanish. */
#define EACH(i, n) UNROLL for (size_t i = 0, i##_end = (n); i < i##_end; i++)

/* The vector is computed here: else gcc puts off the additions of a long integer sum and
 * keeps the summands on the stack. */
#define HERE(vector) __asm__("" : "+v"(vector))

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

#endif
