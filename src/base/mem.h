/* base/mem.h - every allocation of the program.
 *
 * Allocations are counted, and a test can make the n-th one fail, once or for
 * good.  All functions may be called from any thread.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* NULL when memory is short or n * size overflows.  n * size may be 0: the
 * result is then a pointer that must be freed like any other. */
MUST_USE void *mem_alloc(size_t size);
MUST_USE void *mem_zalloc(size_t size);
MUST_USE void *mem_array(size_t n, size_t size);                  /* not cleared */
MUST_USE void *mem_zarray(size_t n, size_t size);                 /* all bytes 0 */
MUST_USE void *mem_realloc_array(void *p, size_t n, size_t size); /* p stays valid on failure */
MUST_USE void *mem_aligned(size_t align,
                           size_t size); /* align: a power of two; freed by mem_free */
MUST_USE char *mem_strdup(const char *s);
MUST_USE char *mem_strndup(const char *s, size_t n);
void mem_free(void *p);

/* Zeros where a secret was, which no compiler leaves out.  p may be NULL when n is 0. */
void mem_wipe(void *p, size_t n);

/* Whole pages straight from the system, zeroed, on huge pages where it has
 * them; dumps of the process leave them out.  bytes must be over 0. */
MUST_USE void *mem_pages(size_t bytes);
void mem_pages_free(void *p, size_t bytes);

/* Allocations alive now, of both kinds. */
uint64_t mem_live(void);

/* For tests: fail the n-th allocation from now on (1 is the next); with
 * `for_good` all after it too.  n 0 turns it off. */
void mem_fail_at(uint64_t n, int for_good);

#endif
