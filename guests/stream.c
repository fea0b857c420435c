/* stream.c - hands the model's text on piece by piece. */
#define REALM_GUEST_ALLOC
#define REALM_GUEST_MEM
#include "realm_guest.h"

enum { TEXT_MAX = 1 << 20, PIECE_MAX = 4096 };

/* Text that is put together; what does not fit is counted, not written. */
struct text {
    char *p;
    uint32_t n, max;
};

static void add(struct text *t, const char *s, uint32_t n)
{
    if (n <= t->max && t->n <= t->max - n)
        memcpy(t->p + t->n, s, n);
    t->n += n;
}

static void add_str(struct text *t, const char *s)
{
    uint32_t n = 0;
    while (s[n])
        n++;
    add(t, s, n);
}

static void add_u32(struct text *t, uint32_t value)
{
    char digits[10];
    uint32_t n = sizeof(digits);
    do
        digits[--n] = (char)('0' + value % 10);
    while (value /= 10);
    add(t, digits + n, sizeof(digits) - n);
}

/* Six decimals, which is more than these parameters need. */
static void add_float(struct text *t, float value)
{
    uint64_t millionths = (uint64_t)((double)value * 1e6 + 0.5);
    add_u32(t, (uint32_t)(millionths / 1000000));
    add(t, ".", 1);
    for (uint32_t unit = 100000; unit; unit /= 10) {
        char digit = (char)('0' + millionths / unit % 10);
        add(t, &digit, 1);
    }
}

static void add_quoted(struct text *t, const char *s, uint32_t n)
{
    static const char hex[] = "0123456789abcdef";
    add(t, "\"", 1);
    for (uint32_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        char escaped[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        if (c < 0x20 || c == '"' || c == '\\')
            add(t, escaped, sizeof(escaped));
        else
            add(t, s + i, 1);
    }
    add(t, "\"", 1);
}

static void add_request(struct text *t, const char *prompt, uint32_t n,
                        const struct realm_gen_options *o)
{
    add_str(t, "{\"prompt\":");
    add_quoted(t, prompt, n);
    add_str(t, ",\"max_tokens\":");
    add_u32(t, o->max_tokens);
    add_str(t, ",\"temperature\":");
    add_float(t, o->temperature);
    add_str(t, ",\"top_p\":");
    add_float(t, o->top_p);
    add_str(t, ",\"top_k\":");
    add_u32(t, o->top_k);
    add_str(t, ",\"repetition_penalty\":");
    add_float(t, o->repetition_penalty);
    if (o->seed) {
        add_str(t, ",\"seed\":");
        add_u32(t, o->seed);
    }
    add_str(t, "}");
}

/* Streams all of it, keeping a copy in answer; 0, or the code of a failure. */
static int32_t relay(int32_t handle, struct text *answer)
{
    char piece[PIECE_MAX];
    int32_t n;
    while ((n = realm_generate_next(handle, piece, sizeof(piece))) > 0) {
        int32_t failed = realm_stream_token(piece, (uint32_t)n);
        if (failed)
            return failed;
        add(answer, piece, (uint32_t)n);
    }
    return n;
}

REALM_EXPORT("generate")
const char *generate(const char *prompt, uint32_t prompt_len, uint32_t model_id,
                     const struct realm_gen_options *options)
{
    static const struct realm_gen_options defaults = REALM_GEN_OPTIONS_DEFAULT;
    struct text request = {.max = 6 * prompt_len + 1024}, answer = {.max = TEXT_MAX};
    (void)model_id;
    request.p = alloc(request.max);
    answer.p = alloc(TEXT_MAX + 1);
    if (!request.p || !answer.p)
        return 0;
    add_request(&request, prompt, prompt_len, options ? options : &defaults);
    int32_t handle = realm_generate_start(request.p, request.n);
    if (handle < 0)
        return 0;
    int32_t failed = relay(handle, &answer);
    realm_generate_end(handle);
    if (failed || answer.n > answer.max)
        return 0;
    answer.p[answer.n] = '\0';
    return answer.p;
}
