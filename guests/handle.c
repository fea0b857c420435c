/* handle.c - a guest with a policy: it sees the whole request as JSON, refuses
 * what speaks of its forbidden word, and hands the rest to the model. */
#define REALM_GUEST_ALLOC
#include "realm_guest.h"

enum { ANSWER_MAX = 4 << 20 };

static const char FORBIDDEN[] = "xyzzy";
static const char REFUSAL[] =
    "{\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
    "\"content\":\"I do not talk about that.\"},\"finish_reason\":\"content_filter\"}]}";

static int contains(const char *text, uint32_t n, const char *word, uint32_t word_n)
{
    for (uint32_t i = 0; i + word_n <= n; i++) {
        uint32_t same = 0;
        while (same < word_n && text[i + same] == word[same])
            same++;
        if (same == word_n)
            return 1;
    }
    return 0;
}

REALM_EXPORT("handle") uint64_t handle(const char *request, uint32_t request_len)
{
    if (contains(request, request_len, FORBIDDEN, sizeof(FORBIDDEN) - 1))
        return realm_bytes(REFUSAL, sizeof(REFUSAL) - 1);
    char *answer = alloc(ANSWER_MAX);
    if (!answer)
        return 0;
    int32_t n = realm_chat(request, request_len, answer, ANSWER_MAX);
    return n > 0 ? realm_bytes(answer, (uint32_t)n) : 0;
}
