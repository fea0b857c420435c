/* script.c - does what its prompt says, line by line, so that what a guest may do
 * to its host is written where it is checked.  What it finds out is its answer.
 *
 *   c IMPORT ARG ...    calls it; the result becomes a line of the answer
 *   s AT TEXT           puts the rest of the line into memory
 *   w AT HEX            puts bytes
 *   a AT NUMBER         puts a number, 4 bytes
 *   f AT LEN BYTE       fills
 *   p AT LEN            memory, as it is, becomes a line
 *   x AT LEN            memory in hex becomes a line
 *   z AT                memory up to a NUL becomes a line
 *   v N                 keeps the last result as @N
 *   m PAGES             grows the memory; the result becomes a line
 *   e                   the host's sentence about the last failure becomes a line
 *   n COUNT             calls the host that often for nothing
 *   t  l  d  0          traps, loops, recurses without end, answers NULL
 *
 * A number is decimal or 0x.., and may be negative; $N is the N-th byte of the
 * scratch area, ^N is N bytes before the end of the memory, % the last result,
 * @N one that was kept, P and L the prompt's place and length, O the options'
 * place, M the model that was asked for. */
#define REALM_GUEST_ALLOC
#include "realm_guest.h"

enum { SCRATCH = 128 << 10, ANSWER_MAX = 256 << 10, ARGS_MAX = 6, KEPT_MAX = 10, PAGE = 65536 };

static _Alignas(16) unsigned char scratch[SCRATCH];
static char answer[ANSWER_MAX];
static uint32_t n_answer;
static uint32_t last, kept[KEPT_MAX];
static uint32_t prompt_at, prompt_len, options_at, model_asked;

struct reader {
    const char *at, *end; /* of one line */
};

static void skip_spaces(struct reader *r)
{
    while (r->at < r->end && *r->at == ' ')
        r->at++;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static uint32_t plain_number(struct reader *r)
{
    uint32_t base = 10, n = 0;
    if (r->end - r->at > 2 && r->at[0] == '0' && r->at[1] == 'x') {
        base = 16;
        r->at += 2;
    }
    for (; r->at < r->end && digit(*r->at) >= 0; r->at++)
        n = n * base + (uint32_t)digit(*r->at);
    return n;
}

static uint32_t number(struct reader *r)
{
    skip_spaces(r);
    char c = r->at < r->end ? *r->at : '0';
    if (c >= '0' && c <= '9')
        return plain_number(r);
    r->at++;
    switch (c) {
    case '$':
        return (uint32_t)scratch + plain_number(r);
    case '^':
        return (uint32_t)(__builtin_wasm_memory_size(0) * PAGE) - plain_number(r);
    case '-':
        return 0 - plain_number(r);
    case '@':
        return kept[plain_number(r) % KEPT_MAX];
    case '%':
        return last;
    case 'P':
        return prompt_at;
    case 'L':
        return prompt_len;
    case 'O':
        return options_at;
    case 'M':
        return model_asked;
    default:
        __builtin_trap();
    }
}

static void put(char c)
{
    if (n_answer + 1 < ANSWER_MAX)
        answer[n_answer++] = c;
}

static void put_result(uint32_t result)
{
    char digits[12];
    int n = 0;
    int64_t v = (int32_t)result;
    last = result;
    if (v < 0) {
        put('-');
        v = -v;
    }
    do
        digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    while (n)
        put(digits[--n]);
    put('\n');
}

static void put_bytes(const char *at, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        put(at[i]);
    put('\n');
}

static void put_hex(const unsigned char *at, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        put("0123456789abcdef"[at[i] >> 4]);
        put("0123456789abcdef"[at[i] & 15]);
    }
    put('\n');
}

static const char *const imports[] = {
    "realm_host_generate",  "realm_host_load_model_by_name",
    "realm_store_model",    "realm_remove_model",
    "realm_get_model_info", "realm_get_model_metadata",
    "realm_encode_tokens",  "realm_decode_tokens",
    "realm_stream_token",   "realm_chat",
    "realm_generate_start", "realm_generate_next",
    "realm_generate_end",   "realm_last_error",
};

static unsigned find_import(struct reader *r)
{
    skip_spaces(r);
    for (unsigned i = 0; i < sizeof(imports) / sizeof(imports[0]); i++) {
        const char *name = imports[i], *at = r->at;
        while (*name && at < r->end && *at == *name) {
            name++;
            at++;
        }
        if (!*name && (at == r->end || *at == ' ')) {
            r->at = at;
            return i;
        }
    }
    __builtin_trap();
}

static uint32_t call(unsigned import, const uint32_t a[ARGS_MAX])
{
    void *p[ARGS_MAX];
    for (unsigned i = 0; i < ARGS_MAX; i++)
        p[i] = (void *)a[i];
    switch (import) {
    case 0:
        return (uint32_t)realm_host_generate(a[0], p[1], a[2], p[3], p[4], a[5]);
    case 1:
        return (uint32_t)realm_host_load_model_by_name(p[0], a[1]);
    case 2:
        return (uint32_t)realm_store_model(p[0], a[1], a[2]);
    case 3:
        return (uint32_t)realm_remove_model(a[0]);
    case 4:
        return (uint32_t)realm_get_model_info(a[0], p[1], p[2]);
    case 5:
        return (uint32_t)realm_get_model_metadata(a[0], p[1], a[2]);
    case 6:
        return (uint32_t)realm_encode_tokens(a[0], p[1], a[2], p[3], a[4]);
    case 7:
        return (uint32_t)realm_decode_tokens(a[0], p[1], a[2], p[3], a[4]);
    case 8:
        return (uint32_t)realm_stream_token(p[0], a[1]);
    case 9:
        return (uint32_t)realm_chat(p[0], a[1], p[2], a[3]);
    case 10:
        return (uint32_t)realm_generate_start(p[0], a[1]);
    case 11:
        return (uint32_t)realm_generate_next((int32_t)a[0], p[1], a[2]);
    case 12:
        return (uint32_t)realm_generate_end((int32_t)a[0]);
    default:
        return (uint32_t)realm_last_error(p[0], a[1]);
    }
}

static void do_call(struct reader *r)
{
    uint32_t args[ARGS_MAX] = {0};
    unsigned import = find_import(r);
    skip_spaces(r);
    for (unsigned i = 0; i < ARGS_MAX && r->at < r->end; i++) {
        args[i] = number(r);
        skip_spaces(r);
    }
    put_result(call(import, args));
}

static void do_text(struct reader *r)
{
    char *to = (char *)number(r);
    r->at++;
    while (r->at < r->end)
        *to++ = *r->at++;
}

static void do_bytes(struct reader *r)
{
    unsigned char *to = (unsigned char *)number(r);
    skip_spaces(r);
    for (; r->end - r->at >= 2; r->at += 2)
        *to++ = (unsigned char)(digit(r->at[0]) << 4 | digit(r->at[1]));
}

static void do_fill(struct reader *r)
{
    volatile unsigned char *to = (unsigned char *)number(r);
    uint32_t len = number(r);
    unsigned char byte = (unsigned char)number(r);
    for (uint32_t i = 0; i < len; i++)
        to[i] = byte;
}

static void do_number(struct reader *r)
{
    unsigned char *to = (unsigned char *)number(r);
    uint32_t n = number(r);
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(n >> 8 * i);
}

static void do_string(struct reader *r)
{
    const char *at = (const char *)number(r);
    uint32_t len = 0;
    while (at[len])
        len++;
    put_bytes(at, len);
}

static void do_error(void)
{
    int32_t n = realm_last_error(answer + n_answer, ANSWER_MAX - n_answer - 1);
    if (n < 0)
        __builtin_trap();
    n_answer += (uint32_t)n;
    put('\n');
}

static volatile uint32_t depth;

/* On the engine's stack alone. */
static __attribute__((noinline)) uint32_t recurse(uint32_t n)
{
    depth = n;
    return n == UINT32_MAX ? 0 : recurse(n + 1) + depth;
}

/* Whether to go on. */
static int do_line(struct reader r)
{
    char command = *r.at++;
    uint32_t a, n;
    switch (command) {
    case 'c':
        do_call(&r);
        break;
    case 's':
        do_text(&r);
        break;
    case 'w':
        do_bytes(&r);
        break;
    case 'f':
        do_fill(&r);
        break;
    case 'p':
        a = number(&r);
        n = number(&r);
        put_bytes((const char *)a, n);
        break;
    case 'x':
        a = number(&r);
        n = number(&r);
        put_hex((const unsigned char *)a, n);
        break;
    case 'a':
        do_number(&r);
        break;
    case 'z':
        do_string(&r);
        break;
    case 'v':
        kept[number(&r) % KEPT_MAX] = last;
        break;
    case 'm':
        put_result(__builtin_wasm_memory_grow(0, number(&r)));
        break;
    case 'e':
        do_error();
        break;
    case 'n':
        for (n = number(&r); n; n--)
            realm_stream_token(NULL, 0);
        break;
    case 'l':
        for (;;)
            depth = depth + 1;
    case 'd':
        put_result(recurse(0));
        break;
    case '0':
        return 0;
    default:
        __builtin_trap();
    }
    return 1;
}

REALM_EXPORT("generate")
const char *generate(const char *prompt, uint32_t len, uint32_t model,
                     const struct realm_gen_options *options)
{
    prompt_at = (uint32_t)prompt;
    prompt_len = len;
    options_at = (uint32_t)options;
    model_asked = model;
    for (const char *at = prompt, *end = prompt + len; at < end;) {
        const char *stop = at;
        while (stop < end && *stop != '\n')
            stop++;
        if (stop > at && !do_line((struct reader){at, stop}))
            return NULL;
        at = stop + 1;
    }
    answer[n_answer] = '\0';
    return answer;
}
