#include "api/writer.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

void write_f(struct writer *w, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(text)) {
        if (!w->status)
            w->status = REALM_E_LIMIT;
        return;
    }
    write_bytes(w, text, (size_t)n);
}

void write_number(struct writer *w, double value)
{
    if (isfinite(value))
        write_f(w, "%.9g", value);
    else
        write_text(w, "null");
}
