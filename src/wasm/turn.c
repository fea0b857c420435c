/* wasm/turn.c - which guests compute now.
 *
 * As many compute as may, or nobody waits. */
#include "wasm/turn.h"

#include "base/compiler.h"
#include "base/wait.h"

/* Ticks come at any moment of a turn: half of the time between two is a slice. */
static const uint64_t TICK_NS = 10000000, SLICE_NS = 5000000;

int turns_init(struct turns *t, const struct turns_options *options)
{
    *t = (struct turns){.options = *options};
    list_init(&t->lines);
    return mutex_init(&t->lock);
}

void turns_destroy(struct turns *t)
{
    mutex_destroy(&t->lock);
}

void turn_line_init(struct turn_line *line)
{
    *line = (struct turn_line){0};
    list_init(&line->link);
    list_init(&line->waiting);
}

int turn_init(struct turn *u, struct turns *t, struct turn_line *line, uint32_t weight)
{
    *u = (struct turn){.line = line, .weight = weight ? weight : 1};
    list_init(&u->link);
    int status = cond_init(&u->wake);
    u->turns = status ? NULL : t;
    return status;
}

void turn_destroy(struct turn *u)
{
    if (!u->turns)
        return;
    turn_give(u);
    cond_destroy(&u->wake);
}

/* ---- with the lock held ---- */

static struct turn_line *line_of(struct list *link)
{
    return CONTAINER_OF(link, struct turn_line, link);
}

/* Where a line that comes back begins, but for its tick: at the least of those that are there, and
 * never below where one before it began, which has a tick less than them itself. */
static uint64_t raise_floor(struct turns *t)
{
    uint64_t least = UINT64_MAX;
    for (struct list *i = t->lines.next; i != &t->lines; i = i->next)
        if (line_of(i)->had < least)
            least = line_of(i)->had;
    if (least != UINT64_MAX && least > t->floor)
        t->floor = least;
    return t->floor;
}

/* Whose turn it is next; NULL: nobody waits. */
static struct turn *next_of(const struct turns *t)
{
    const struct turn_line *first = NULL;
    for (struct list *i = t->lines.next; i != &t->lines; i = i->next) {
        const struct turn_line *line = line_of(i);
        if (!list_empty(&line->waiting) && (!first || line->had < first->had))
            first = line;
    }
    return first ? CONTAINER_OF(first->waiting.next, struct turn, link) : NULL;
}

/* Nobody saves up more than a tick's worth, which is for those that compute a little at a time. */
static void appear(struct turn *u)
{
    struct turns *t = u->turns;
    struct turn_line *line = u->line;
    if (!list_empty(&line->link))
        return;
    const uint64_t others = raise_floor(t), ahead = TICK_NS / u->weight;
    if (line->had + ahead < others)
        line->had = others - ahead;
    list_add_tail(&t->lines, &line->link);
}

static void disappear(struct turn *u)
{
    struct turns *t = u->turns;
    struct turn_line *line = u->line;
    if (line->computing || !list_empty(&line->waiting))
        return;
    list_remove(&line->link);
    if (list_empty(&t->lines) && line->had > t->floor)
        t->floor = line->had;
}

static void begin(struct turn *u)
{
    u->turns->computing++;
    u->line->computing++;
    u->since_ns = u->charged_ns = clock_ns(u->turns->options.clock);
    u->held = true;
}

static void charge(struct turn *u, uint64_t now_ns)
{
    u->line->had += (now_ns - u->charged_ns) / u->weight;
    u->charged_ns = now_ns;
}

static bool had_slice(const struct turn *u)
{
    return u->charged_ns - u->since_ns >= SLICE_NS;
}

static void join_line(struct turn *u, bool first)
{
    if (first)
        list_add_head(&u->line->waiting, &u->link);
    else
        list_add_tail(&u->line->waiting, &u->link);
    u->turns->waiting++;
}

static void leave_line(struct turn *u)
{
    list_remove(&u->link);
    u->turns->waiting--;
}

/* To whoever is next, if anybody is. */
static void hand_on(struct turns *t)
{
    struct turn *next = next_of(t);
    if (!next)
        return;
    leave_line(next);
    begin(next);
    cond_signal(&next->wake);
}

static void end(struct turn *u)
{
    struct turns *t = u->turns;
    charge(u, clock_ns(t->options.clock));
    u->held = false;
    t->computing--;
    u->line->computing--;
}

static void hurry(struct turns *t)
{
    mutex_unlock(&t->lock);
    t->options.tick(t->options.ctx);
    mutex_lock(&t->lock);
}

/* In its line already. */
static int await(struct turn *u, const struct realm_wait *wait)
{
    struct turns *t = u->turns;
    int status = 0;
    while (!u->held && !status) {
        status = wait_given_up(wait, &t->lock);
        if (!status && !u->held)
            wait_sleep_among(wait, &u->wake, &t->lock, t->waiting);
    }
    if (!status)
        return 0;
    if (u->held) {
        end(u);
        hand_on(t);
    } else {
        leave_line(u);
    }
    disappear(u);
    return status;
}

/* Whether u, which computes, is to go on beside next, who waits. */
static bool goes_before(const struct turn *u, const struct turn *next)
{
    if (next->line != u->line)
        return u->line->had <= next->line->had;
    return !had_slice(u);
}

/* ---- without ---- */

int turn_take(struct turn *u, const struct realm_wait *wait)
{
    struct turns *t = u->turns;
    int status = 0;
    if (u->held)
        return 0;
    mutex_lock(&t->lock);
    appear(u);
    if (t->computing < t->options.most) {
        begin(u);
    } else {
        join_line(u, false);
        if (next_of(t) == u)
            hurry(t);
        status = await(u, wait);
    }
    mutex_unlock(&t->lock);
    return status;
}

void turn_give(struct turn *u)
{
    struct turns *t = u->turns;
    if (!u->held)
        return;
    mutex_lock(&t->lock);
    end(u);
    hand_on(t);
    disappear(u);
    mutex_unlock(&t->lock);
}

int turn_tick(struct turn *u, const struct realm_wait *wait)
{
    struct turns *t = u->turns;
    int status = 0;
    mutex_lock(&t->lock);
    charge(u, clock_ns(t->options.clock));
    const struct turn *next = next_of(t);
    if (next && !goes_before(u, next)) {
        end(u);
        join_line(u, !had_slice(u));
        hand_on(t);
        status = await(u, wait);
    }
    mutex_unlock(&t->lock);
    return status;
}
