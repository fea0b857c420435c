/* What a guest asks for in GenOptions is what it gets. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "util.h"

static struct world world;

static const char story[] = "Once upon a time";

enum { IDS_MAX = 64 };

/* What came of one realm_host_generate. */
struct made {
    long code;
    char text[8192];
    uint32_t tokens; /* drawn */
    char why[512];   /* the host's sentence */
};

static struct gen_options greedy(uint32_t max_tokens)
{
    return (struct gen_options){
        .max_tokens = max_tokens, .top_p = 1, .repetition_penalty = 1, .seed = 1};
}

static struct gen_options drawn(uint32_t max_tokens, float temperature, uint32_t seed)
{
    struct gen_options o = greedy(max_tokens);
    o.temperature = temperature;
    o.seed = seed;
    return o;
}

static void read_made(const struct reply *reply, struct made *out)
{
    char *text = mem_strndup(reply->result.text, reply->result.bytes), *rest;
    out->code = strtol(text, &rest, 10);
    char *end = strrchr(text, '|');
    assert_true(*rest == '\n' && end && end - rest > 1 && end[-1] == '\n');
    snprintf(out->why, sizeof(out->why), "%s", end + 1);
    end[-1] = '\0';
    snprintf(out->text, sizeof(out->text), "%s", rest + 1);
    mem_free(text);
    out->tokens = reply->result.completion_tokens;
}

/* A generation from the options at `at`, with memory prepared by s; frees s. */
static void generate_at(struct script *s, const char *at, struct realm_model *m, const char *prompt,
                        struct made *out)
{
    struct reply reply;
    script_add(s, "s $4096 %s", prompt);
    script_add(s, "c realm_host_generate M $4096 %zu %s $16384 65536", strlen(prompt), at);
    script_add(s, "z $16384");
    script_add(s, "s $8192 |"); // a mark, then the sentence
    script_add(s, "p $8192 1");
    script_add(s, "e");
    script_ask(s, world.guest, world.tenants[0], m, &reply);
    if (reply.status)
        fail_msg("%s", reply.err.message);
    read_made(&reply, out);
    reply_free(&reply);
    script_free(s);
}

static void generate_stops(const struct gen_options *o, const uint32_t *stops, size_t n_stops,
                           struct made *out)
{
    struct script s;
    script_init(&s);
    script_hex(&s, "$64", o, sizeof(*o));
    if (n_stops) {
        script_hex(&s, "$256", stops, n_stops * sizeof(*stops));
        script_add(&s, "a $92 $256"); // stop_tokens_ptr
    }
    generate_at(&s, "$64", world.model, story, out);
}

static void generate(const struct gen_options *o, struct made *out)
{
    generate_stops(o, NULL, 0, out);
}

/* Without options: options_ptr is 0. */
static void generate_default(struct realm_model *m, struct made *out)
{
    struct script s;
    script_init(&s);
    generate_at(&s, "0", m, story, out);
}

/* The ids of a greedy answer, from the engine itself. */
static size_t greedy_ids(uint32_t ids[IDS_MAX], char text[8192])
{
    struct realm_request request;
    struct realm_gen *g;
    struct realm_event e;
    size_t n = 0, bytes = 0;
    realm_request_init(&request, REALM_DOOR_GUEST);
    request.text = story;
    request.text_bytes = strlen(story);
    request.text_flags = REALM_TEXT_BOS;
    request.sampling.temperature = 0;
    request.sampling.repetition_penalty = 1;
    request.sampling.top_k = 0;
    request.sampling.top_p = 1;
    request.sampling.max_tokens = 24;
    assert_int_equal(realm_gen_start(&g, world.model, &request, NULL), 0);
    do {
        assert_int_equal(realm_gen_next(g, &e, NULL), 0);
        assert_true(bytes + e.text_bytes < 8192);
        memcpy(text + bytes, e.text, e.text_bytes);
        bytes += e.text_bytes;
        if (e.kind == REALM_EVENT_TOKEN)
            ids[n++] = e.token;
    } while (e.kind != REALM_EVENT_END);
    text[bytes] = '\0';
    realm_gen_close(g);
    return n;
}

static void temperature_0_repeats_itself(void **state)
{
    struct made a, b;
    uint32_t ids[IDS_MAX];
    char text[8192];
    (void)state;
    struct gen_options o = greedy(24);
    generate(&o, &a);
    o.seed = 77;
    generate(&o, &b);
    assert_true(a.code > 1);
    assert_int_equal(a.code, strlen(a.text) + 1);
    assert_string_equal(a.text, b.text);
    assert_int_equal(a.tokens, greedy_ids(ids, text));
    assert_string_equal(a.text, text);
}

static void a_seed_decides(void **state)
{
    enum { SEEDS = 8 };
    static struct made first[SEEDS], again;
    unsigned distinct = 0;
    (void)state;
    for (uint32_t i = 0; i < SEEDS; i++) {
        struct gen_options o = drawn(24, 1, i + 1);
        generate(&o, &first[i]);
        generate(&o, &again);
        assert_string_equal(first[i].text, again.text);
        bool seen = false;
        for (uint32_t j = 0; j < i; j++)
            seen |= strcmp(first[j].text, first[i].text) == 0;
        distinct += !seen;
    }
    assert_in_range(distinct, SEEDS / 2, SEEDS);
}

static void seed_0_draws_a_fresh_one(void **state)
{
    enum { TRIES = 6 };
    static struct made first, again;
    unsigned same = 0;
    (void)state;
    struct gen_options o = drawn(40, 2, 0);
    generate(&o, &first);
    for (unsigned i = 0; i < TRIES; i++) {
        generate(&o, &again);
        same += strcmp(first.text, again.text) == 0;
    }
    assert_true(same < TRIES);
}

static void max_tokens_bites(void **state)
{
    struct made whole, cut;
    (void)state;
    struct gen_options o = greedy(20);
    generate(&o, &whole);
    assert_in_range(whole.tokens, 6, 20);
    for (uint32_t n = 1; n <= 5; n += 2) {
        o.max_tokens = n;
        generate(&o, &cut);
        assert_int_equal(cut.tokens, n);
        assert_true(strlen(cut.text) < strlen(whole.text));
        assert_memory_equal(cut.text, whole.text, strlen(cut.text));
    }
}

/* Whatever the seed and however hot. */
static void top_k_1_and_a_small_top_p_are_greedy(void **state)
{
    struct made want, got;
    (void)state;
    struct gen_options o = greedy(24);
    generate(&o, &want);
    for (uint32_t seed = 1; seed <= 3; seed++) {
        struct gen_options k = drawn(24, 5, seed), p = k;
        k.top_k = 1;
        generate(&k, &got);
        assert_string_equal(got.text, want.text);
        p.top_p = 1e-9f;
        generate(&p, &got);
        assert_string_equal(got.text, want.text);
    }
    struct gen_options hot = drawn(24, 5, 1);
    generate(&hot, &got);
    assert_string_not_equal(got.text, want.text);
}

static void stop_tokens_end_it(void **state)
{
    struct made whole, got;
    uint32_t ids[IDS_MAX], stops[255];
    char text[8192];
    (void)state;
    size_t n = greedy_ids(ids, text), at = 3;
    struct gen_options o = greedy(24);
    generate(&o, &whole);
    for (size_t i = 0; i < at; i++)
        assert_int_not_equal(ids[i], ids[at]);
    assert_true(n > at + 1);

    /* The last of 255, the others being one that is not drawn. */
    for (size_t i = 0; i < 255; i++)
        stops[i] = 0;
    stops[254] = ids[at];
    o.stop_token_count = 255;
    generate_stops(&o, stops, 255, &got);
    assert_int_equal(got.tokens, at + 1);
    assert_true(strlen(got.text) < strlen(whole.text));
    assert_memory_equal(got.text, whole.text, strlen(got.text));

    o.stop_token_count = 254;
    generate_stops(&o, stops, 255, &got);
    assert_string_equal(got.text, whole.text);
}

static void the_repetition_penalty_shows(void **state)
{
    struct made plain, punished;
    (void)state;
    struct gen_options o = greedy(24);
    generate(&o, &plain);
    o.repetition_penalty = 10;
    generate(&o, &punished);
    assert_string_not_equal(plain.text, punished.text);
}

/* No options: 512 tokens at most, seen on a model that never ends of itself, and
 * another text each time. */
static void without_options_the_defaults(void **state)
{
    static struct made a, b;
    char dir[256], path[300];
    (void)state;
    make_dir(dir);
    snprintf(path, sizeof(path), "%s/endless.gguf", dir);
    copy_endless(path);
    struct realm_model *m = world_model(&world, path);
    generate_default(m, &a);
    assert_int_equal(a.tokens, 512);
    generate_default(m, &b);
    assert_int_equal(b.tokens, 512);
    assert_string_not_equal(a.text, b.text);
    realm_model_close(m);
    remove_dir(dir);
}

/* The values that no answer shows are read where the host reads them. */
static void the_defaults_are_those_of_the_table(void **state)
{
    struct gen_wish wish;
    uint8_t bytes[64] = {0};
    const struct guest_memory memory = {bytes, sizeof(bytes)};
    (void)state;
    assert_int_equal(gen_options_read(&memory, 0, 100, &wish, NULL), 0);
    assert_int_equal(wish.sampling.max_tokens, 512);
    assert_true(wish.sampling.temperature == 0.7f && wish.sampling.top_p == 0.9f);
    assert_int_equal(wish.sampling.top_k, 40);
    assert_true(wish.sampling.repetition_penalty == 1.1f);
    assert_false(wish.sampling.has_seed);
    assert_int_equal(wish.n_stop_ids, 0);
}

/* Padding may hold anything. */
static void padding_is_not_read(void **state)
{
    struct made a, b;
    (void)state;
    struct gen_options o = greedy(8);
    generate(&o, &a);
    memset(o.padding, 0xFF, sizeof(o.padding));
    o.stop_tokens_ptr = 0xFFFFFFFF; // of no stop token
    generate(&o, &b);
    assert_int_equal(b.code, a.code);
    assert_string_equal(a.text, b.text);
}

/* A field of an otherwise good struct, and what it may not be. */
struct bad {
    const char *name; /* in the sentence */
    size_t at;
    float f;
    uint32_t u; /* where the field is no float */
};

/* W02: each field beyond each bound, and no numbers. */
static void a_field_out_of_range_is_refused(void **state)
{
#define FIELD(field) #field, offsetof(struct gen_options, field)
    static const struct bad bad[] = {
        {FIELD(max_tokens), 0, 0},
        {FIELD(temperature), -0.001f, 0},
        {FIELD(temperature), 100.5f, 0},
        {FIELD(temperature), NAN, 0},
        {FIELD(temperature), INFINITY, 0},
        {FIELD(temperature), -INFINITY, 0},
        {FIELD(top_p), 0, 0},
        {FIELD(top_p), -1, 0},
        {FIELD(top_p), 1.0001f, 0},
        {FIELD(top_p), NAN, 0},
        {FIELD(top_k), 0, 0x80000000},
        {FIELD(top_k), 0, 0xFFFFFFFF},
        {FIELD(repetition_penalty), 0, 0},
        {FIELD(repetition_penalty), -1, 0},
        {FIELD(repetition_penalty), 10.001f, 0},
        {FIELD(repetition_penalty), NAN, 0},
        {FIELD(repetition_penalty), INFINITY, 0},
    };
#undef FIELD
    struct made made;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct gen_options o = drawn(8, 1, 1);
        const void *value = bad[i].u ? (const void *)&bad[i].u : &bad[i].f;
        memcpy((char *)&o + bad[i].at, value, sizeof(uint32_t));
        generate(&o, &made);
        if (made.code != -2 || !strstr(made.why, bad[i].name))
            fail_msg("%zu: %ld, %s", i, made.code, made.why);
        assert_string_equal(made.text, "");
        assert_int_equal(made.tokens, 0);
    }
}

/* W02: options that are partly outside. */
static void options_out_of_bounds_are_refused(void **state)
{
    static const char *const places[] = {"^0",         "^1",         "^31",
                                         "0xffffffff", "0xffffffe0", "0x80000000"};
    struct made made;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        struct script s;
        script_init(&s);
        generate_at(&s, places[i], world.model, story, &made);
        assert_int_equal(made.code, -2);
    }
    /* The last place that holds them, and one that is not aligned. */
    static const char *const good[] = {"^32", "^33", "$61"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct script s;
        struct gen_options o = greedy(4);
        script_init(&s);
        script_hex(&s, good[i], &o, sizeof(o));
        generate_at(&s, good[i], world.model, story, &made);
        assert_true(made.code > 0);
        assert_int_equal(made.tokens, 4);
    }
}

static void bad_stop_tokens_are_refused(void **state)
{
    struct realm_model_info info;
    struct made made;
    (void)state;
    realm_model_info(world.model, &info);
    struct gen_options o = greedy(8);
    uint32_t beyond[2] = {5, info.vocab_size};
    o.stop_token_count = 2;
    generate_stops(&o, beyond, 2, &made);
    assert_int_equal(made.code, -2);
    beyond[1] = 0xFFFFFFFF;
    generate_stops(&o, beyond, 2, &made);
    assert_int_equal(made.code, -2);
    beyond[1] = info.vocab_size - 1;
    generate_stops(&o, beyond, 2, &made);
    assert_true(made.code > 0);

    static const uint32_t places[] = {0xFFFFFFFF, 0xFFFFFFFC, 0x80000000};
    o.stop_token_count = 255;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        o.stop_tokens_ptr = places[i];
        generate(&o, &made);
        assert_int_equal(made.code, -2);
    }
}

static int open_all(void **state)
{
    *state = &world;
    world_open(&world, NULL, NULL, tiny_path);
    world_people(&world, "script", 1);
    return 0;
}

int e2e_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(temperature_0_repeats_itself),
        cmocka_unit_test(a_seed_decides),
        cmocka_unit_test(seed_0_draws_a_fresh_one),
        cmocka_unit_test(max_tokens_bites),
        cmocka_unit_test(top_k_1_and_a_small_top_p_are_greedy),
        cmocka_unit_test(stop_tokens_end_it),
        cmocka_unit_test(the_repetition_penalty_shows),
        cmocka_unit_test(without_options_the_defaults),
        cmocka_unit_test(the_defaults_are_those_of_the_table),
        cmocka_unit_test(padding_is_not_read),
        cmocka_unit_test(a_field_out_of_range_is_refused),
        cmocka_unit_test(options_out_of_bounds_are_refused),
        cmocka_unit_test(bad_stop_tokens_are_refused),
    };
    return cmocka_run_group_tests(tests, open_all, world_teardown);
}
