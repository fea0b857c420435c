#include "api/reason.h"

#include <string.h>

static const char OPEN[] = "<think>", CLOSE[] = "</think>";

void reason_init(struct reason *r, bool on, bool thinking)
{
    *r = (struct reason){.state = !on ? REASON_OFF : thinking ? REASON_INSIDE : REASON_START};
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static int flush(struct reason *r, struct buf *to)
{
    size_t n = r->n_held;
    r->n_held = 0;
    return buf_add(to, r->held, n);
}

/* Bytes of held that are white space at its beginning. */
static size_t leading(const struct reason *r)
{
    size_t n = 0;
    while (n < r->n_held && is_space(r->held[n]))
        n++;
    return n;
}

/* Within the answer nothing is held. */
static int push_start(struct reason *r, char c, struct buf *answer)
{
    r->held[r->n_held++] = c;
    size_t skip = leading(r), have = r->n_held - skip;
    if (have == 0 && r->n_held < sizeof(r->held) - sizeof(OPEN))
        return 0;
    if (have && have <= strlen(OPEN) && memcmp(r->held + skip, OPEN, have) == 0) {
        if (have == strlen(OPEN)) {
            r->state = REASON_INSIDE;
            r->n_held = 0;
        }
        return 0;
    }
    r->state = REASON_ANSWER;
    return flush(r, answer);
}

static int push_inside(struct reason *r, char c, struct buf *reasoning)
{
    int status = 0;
    if (!r->begun && is_space(c))
        return 0;
    r->begun = true;
    r->held[r->n_held++] = c;
    /* The longest end of held that begins the tag stays. */
    while (!status && r->n_held && memcmp(r->held, CLOSE, r->n_held) != 0) {
        status = buf_add(reasoning, r->held, 1);
        memmove(r->held, r->held + 1, --r->n_held);
    }
    if (r->n_held == strlen(CLOSE)) {
        r->state = REASON_GAP;
        r->n_held = 0;
    }
    return status;
}

int reason_push(struct reason *r, const char *text, size_t n, struct buf *answer,
                struct buf *reasoning)
{
    int status = 0;
    for (size_t i = 0; i < n && !status; i++) {
        switch (r->state) {
        case REASON_START:
            status = push_start(r, text[i], answer);
            break;
        case REASON_INSIDE:
            status = push_inside(r, text[i], reasoning);
            break;
        case REASON_GAP:
            if (is_space(text[i]))
                break;
            r->state = REASON_ANSWER;
            return buf_add(answer, text + i, n - i);
        case REASON_OFF:
        case REASON_ANSWER:
            return buf_add(answer, text + i, n - i);
        }
    }
    return status;
}

int reason_end(struct reason *r, struct buf *answer, struct buf *reasoning)
{
    return flush(r, r->state == REASON_INSIDE ? reasoning : answer);
}

bool reason_known(const char *chat_template)
{
    return chat_template && strstr(chat_template, CLOSE);
}

bool reason_open(const char *prompt, size_t n)
{
    /* The tag stands at the very end, but for white space. */
    while (n && is_space(prompt[n - 1]))
        n--;
    return n >= strlen(OPEN) && memcmp(prompt + n - strlen(OPEN), OPEN, strlen(OPEN)) == 0;
}
