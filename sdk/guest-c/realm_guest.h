/* realm_guest.h - what a guest of Realm written in C can call.
 *
 * A guest is a core WebAssembly module (wasm32) that exports its memory and
 * either of
 *
 *     REALM_EXPORT("generate") const char *generate(const char *prompt, uint32_t prompt_len,
 *                                                   uint32_t model_id,
 *                                                   const struct realm_gen_options *options);
 *     REALM_EXPORT("handle") uint64_t handle(const char *request, uint32_t request_len);
 *
 * generate answers a prompt (which has no NUL at its end) with a NUL-terminated
 * text, or 0 when it failed; options may be 0.  handle answers the whole request,
 * as JSON, with the JSON of realm_bytes(answer, len), or 0.
 *
 * Every request runs in a fresh instance: globals begin as they were linked, and
 * nothing needs to be freed.  The host puts the prompt where the export `alloc`
 * says, or into new pages at the end of the memory when there is none.
 *
 * Build:
 *     clang-14 --target=wasm32 -O2 -nostdlib -Wl,--no-entry -I sdk/guest-c -o g.wasm g.c
 *
 * Needs no C library.  docs/guest-abi.md says more of each call. */
#ifndef REALM_GUEST_H
#define REALM_GUEST_H

#include <stddef.h>
#include <stdint.h>

#define REALM_IMPORT(name) __attribute__((import_module("env"), import_name(name)))
#define REALM_EXPORT(name) __attribute__((export_name(name)))

/* What a call answers when it fails; realm_last_error has a sentence. */
enum {
    REALM_NO_MEMORY = -1,    /* this guest exports no memory */
    REALM_BAD_ARGUMENT = -2, /* an argument or option is out of range */
    REALM_BAD_INPUT = -3,    /* the input range is out of bounds */
    REALM_NOT_UTF8 = -4,
    REALM_NO_MODEL = -5,   /* no such model */
    REALM_TOO_SMALL = -5,  /* or: the output does not fit, and nothing is written */
    REALM_BAD_OUTPUT = -6, /* the output range is out of bounds */
    REALM_NO_TOKENIZER = -7,
    REALM_TOO_LONG = -8, /* for the context window */
    REALM_EMPTY = -9,    /* nothing to generate from */
    REALM_FAILED = -10,
    REALM_NOT_LOADED = -11, /* the model could not be loaded */
    REALM_LIMIT = -12,      /* a limit of the tenant's is spent */
    REALM_CANCELLED = -13,  /* the caller went away, or the deadline passed */
};

/* 32 bytes, as the host reads them. */
struct realm_gen_options {
    uint32_t max_tokens;      /* at least 1 */
    float temperature;        /* 0 is greedy */
    float top_p;              /* 1 turns it off */
    uint32_t top_k;           /* 0 turns it off */
    float repetition_penalty; /* 1 turns it off */
    uint32_t seed;            /* 0 draws a fresh one */
    uint8_t stop_token_count; /* ids at stop_tokens */
    const uint32_t *stop_tokens;
};

#define REALM_GEN_OPTIONS_DEFAULT          \
    {                                      \
        512, 0.7f, 0.9f, 40, 1.1f, 0, 0, 0 \
    }

/* model_id 0 is the model of the request. */

/* Generates from a prompt: bytes written to out, the NUL at the end included. */
REALM_IMPORT("realm_host_generate")
int32_t realm_host_generate(uint32_t model_id, const char *prompt, uint32_t prompt_len,
                            const struct realm_gen_options *options, char *out, uint32_t out_max);

/* Shows text to the caller at once.  What generate returns is then not shown again. */
REALM_IMPORT("realm_stream_token") int32_t realm_stream_token(const char *text, uint32_t len);

/* A chat completion: {"messages": [...], "max_tokens": 64, ...} in, bytes of the
 * answer's JSON out. */
REALM_IMPORT("realm_chat")
int32_t realm_chat(const char *request, uint32_t request_len, char *out, uint32_t out_max);

/* A chat or text completion ({"prompt": "..."}), piece by piece: a handle over 0 ... */
REALM_IMPORT("realm_generate_start")
int32_t realm_generate_start(const char *request, uint32_t request_len);
/* ... bytes of whole UTF-8 written, 0 at the end ... */
REALM_IMPORT("realm_generate_next")
int32_t realm_generate_next(int32_t handle, char *out, uint32_t out_max);
/* ... and 0, whether it was over or is cancelled so. */
REALM_IMPORT("realm_generate_end") int32_t realm_generate_end(int32_t handle);

/* Bytes of a sentence about the last failure, cut to what fits; no NUL. */
REALM_IMPORT("realm_last_error") int32_t realm_last_error(char *out, uint32_t out_max);

/* Model ids over 0. */
REALM_IMPORT("realm_host_load_model_by_name")
int32_t realm_host_load_model_by_name(const char *name, uint32_t name_len);
REALM_IMPORT("realm_store_model")
int32_t realm_store_model(const void *gguf, uint32_t gguf_len, uint32_t model_id);
REALM_IMPORT("realm_remove_model") int32_t realm_remove_model(uint32_t model_id);

REALM_IMPORT("realm_get_model_info")
int32_t realm_get_model_info(uint32_t model_id, uint32_t *tensor_count, uint64_t *total_size);
REALM_IMPORT("realm_get_model_metadata")
int32_t realm_get_model_metadata(uint32_t model_id, char *out, uint32_t out_max);

/* Ids written; without BOS, and control tokens are not read from text. */
REALM_IMPORT("realm_encode_tokens")
int32_t realm_encode_tokens(uint32_t model_id, const char *text, uint32_t text_len, uint32_t *out,
                            uint32_t out_max);
REALM_IMPORT("realm_decode_tokens")
int32_t realm_decode_tokens(uint32_t model_id, const uint32_t *ids, uint32_t n, char *out,
                            uint32_t out_max);

/* What handle returns. */
static inline uint64_t realm_bytes(const char *text, uint32_t len)
{
    return (uint64_t)(uintptr_t)text << 32 | len;
}

/* Without -nostdlib's C library the compiler still wants these for copies. */
#ifdef REALM_GUEST_MEM
void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    char *t = to;
    for (const char *f = from; n; n--)
        *t++ = *f++;
    return to;
}

void *memset(void *to, int c, size_t n)
{
    for (char *t = to; n; n--)
        *t++ = (char)c;
    return to;
}
#endif

/* An allocator for guests that need no more: each block after the last, the memory
 * growing with them; nothing is freed, since the instance ends with the request. */
#ifdef REALM_GUEST_ALLOC
extern unsigned char __heap_base;

REALM_EXPORT("alloc") void *alloc(uint32_t n)
{
    static uint32_t next;
    uint32_t at = next ? next : ((uint32_t)(uintptr_t)&__heap_base + 15) & ~15u;
    uint64_t end = (uint64_t)at + n;
    uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) << 16;
    if (end > have &&
        __builtin_wasm_memory_grow(0, (uint32_t)((end - have + 65535) >> 16)) == (size_t)-1)
        return 0;
    next = (uint32_t)((end + 15) & ~15ull);
    return (void *)(uintptr_t)at;
}
#endif

#endif
