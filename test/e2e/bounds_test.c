/* Ranges of a guest's memory that are wrong, too small or in each other's way, in
 * every argument of every import; ids and handles that are not the guest's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "util.h"

static struct world world;

static const char chat[] =
    "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"max_tokens\":9,\"temperature\":0}";
static const char prompt[] = "Once upon a time";

/* What every script here finds in memory: at $0 options (greedy, 12 tokens), at
 * $1024 the prompt, at $2048 a chat request, at $3072 the prompt's ids, at $4096
 * room. */
static void prepare(struct script *s)
{
    const struct gen_options o = {
        .max_tokens = 12, .top_p = 1, .repetition_penalty = 1.1f, .seed = 1};
    script_init(s);
    script_hex(s, "$0", &o, sizeof(o));
    script_add(s, "s $1024 %s", prompt);
    script_add(s, "s $2048 %s", chat);
    script_add(s, "c realm_encode_tokens M $1024 %zu $3072 64", strlen(prompt));
    script_add(s, "v 0"); // how many ids
}

/* The script's answer without its first line, that of prepare. */
static char *run(struct script *s)
{
    char *text = script_run(s, world.guest, world.tenants[0], world.model);
    char *rest = strchr(text, '\n') + 1;
    memmove(text, rest, strlen(rest) + 1);
    script_free(s);
    return text;
}

static long run_number(struct script *s)
{
    char *text = run(s);
    long n = strtol(text, NULL, 10);
    mem_free(text);
    return n;
}

/* ---- ranges out of bounds ---- */

/* A call with one range in question, "%s" its place and "%s" its length. */
struct range {
    const char *call;
    int code;  /* when it is out of bounds */
    int empty; /* when its length is 0, which is no fault; or the least of it */
};

static const struct range ranges[] = {
    {"realm_host_generate M %s %s $0 $4096 8192", -3, -9},
    {"realm_host_generate M $1024 16 $0 %s %s", -6, -5},
    {"realm_host_load_model_by_name %s %s", -3, -5},
    {"realm_store_model %s %s 0", -3, -10},
    {"realm_get_model_metadata M %s %s", -6, -5},
    {"realm_encode_tokens M %s %s $4096 64", -3, 0},
    {"realm_decode_tokens M $3072 @0 %s %s", -6, -5},
    {"realm_stream_token %s %s", -3, 0},
    {"realm_chat %s %s $4096 8192", -3, -2},
    {"realm_chat $2048 76 %s %s", -6, -5},
    {"realm_generate_start %s %s", -3, -2},
    {"realm_last_error %s %s", -6, 0},
};

static long call_range(const struct range *r, const char *at, const char *length)
{
    struct script s;
    char call[256];
    const char *first = strstr(r->call, "%s"), *second = strstr(first + 2, "%s");
    snprintf(call, sizeof(call), "c %.*s%s%.*s%s%s", (int)(first - r->call), r->call, at,
             (int)(second - first - 2), first + 2, length, second + 2);
    prepare(&s);
    script_add(&s, "%s", call);
    return run_number(&s);
}

/* W01: pointers and lengths that leave the memory, at each import. */
static void ranges_out_of_bounds_have_their_code(void **state)
{
    static const char *const bad[][2] = {
        {"0xffffffff", "1"},          {"^1", "2"},          {"^0", "1"},
        {"0", "0xffffffff"},          {"0xfffffff0", "32"}, {"^16", "0x7fffffff"},
        {"0x80000000", "0x80000000"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
        for (size_t j = 0; j < ARRAY_LEN(bad); j++) {
            long code = call_range(&ranges[i], bad[j][0], bad[j][1]);
            if (code != ranges[i].code)
                fail_msg("%s with %s %s: %ld", ranges[i].call, bad[j][0], bad[j][1], code);
        }
}

/* W01: no bytes are nowhere. */
static void an_empty_range_is_nowhere(void **state)
{
    static const char *const places[] = {"0", "^0", "0xffffffff", "$4096"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
        for (size_t j = 0; j < ARRAY_LEN(places); j++) {
            long code = call_range(&ranges[i], places[j], "0");
            if (code != ranges[i].empty)
                fail_msg("%s with nothing at %s: %ld", ranges[i].call, places[j], code);
        }
}

/* W02, W12: places that are no range: their size is known. */
static void places_and_counts_of_items(void **state)
{
    static const struct {
        const char *call;
        int code;
    } cases[] = {
        {"realm_get_model_info M ^3 $4096", -6},
        {"realm_get_model_info M $4096 ^7", -6},
        {"realm_get_model_info M 0xffffffff 0xffffffff", -6},
        {"realm_get_model_info M ^4 ^8", 0},
        {"realm_encode_tokens M $1024 16 ^63 16", -6},
        {"realm_encode_tokens M $1024 16 $4096 0x40000001", -6},
        {"realm_encode_tokens M $1024 16 $4096 0xffffffff", -6},
        {"realm_decode_tokens M ^7 2 $4096 64", -3},
        {"realm_decode_tokens M $3072 0x40000000 $4096 64", -2},
        {"realm_decode_tokens M $3072 0xffffffff $4096 64", -2},
        {"realm_decode_tokens M 0xffffffff 1 $4096 64", -3},
        {"realm_decode_tokens M 0xffffffff 0 $4096 64", 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct script s;
        prepare(&s);
        script_add(&s, "c %s", cases[i].call);
        long code = run_number(&s);
        if (code != cases[i].code)
            fail_msg("%s: %ld", cases[i].call, code);
    }
}

/* W04: the memory's size is that of the moment: what was beyond its end is within it
 * once it has grown. */
static void a_memory_that_grew_is_larger(void **state)
{
    struct script s;
    (void)state;
    prepare(&s);
    script_add(&s, "c realm_get_model_metadata M ^0 1000");
    script_add(&s, "m 1");
    script_add(&s, "c realm_get_model_metadata M ^65536 1000");
    char *text = run(&s), *rest;
    assert_int_equal(strtol(text, &rest, 10), -6);
    assert_true(strtol(rest, &rest, 10) > 0);
    assert_in_range(strtol(rest, &rest, 10), 100, 1000);
    mem_free(text);
}

/* ---- room that is too small ---- */

/* A call whose answer has a size: at $8192, with "%ld" the room for it. */
struct sized {
    const char *call;
    int unit; /* bytes of what is counted */
};

static const struct sized sized[] = {
    {"realm_host_generate M $1024 16 $0 $8192 %ld", 1},
    {"realm_get_model_metadata M $8192 %ld", 1},
    {"realm_encode_tokens M $1024 16 $8192 %ld", 4},
    {"realm_decode_tokens M $3072 @0 $8192 %ld", 1},
    {"realm_chat $2048 76 $8192 %ld", 1},
};

/* Calls with that room between canaries; text is all it said, for mem_free. */
static long call_sized(const struct sized *c, long room, char **text)
{
    struct script s;
    char call[256];
    const char *at = strstr(c->call, "%ld");
    snprintf(call, sizeof(call), "c %.*s%ld%s", (int)(at - c->call), c->call, room, at + 3);
    prepare(&s);
    script_add(&s, "f $8192 8192 0xa5");
    script_add(&s, "%s", call);
    script_add(&s, "x $8192 8192");
    script_add(&s, "e");
    *text = run(&s);
    return strtol(*text, NULL, 10);
}

/* Whether the bytes from `from` on are canaries. */
static bool untouched(const char *text, long from)
{
    const char *hex = strchr(text, '\n') + 1;
    for (long i = from; i < 8192; i++)
        if (memcmp(hex + 2 * i, "a5", 2) != 0)
            return false;
    return true;
}

/* W03: too little room, by one byte and by all. */
static void what_does_not_fit_is_not_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sized); i++) {
        char *text, number[32];
        const long n = call_sized(&sized[i], 1024, &text);
        if (n <= 1 || !untouched(text, n * sized[i].unit))
            fail_msg("%s: %ld", sized[i].call, n);
        mem_free(text);
        const long rooms[] = {0, 1, n / 2, n - 1};
        for (size_t j = 0; j < ARRAY_LEN(rooms); j++) {
            long code = call_sized(&sized[i], rooms[j], &text);
            snprintf(number, sizeof(number), " %ld ", n);
            const char *sentence = strchr(strchr(text, '\n') + 1, '\n');
            if (code != -5 || !untouched(text, 0) || !strstr(sentence, number))
                fail_msg("%s with room for %ld: %ld, %s", sized[i].call, rooms[j], code, sentence);
            mem_free(text);
        }
        assert_int_equal(call_sized(&sized[i], n, &text), n);
        assert_true(untouched(text, n * sized[i].unit));
        mem_free(text);
    }
}

/* W03: pieces of any room make up the same text, each whole UTF-8. */
static void pieces_are_whole(void **state)
{
    static const int rooms[] = {4, 5, 7, 100};
    char *first = NULL;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
        struct script s;
        char whole[8192];
        size_t bytes = 0;
        prepare(&s);
        script_add(&s, "c realm_generate_start $2048 %zu", strlen(chat));
        script_add(&s, "v 1");
        for (int piece = 0; piece < 40; piece++) {
            script_add(&s, "f $8192 128 0");
            script_add(&s, "c realm_generate_next @1 $8192 %d", rooms[i]);
            script_add(&s, "z $8192");
        }
        char *text = run(&s), *at = strchr(text, '\n') + 1;
        for (int piece = 0; piece < 40; piece++) {
            long n = strtol(at, &at, 10);
            assert_in_range(n, 0, rooms[i]);
            memcpy(whole + bytes, at + 1, (size_t)n);
            bytes += (size_t)n;
            at += 1 + n;
        }
        whole[bytes] = '\0';
        if (!first)
            first = mem_strdup(whole);
        assert_string_equal(whole, first);
        mem_free(text);
    }
    mem_free(first);
}

/* ---- ranges in each other's way: in is read before out is written ---- */

static char *answer_at(const char *call, const char *out)
{
    struct script s;
    prepare(&s);
    script_add(&s, "c %s", call);
    script_add(&s, "x %s %s", out, strstr(call, "encode") ? "8" : "%"); // ids, or bytes
    return run(&s);
}

/* W03: output over input. */
static void output_may_lie_on_input(void **state)
{
    static const struct {
        const char *apart, *apart_out, *over, *over_out;
    } cases[] = {
        {"realm_host_generate M $1024 16 $0 $8192 4096", "$8192",
         "realm_host_generate M $1024 16 $0 $1024 4096", "$1024"},
        {"realm_host_generate M $1024 16 $0 $8192 4096", "$8192",
         "realm_host_generate M $1024 16 $0 $1029 4096", "$1029"},
        {"realm_host_generate M $1024 16 $0 $8192 4096", "$8192",
         "realm_host_generate M $1024 16 $0 $0 2000", "$0"},
        {"realm_chat $2048 76 $8192 4096", "$8192", "realm_chat $2048 76 $2040 1000", "$2040"},
        {"realm_decode_tokens M $3072 @0 $8192 64", "$8192",
         "realm_decode_tokens M $3072 @0 $3072 64", "$3072"},
        {"realm_decode_tokens M $3072 @0 $8192 64", "$8192",
         "realm_decode_tokens M $3072 @0 $3075 64", "$3075"},
        {"realm_encode_tokens M $1024 16 $8192 64", "$8192",
         "realm_encode_tokens M $1024 16 $1026 64", "$1026"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *apart = answer_at(cases[i].apart, cases[i].apart_out);
        char *over = answer_at(cases[i].over, cases[i].over_out);
        /* An answer's id and time differ, its text does not. */
        static const char content[] = "22636f6e74656e7422";
        char *a = strstr(apart, content), *b = strstr(over, content);
        assert_string_equal(a ? a : apart, b ? b : over);
        assert_true(strtol(apart, NULL, 10) > 0);
        mem_free(apart);
        mem_free(over);
    }
}

/* ---- what belongs to others ---- */

static char *sentence_about(struct wasm_tenant *who, const char *id)
{
    struct script s;
    script_init(&s);
    script_add(&s, "c realm_get_model_metadata %s $0 1000", id);
    script_add(&s, "e");
    char *text = script_run(&s, world.guest, who, world.model);
    script_free(&s);
    return text;
}

/* W09, A03: names and ids of another tenant. */
static void another_tenants_model_is_no_model(void **state)
{
    static const char *const forged[] = {"-1", "0x7fffffff", "0x80000000", "99"};
    struct script s;
    (void)state;
    struct wasm_tenant *other = world_tenant(&world, "other");
    script_init(&s);
    script_add(&s, "s $0 tiny-q8_0");
    script_add(&s, "c realm_host_load_model_by_name $0 9");
    char *text = script_run(&s, world.guest, other, world.model);
    script_free(&s);
    const long id = strtol(text, NULL, 10);
    assert_true(id > 0);
    mem_free(text);

    char place[16];
    snprintf(place, sizeof(place), "%ld", id);
    text = sentence_about(other, place);
    assert_true(strtol(text, NULL, 10) > 0);
    mem_free(text);
    /* Theirs and one that never was differ in the number alone. */
    char *theirs = sentence_about(world.tenants[0], place),
         *never = sentence_about(world.tenants[0], "88");
    char *number = strstr(theirs, place), *nobody = strstr(never, "88");
    assert_int_equal(strtol(theirs, NULL, 10), -5);
    assert_int_equal(strtol(never, NULL, 10), -5);
    assert_non_null(number);
    assert_non_null(nobody);
    assert_int_equal(number - theirs, nobody - never);
    assert_string_equal(number + strlen(place), nobody + 2);
    mem_free(theirs);
    mem_free(never);
    for (size_t i = 0; i < ARRAY_LEN(forged); i++) {
        text = sentence_about(world.tenants[0], forged[i]);
        assert_int_equal(strtol(text, NULL, 10), -5);
        mem_free(text);
    }
    wasm_tenant_close(other);
}

/* W09: a handle is of one instance: the next request's guest does not have it, although
 * it has the same tenant. */
static void a_handle_ends_with_its_instance(void **state)
{
    static const char *const forged[] = {"0", "-1", "16", "0x80000001", "0x7fffffff"};
    struct script s;
    (void)state;
    prepare(&s);
    script_add(&s, "c realm_generate_start $2048 %zu", strlen(chat));
    const long handle = run_number(&s);
    assert_true(handle > 0);
    for (size_t i = 0; i <= ARRAY_LEN(forged); i++) {
        prepare(&s);
        if (i < ARRAY_LEN(forged))
            script_add(&s, "c realm_generate_next %s $8192 64", forged[i]);
        else
            script_add(&s, "c realm_generate_next %ld $8192 64", handle);
        assert_int_equal(run_number(&s), -2);
    }
    assert_int_equal(world_stats(&world).running, 0);
}

static int open_all(void **state)
{
    static char models_dir[512];
    const char *slash = strrchr(tiny_path, '/');
    *state = &world;
    snprintf(models_dir, sizeof(models_dir), "%.*s", slash ? (int)(slash - tiny_path) : 1,
             slash ? tiny_path : ".");
    const struct realm_options options = {.models_dir = models_dir};
    world_open(&world, &options, NULL, tiny_path);
    world_people(&world, "script", 1);
    return 0;
}

int e2e_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_out_of_bounds_have_their_code),
        cmocka_unit_test(an_empty_range_is_nowhere),
        cmocka_unit_test(places_and_counts_of_items),
        cmocka_unit_test(a_memory_that_grew_is_larger),
        cmocka_unit_test(what_does_not_fit_is_not_written),
        cmocka_unit_test(pieces_are_whole),
        cmocka_unit_test(output_may_lie_on_input),
        cmocka_unit_test(another_tenants_model_is_no_model),
        cmocka_unit_test(a_handle_ends_with_its_instance),
    };
    return cmocka_run_group_tests(tests, open_all, world_teardown);
}
