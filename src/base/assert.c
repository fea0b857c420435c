#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

NORETURN void assert_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "realm: internal error: %s does not hold (%s:%d)\n", what, file, line);
    abort();
}
