/* What a guest may name and how much it may have generated is its tenant's, whatever it does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "util.h"

enum { SLICE = 256, OWN_MS = 400 };

static struct world world;

/* What the callbacks of a request know and saw. */
struct rules {
    uint64_t budget;  /* 0: none */
    uint64_t rate;    /* 0: none */
    uint32_t cap;     /* of an answer; 0: none */
    uint64_t granted; /* the last */
    unsigned asked, fell;
    uint32_t told, told_prompt, told_drawn; /* of the request's model */
    bool forbidden;                         /* "mine" is not to be had any more */
    bool slow;                              /* one slice takes more than a second */
};

static int find(void *ctx, const char *name, struct wasm_found *out)
{
    const struct rules *r = ctx;
    const bool mine = strcmp(name, "mine") == 0 || strcmp(name, "also_mine") == 0;
    if (mine && !r->forbidden)
        snprintf(out->path, sizeof(out->path), "%s", world.endless);
    else if (strcmp(name, "gone") == 0 || strcmp(name, "damaged") == 0)
        snprintf(out->path, sizeof(out->path), "%s/%s.gguf", world.dir, name);
    else if (strncmp(name, "copy", 4) == 0)
        snprintf(out->path, sizeof(out->path), "%s", world.endless);
    else
        return REALM_E_NOT_FOUND; // "theirs", too, which there is
    snprintf(out->id, sizeof(out->id), "%s", mine ? "mine" : name);
    return 0;
}

static int reserve(void *ctx, uint64_t tokens, bool growth, struct realm_error *err)
{
    struct rules *r = ctx;
    r->asked++;
    r->fell += tokens <= r->granted;
    if (r->slow && r->asked == 2)
        usleep(1100000);
    if (r->budget && tokens > r->budget)
        return err_set(err, REALM_E_LIMIT, "the budget of %llu tokens is spent",
                       (unsigned long long)r->budget);
    if (r->rate && !growth && tokens > r->rate)
        return err_set(err, REALM_E_LIMIT, "too many tokens");
    r->granted = tokens;
    return 0;
}

static void used(void *ctx, const struct wasm_use *uses, size_t n)
{
    struct rules *r = ctx;
    r->told++;
    assert_int_equal(n, 1);
    r->told_prompt = uses[0].prompt_tokens;
    r->told_drawn = uses[0].completion_tokens;
}

static void run(struct script *s, struct rules *rules, struct reply *out)
{
    const struct wasm_request request = {
        .tenant = world.tenants[0],
        .model = world.model,
        .model_id = "own",
        .prompt = buf_cstr(&s->text),
        .prompt_bytes = s->text.n,
        .max_tokens = rules->cap,
        .find = find,
        .reserve = reserve,
        .used = used,
        .ctx = rules,
    };
    ask(world.guest, &request, out);
    script_free(s);
    assert_int_equal(rules->fell, 0);
}

static void expect_answer(struct script *s, struct rules *rules, const char *wanted)
{
    struct reply reply;
    run(s, rules, &reply);
    if (reply.status)
        fail_msg("%s", reply.err.message);
    assert_string_equal(reply.result.text, wanted);
    reply_free(&reply);
}

/* ---- names ---- */

static void names_are_the_tenants(void **state)
{
    static const char *const others[] = {"theirs", "nobody", "endless", "gone"};
    struct rules rules = {0};
    struct script s;
    (void)state;
    script_init(&s);
    script_add(&s, "s $0 mine");
    script_add(&s, "c realm_host_load_model_by_name $0 4");
    script_add(&s, "c realm_host_load_model_by_name $0 4");
    script_add(&s, "c realm_get_model_info 1 $64 $72");
    expect_answer(&s, &rules, "1\n1\n0\n");
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        char chat[128];
        snprintf(chat, sizeof(chat), "{\"model\":\"%s\",\"messages\":[]}", others[i]);
        script_init(&s);
        script_add(&s, "s $0 %s", others[i]);
        script_add(&s, "c realm_host_load_model_by_name $0 %zu", strlen(others[i]));
        script_add(&s, "e");
        snprintf(chat, sizeof(chat), "{\"model\":\"%s\",\"prompt\":\"x\"}", others[i]);
        script_add(&s, "s $128 %s", chat);
        script_add(&s, "c realm_generate_start $128 %zu", strlen(chat));
        script_add(&s, "e");
        expect_answer(&s, &rules, "-5\nno model has this name\n-5\nno model has this name\n");
    }
}

/* An id is no way around a list that was changed since. */
static void an_id_is_looked_up_each_time(void **state)
{
    struct rules rules = {.forbidden = true};
    struct script s;
    (void)state;
    script_init(&s);
    script_add(&s, "c realm_get_model_info 1 $64 $72");
    script_add(&s, "e");
    expect_answer(&s, &rules, "-11\nno model has this name\n");
}

/* What is wrong with the operator's files is told without where they lie. */
static void a_file_that_is_damaged_has_no_path(void **state)
{
    struct rules rules = {0};
    struct script s;
    struct reply reply;
    char path[512];
    (void)state;
    snprintf(path, sizeof(path), "%s/damaged.gguf", world.dir);
    FILE *file = fopen(path, "wb");
    assert_true(file && fputs("GGUF", file) >= 0 && fclose(file) == 0);
    script_init(&s);
    script_add(&s, "s $0 damaged");
    script_add(&s, "c realm_host_load_model_by_name $0 7");
    script_add(&s, "e");
    run(&s, &rules, &reply);
    assert_int_equal(reply.status, 0);
    assert_non_null(strstr(reply.result.text, "the model damaged cannot be opened"));
    assert_null(strstr(reply.result.text, "/"));
    reply_free(&reply);
}

/* ---- tokens ---- */

/* A completion of so many tokens, which becomes @V. */
static void add_start(struct script *s, unsigned tokens, int v)
{
    char body[128];
    snprintf(body, sizeof(body), "{\"prompt\":\"Once\",\"temperature\":0,\"max_tokens\":%u}",
             tokens);
    script_add(s, "s $0 %s", body);
    script_add(s, "c realm_generate_start $0 %zu", strlen(body));
    script_add(s, "v %d", v);
}

/* GenOptions at $512: so many tokens, greedy; the prompt at $600. */
static void add_generate(struct script *s, unsigned tokens)
{
    script_add(s, "a $512 %u", tokens);
    script_add(s, "w $516 000000000000803f00000000");
    script_add(s, "w $528 0000803f000000000000000000000000");
    script_add(s, "s $600 Once");
    script_add(s, "c realm_host_generate 0 $600 4 $512 $1024 60000");
}

static void tokens_are_reserved_before_they_are_computed(void **state)
{
    struct rules rules = {0};
    struct script s;
    struct reply reply;
    (void)state;
    script_init(&s);
    add_generate(&s, 40);
    run(&s, &rules, &reply);
    assert_int_equal(reply.status, 0);
    const uint32_t prompt = reply.result.prompt_tokens;
    assert_true(prompt > 0);
    assert_int_equal(reply.result.completion_tokens, 40);
    assert_int_equal(rules.asked, 1);
    assert_int_equal(rules.granted, prompt + 40);
    reply_free(&reply);
    /* Longer ones in slices; what the first left over serves the second. */
    rules = (struct rules){0};
    script_init(&s);
    add_generate(&s, SLICE + 100);
    add_generate(&s, 10);
    run(&s, &rules, &reply);
    assert_int_equal(reply.status, 0);
    assert_int_equal(reply.result.prompt_tokens, 2 * prompt);
    assert_int_equal(reply.result.completion_tokens, SLICE + 110);
    assert_int_equal(rules.asked, 3);
    assert_int_equal(rules.granted, 2 * prompt + SLICE + 110);
    reply_free(&reply);
}

static void a_refusal_is_the_guests_to_handle(void **state)
{
    struct rules rules = {.budget = 30};
    struct script s;
    struct reply reply;
    (void)state;
    script_init(&s);
    add_generate(&s, 40);
    script_add(&s, "e");
    add_generate(&s, 5);
    run(&s, &rules, &reply);
    assert_int_equal(reply.status, 0);
    assert_memory_equal(reply.result.text, "-12\nthe budget of 30 tokens is spent\n", 37);
    assert_int_equal(reply.result.completion_tokens, 5); // the smaller wish was fulfilled
    assert_false(reply.result.refused);
    reply_free(&reply);
    /* One that gives up did so for this. */
    rules = (struct rules){.budget = 1};
    script_init(&s);
    add_generate(&s, 40);
    script_add(&s, "0");
    run(&s, &rules, &reply);
    assert_int_equal(reply.status, REALM_E_GUEST);
    assert_true(reply.result.refused);
    assert_int_equal(reply.result.prompt_tokens, 0);
    assert_non_null(strstr(reply.err.message, "the budget of 1 tokens is spent"));
    reply_free(&reply);
}

static void an_answer_ends_where_the_budget_does(void **state)
{
    struct rules rules = {.budget = SLICE + 50};
    struct script s;
    struct reply reply;
    (void)state;
    script_init(&s);
    add_generate(&s, 600);
    script_add(&s, "e");
    run(&s, &rules, &reply);
    assert_int_equal(reply.status, 0);
    assert_string_equal(reply.result.text, "-12\nthe budget of 306 tokens is spent\n");
    assert_int_equal(reply.result.completion_tokens, SLICE);
    reply_free(&reply);
}

/* As a client's answer is not: what it takes is owed, and the next one waits. */
static void a_rate_does_not_break_off_an_answer(void **state)
{
    struct rules rules = {.rate = SLICE + 50};
    struct script s;
    struct reply reply;
    (void)state;
    script_init(&s);
    add_generate(&s, SLICE + 100);
    add_generate(&s, 5);
    script_add(&s, "e");
    run(&s, &rules, &reply);
    assert_int_equal(reply.status, 0);
    assert_int_equal(reply.result.completion_tokens, SLICE + 100);
    assert_non_null(strstr(reply.result.text, "\n-12\ntoo many tokens\n"));
    reply_free(&reply);
}

/* By whichever call it asks, and whatever it asks for. */
static void no_answer_is_longer_than_its_cap(void **state)
{
    static const char chat[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}";
    struct rules rules = {.cap = 12};
    struct script s;
    struct reply reply;
    (void)state;
    script_init(&s);
    add_generate(&s, 40);
    add_generate(&s, 7);
    script_add(&s, "s $128 %s", chat);
    script_add(&s, "c realm_chat $128 %zu $1024 60000", sizeof(chat) - 1);
    script_add(&s, "z $1024");
    run(&s, &rules, &reply);
    assert_int_equal(reply.status, 0);
    assert_int_equal(reply.result.completion_tokens, 12 + 7 + 12);
    assert_non_null(strstr(reply.result.text, "\"finish_reason\":\"length\""));
    reply_free(&reply);
}

/* One that is started and not read is held to its budget while the guest does something else. */
static void what_nobody_reads_is_reserved_for_too(void **state)
{
    struct rules rules = {.budget = 2 * SLICE + 50};
    struct script s;
    struct reply reply;
    (void)state;
    script_init(&s);
    add_start(&s, 900, 1);
    script_add(&s, "l");
    run(&s, &rules, &reply);
    assert_int_equal(reply.status, REALM_E_LIMIT);
    assert_true(reply.result.completion_tokens <= 2 * SLICE);
    assert_true(reply.result.prompt_tokens + reply.result.completion_tokens <= rules.granted);
    reply_free(&reply);
}

/* Read late, it is whole. */
static void what_was_taken_for_the_guest_is_not_lost(void **state)
{
    struct rules rules = {0};
    struct script s;
    struct reply reply;
    (void)state;
    script_init(&s);
    add_generate(&s, 200);
    script_add(&s, "z $1024");
    run(&s, &rules, &reply);
    assert_int_equal(reply.status, 0);
    char *wanted = mem_strdup(strchr(reply.result.text, '\n') + 1);
    wanted[strlen(wanted) - 1] = '\0';
    reply_free(&reply);
    rules = (struct rules){0};
    script_init(&s);
    add_start(&s, 200, 1);
    add_generate(&s, 200); // meanwhile the first is taken
    script_add(&s, "f $1024 60000 0");
    script_add(&s, "c realm_generate_next @1 $1024 50000");
    script_add(&s, "z $1024");
    script_add(&s, "c realm_generate_next @1 $1024 50000");
    run(&s, &rules, &reply);
    assert_int_equal(reply.status, 0);
    assert_true(strlen(wanted) > 100);
    assert_non_null(strstr(reply.result.text, wanted));
    assert_int_equal(reply.result.completion_tokens, 400);
    reply_free(&reply);
    mem_free(wanted);
}

/* ---- what is counted ---- */

/* W10: tokens so far are in the row of what traps. */
static void usage_is_exact_however_it_ends(void **state)
{
    static const char *const ends[] = {"t", "0"};
    struct wasm_tenant_stats before, after;
    struct script s;
    struct reply reply;
    (void)state;
    wasm_tenant_stats(world.tenants[0], &before);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct rules rules = {0};
        const struct realm_stats was = world_stats(&world);
        script_init(&s);
        add_generate(&s, 7);
        add_generate(&s, 9);
        add_start(&s, 900, 1); // still running
        script_add(&s, "%s", ends[i]);
        run(&s, &rules, &reply);
        assert_int_equal(reply.status, REALM_E_GUEST);
        const struct realm_stats is = world_stats(&world);
        assert_int_equal(reply.result.prompt_tokens, is.prompt_tokens - was.prompt_tokens);
        assert_int_equal(reply.result.completion_tokens,
                         is.completion_tokens - was.completion_tokens);
        assert_true(reply.result.completion_tokens >= 16);
        assert_true(reply.result.prompt_tokens + reply.result.completion_tokens <= rules.granted);
        reply_free(&reply);
    }
    wasm_tenant_stats(world.tenants[0], &after);
    assert_int_equal(after.requests - before.requests, 2);
    assert_int_equal(after.trapped - before.trapped, 2);
    assert_int_equal(after.running, 0);
    assert_true(after.own_ns > before.own_ns);
}

/* No more than once a second, and never too much. */
static void what_was_used_is_told_meanwhile(void **state)
{
    struct rules rules = {.slow = true};
    struct script s;
    struct reply reply;
    (void)state;
    script_init(&s);
    add_generate(&s, 900);
    const uint64_t start = now_ns();
    run(&s, &rules, &reply);
    const uint64_t ns = now_ns() - start;
    assert_int_equal(reply.status, 0);
    assert_in_range(rules.told, 2, 1 + ns / 1000000000);
    assert_true(rules.told_drawn > 0 && rules.told_prompt > 0);
    assert_true(rules.told_drawn <= reply.result.completion_tokens);
    assert_true(rules.told_prompt <= reply.result.prompt_tokens);
    reply_free(&reply);
}

static void add_completion(struct script *s, const char *model, unsigned tokens)
{
    char ask[128];
    snprintf(ask, sizeof(ask), "{\"model\":\"%s\",\"prompt\":\"x\",\"max_tokens\":%u}", model,
             tokens);
    script_add(s, "s $128 %s", ask);
    script_add(s, "c realm_generate_start $128 %zu", strlen(ask));
}

static void assert_use(const struct wasm_result *r, size_t at, const char *model, uint32_t tokens)
{
    assert_true(at < r->n_uses);
    assert_string_equal(r->uses[at].model, model);
    assert_int_equal(r->uses[at].completion_tokens, tokens);
    assert_int_equal(r->uses[at].prompt_tokens > 0, tokens > 0);
}

/* By what a model is, whichever of its names the guest says, and however it calls it. */
static void what_was_used_is_told_by_model(void **state)
{
    struct rules rules = {0};
    struct script s;
    struct reply reply;
    (void)state;
    script_init(&s);
    add_completion(&s, "mine", 7);
    script_add(&s, "c realm_generate_next 16 $1024 200"); // waits until it has begun
    add_generate(&s, 5);
    add_generate(&s, 6);
    add_completion(&s, "also_mine", 1);
    script_add(&s, "c realm_generate_next 17 $1024 200");
    run(&s, &rules, &reply);
    assert_int_equal(reply.status, 0);
    const struct wasm_result *r = &reply.result;
    assert_int_equal(r->n_uses, 2);
    assert_use(r, 0, "own", 11);
    assert_string_equal(r->uses[1].model, "mine");
    assert_true(r->uses[1].completion_tokens >= 2 && r->uses[1].prompt_tokens > 0);
    assert_int_equal(r->uses[0].prompt_tokens + r->uses[1].prompt_tokens, r->prompt_tokens);
    assert_int_equal(r->uses[0].completion_tokens + r->uses[1].completion_tokens,
                     r->completion_tokens);
    reply_free(&reply);
}

static void models_of_a_request_have_an_end(void **state)
{
    struct rules rules = {0};
    struct script s;
    struct reply reply;
    (void)state;
    script_init(&s);
    for (int i = 1; i <= REQUEST_MODELS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof(name), "copy%d", i);
        add_completion(&s, name, 1);
    }
    script_add(&s, "e");
    add_generate(&s, 2);
    run(&s, &rules, &reply);
    assert_int_equal(reply.status, 0);
    const char *end = strstr(reply.result.text, "-12\none request can use 8 models\n");
    assert_non_null(end);
    assert_int_equal(reply.result.n_uses, REQUEST_MODELS_MAX);
    assert_use(&reply.result, 0, "own", 2);
    assert_string_equal(reply.result.uses[7].model, "copy7");
    reply_free(&reply);
}

static void how_it_failed_is_in_the_tenants_lines(void **state)
{
    struct rules rules = {0};
    struct script s;
    struct reply reply;
    (void)state;
    script_init(&s);
    script_add(&s, "d");
    run(&s, &rules, &reply);
    assert_int_equal(reply.status, REALM_E_LIMIT);
    json_t *log = wasm_tenant_log(world.tenants[0]);
    const json_t *lines = json_object_get(log, "lines");
    const json_t *last = json_array_get(lines, json_array_size(lines) - 1);
    assert_string_equal(json_string_value(json_object_get(last, "from")), "host");
    assert_string_equal(json_string_value(json_object_get(last, "text")), reply.err.message);
    json_decref(log);
    reply_free(&reply);
}

static int open_all(void **state)
{
    static const struct wasm_limits limits = {.own_ms = OWN_MS};
    *state = &world;
    world_open_endless(&world, NULL, &limits);
    world_people(&world, "script", 1);
    return 0;
}

int e2e_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_the_tenants),
        cmocka_unit_test(an_id_is_looked_up_each_time),
        cmocka_unit_test(a_file_that_is_damaged_has_no_path),
        cmocka_unit_test(tokens_are_reserved_before_they_are_computed),
        cmocka_unit_test(a_refusal_is_the_guests_to_handle),
        cmocka_unit_test(an_answer_ends_where_the_budget_does),
        cmocka_unit_test(a_rate_does_not_break_off_an_answer),
        cmocka_unit_test(no_answer_is_longer_than_its_cap),
        cmocka_unit_test(what_nobody_reads_is_reserved_for_too),
        cmocka_unit_test(what_was_taken_for_the_guest_is_not_lost),
        cmocka_unit_test(usage_is_exact_however_it_ends),
        cmocka_unit_test(what_was_used_is_told_meanwhile),
        cmocka_unit_test(what_was_used_is_told_by_model),
        cmocka_unit_test(models_of_a_request_have_an_end),
        cmocka_unit_test(how_it_failed_is_in_the_tenants_lines),
    };
    return cmocka_run_group_tests(tests, open_all, world_teardown);
}
