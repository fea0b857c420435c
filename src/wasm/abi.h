/* wasm/abi.h - the numbers that guests are answered with (docs/guest-abi.md). */
#ifndef WASM_ABI_H
#define WASM_ABI_H

enum abi_code {
    ABI_NO_MEMORY = -1,    /* the guest exports no memory */
    ABI_ARGUMENT = -2,     /* an argument, or a field behind one, is out of range */
    ABI_INPUT = -3,        /* the input range is out of bounds */
    ABI_UTF8 = -4,         /* the input is not UTF-8 */
    ABI_NO_MODEL = -5,     /* no such model for this tenant */
    ABI_TOO_SMALL = -5,    /* the output does not fit; nothing is written */
    ABI_OUTPUT = -6,       /* the output range is out of bounds */
    ABI_NO_TOKENIZER = -7, /* the model has none */
    ABI_TOO_LONG = -8,     /* tokenisation failed, or the context window is too short */
    ABI_EMPTY = -9,        /* nothing to generate from */
    ABI_FAILED = -10,      /* it went wrong on this side */
    ABI_NOT_LOADED = -11,  /* the model could not be loaded */
    ABI_LIMIT = -12,       /* a limit of the tenant's is spent */
    ABI_CANCELLED = -13,   /* the caller went away, or the deadline passed */
};

#endif
