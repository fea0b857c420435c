/* Models by path, by name and from memory; what an engine counts of them. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "gguf/file.h"
#include "gguf/write.h"
#include "util.h"

static char dir[] = "/tmp/realm-models-XXXXXX";

/* dir/name, in one of four buffers in turn. */
static const char *in_dir(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static void expect_open(struct realm *r, const char *path, int status)
{
    struct realm_model *m;
    struct realm_error err = {0};
    assert_int_equal(realm_model_open(&m, r, path, NULL, &err), status);
    assert_int_equal(err.status, status);
    assert_true((m == NULL) == (status != 0));
    realm_model_close(m);
}

static void expect_name(struct realm *r, const char *name, int status)
{
    struct realm_model *m;
    assert_int_equal(realm_model_open_name(&m, r, name, NULL, NULL), status);
    assert_true((m == NULL) == (status != 0));
    realm_model_close(m);
}

static void a_model_outlives_its_file(void **state)
{
    (void)state;
    struct realm *r = open_engine(&(struct realm_options){.models_dir = dir});
    copy_tiny(in_dir("a.gguf"));
    expect_open(r, in_dir("a.gguf"), 0);
    assert_int_equal(rename(in_dir("a.gguf"), in_dir("b.gguf")), 0);
    for (unsigned i = 0; i < 10; i++) {
        expect_open(r, in_dir("a.gguf"), 0);
        expect_name(r, "a.gguf", 0);
    }
    struct realm_stats s = stats_of(r);
    assert_int_equal(s.loads, 1);
    assert_int_equal(s.hits, 20);
    assert_int_equal(s.models, 1);
    assert_int_equal(s.leases, 0);
    uint64_t freed = realm_clear(r);
    assert_int_equal(freed, s.bytes);
    assert_int_equal(stats_of(r).bytes, 0);
    expect_open(r, in_dir("a.gguf"), REALM_E_NOT_FOUND);
    expect_name(r, "a", REALM_E_NOT_FOUND);
    expect_open(r, in_dir("b.gguf"), 0);
    assert_int_equal(stats_of(r).loads, 2);
    realm_close(r);
    remove(in_dir("b.gguf"));
}

static void a_replaced_file_is_loaded_anew(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *old;
    copy_tiny(in_dir("a.gguf"));
    assert_int_equal(realm_model_open(&old, r, in_dir("a.gguf"), NULL, NULL), 0);
    copy_tiny(in_dir("new"));
    assert_int_equal(rename(in_dir("new"), in_dir("a.gguf")), 0);
    expect_open(r, in_dir("a.gguf"), 0);
    struct realm_stats s = stats_of(r);
    assert_int_equal(s.loads, 2);
    assert_int_equal(s.models, 2); // the old one is still on lease
    realm_model_close(old);
    assert_int_equal(stats_of(r).models, 1);
    expect_open(r, in_dir("a.gguf"), 0);
    assert_int_equal(stats_of(r).loads, 2);
    realm_close(r);
    remove(in_dir("a.gguf"));
}

static void one_file_is_one_model_by_every_path(void **state)
{
    (void)state;
    struct realm *r = open_engine(&(struct realm_options){.models_dir = dir});
    copy_tiny(in_dir("a.gguf"));
    assert_int_equal(mkdir(in_dir("sub"), 0700), 0);
    assert_int_equal(symlink("a.gguf", in_dir("link.gguf")), 0);
    assert_int_equal(symlink("..", in_dir("sub/up")), 0);
    expect_open(r, in_dir("a.gguf"), 0);
    expect_open(r, in_dir("link.gguf"), 0);
    expect_open(r, in_dir("sub/../sub/up/./a.gguf"), 0);
    expect_name(r, "a", 0);
    expect_name(r, "a.gguf", 0);
    assert_int_equal(stats_of(r).loads, 1);
    assert_int_equal(stats_of(r).hits, 4);
    /* A link that leads nowhere any more still says which model was meant. */
    assert_int_equal(rename(in_dir("a.gguf"), in_dir("b.gguf")), 0);
    expect_open(r, in_dir("link.gguf"), 0);
    assert_int_equal(rename(in_dir("b.gguf"), in_dir("a.gguf")), 0);

    static const char *const refused[] = {
        "",          ".",       "..",  "../a.gguf", "sub/up/a.gguf", "/etc/passwd", "link",
        "link.gguf", ".hidden", "sub", "a.gguf/",   "a\n",           "\xff",        "none",
    };
    uint64_t hits = stats_of(r).hits;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        expect_name(r, refused[i], REALM_E_NOT_FOUND);
    char longest[300];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    expect_name(r, longest, REALM_E_NOT_FOUND);
    assert_int_equal(stats_of(r).hits, hits);
    realm_close(r);
    remove(in_dir("link.gguf"));
    remove(in_dir("sub/up"));
    remove(in_dir("sub"));
    remove(in_dir("a.gguf"));
}

static void what_is_no_model_is_refused(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    FILE *f = fopen(in_dir("text"), "w");
    assert_non_null(f);
    fputs("this is no model at all, but it has more bytes than a header", f);
    fclose(f);
    expect_open(r, in_dir("text"), REALM_E_FORMAT);
    expect_open(r, in_dir("none"), REALM_E_NOT_FOUND);
    expect_open(r, in_dir("none/none"), REALM_E_NOT_FOUND);
    expect_open(r, "", REALM_E_NOT_FOUND);
    struct realm_model *m;
    struct realm_error err;
    assert_int_equal(realm_model_open(&m, r, dir, NULL, &err), REALM_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "a folder, not a file"));
    expect_name(r, "text", REALM_E_NOT_FOUND); // no directory of models
    assert_int_equal(stats_of(r).bytes, 0);
    assert_int_equal(stats_of(r).loads, 0);
    realm_close(r);
    remove(in_dir("text"));
}

static void a_model_must_fit(void **state)
{
    (void)state;
    struct realm_error err;
    struct realm_model *m;
    struct realm *r = open_engine(
        &(struct realm_options){.bytes_max = 3 << 20, .kv_bytes_max = 1 << 20, .load_wait_ms = 1});
    assert_int_equal(realm_model_open(&m, r, tiny_path, NULL, &err), REALM_E_NO_ROOM);
    assert_non_null(strstr(err.message, "2"));
    realm_close(r);
    assert_int_equal(realm_open(&r, &(struct realm_options){.threads = 257}, &err), REALM_E_ARG);
    assert_null(r);
    assert_int_equal(
        realm_open(&r, &(struct realm_options){.bytes_max = 5, .kv_bytes_max = 5}, &err),
        REALM_E_ARG);
    assert_int_equal(realm_open(&r, &(struct realm_options){.models_dir = "/none"}, &err),
                     REALM_E_ARG);
}

static void a_model_from_memory_is_its_owners_alone(void **state)
{
    (void)state;
    static struct answer want, got;
    size_t n;
    void *bytes = read_tiny(&n);
    struct realm *r = open_engine(NULL);
    struct realm_model *m, *own, *again;
    m = open_tiny(r);
    assert_int_equal(realm_model_open_memory(&own, r, bytes, n, NULL, NULL), 0);
    struct realm_error err;
    assert_int_equal(realm_model_open_memory(&again, r, bytes, n / 2, NULL, &err), REALM_E_FORMAT);
    memset(bytes, 0, n);
    free(bytes);
    assert_int_equal(realm_model_share(&again, own), 0);
    realm_model_close(own);
    struct realm_request request = request_for("Once upon a time", 20);
    ask(m, &request, &want);
    ask(again, &request, &got);
    assert_same_answer(&want, &got);
    assert_int_equal(stats_of(r).models, 2);
    realm_model_close(again);
    assert_int_equal(stats_of(r).models, 1);
    realm_model_close(m);
    realm_close(r);
}

/* A copy of the model with the first weight of a float tensor set to infinity. */
static void *broken_tiny(size_t *n, const char *tensor)
{
    uint8_t *bytes = read_tiny(n);
    struct gguf_file *f;
    assert_int_equal(gguf_file_from_memory(&f, bytes, *n, NULL), 0);
    const struct gguf_tensor *t = gguf_file_find(f, tensor);
    assert_non_null(t);
    static const uint8_t infinity[4] = {0, 0, 0x80, 0x7f};
    memcpy(bytes + t->offset, infinity, 4);
    gguf_file_close(f);
    return bytes;
}

static void infinities_end_a_generation(void **state)
{
    (void)state;
    static struct answer a;
    size_t n;
    void *bytes = broken_tiny(&n, "output_norm.weight");
    struct realm *r = open_engine(NULL);
    struct realm_model *m;
    assert_int_equal(realm_model_open_memory(&m, r, bytes, n, NULL, NULL), 0);
    free(bytes);
    struct realm_request request = request_for("Once", 20);
    ask(m, &request, &a);
    assert_int_equal(a.status, REALM_E_NUMERIC);
    assert_int_equal(a.finish, REALM_FINISH_ERROR);
    assert_int_equal(a.n, 0);
    float logprobs[3];
    const uint32_t ids[3] = {300, 301, 302};
    assert_int_equal(realm_score(m, ids, 3, logprobs, NULL, 0, NULL, NULL), REALM_E_NUMERIC);
    assert_int_equal(stats_of(r).kv_pages, 0);
    assert_int_equal(stats_of(r).failed, 2);
    realm_model_close(m);
    realm_close(r);
}

enum { BAD_TOKEN = 300 };

static void write_tensors(struct gguf_writer *w, const struct gguf_file *f)
{
    const struct gguf_tensor *embed = gguf_file_find(f, "token_embd.weight");
    struct gguf_tensor output = *embed;
    output.name = (struct slice){(const uint8_t *)"output.weight", strlen("output.weight")};
    for (size_t i = 0; i < gguf_file_tensors(f); i++)
        assert_int_equal(gguf_writer_tensor(w, gguf_file_tensor(f, i)), 0);
    assert_int_equal(gguf_writer_tensor(w, &output), 0);
    for (size_t i = 0; i <= gguf_file_tensors(f); i++) {
        bool last = i == gguf_file_tensors(f);
        const struct gguf_tensor *t = last ? embed : gguf_file_tensor(f, i);
        uint8_t *data = malloc(t->bytes);
        assert_int_equal(gguf_file_read(f, t, 0, data, t->bytes, NULL), 0);
        if (t == embed && !last) {
            uint8_t *scale = data + t->bytes / t->dims[1] * BAD_TOKEN;
            scale[0] = 0; // the first block's, an infinite f16
            scale[1] = 0x7c;
        }
        assert_int_equal(gguf_writer_data(w, data, t->bytes), 0);
        free(data);
    }
}

/* The tiny model with an output matrix of its own, and an infinity in one row of
 * its embedding: whoever says that token, and nobody else, computes with it. */
static void write_partly_broken(const char *path)
{
    struct gguf_file *f;
    struct gguf_writer *w;
    assert_int_equal(gguf_file_open(&f, io_system(), tiny_path, 0, NULL), 0);
    const struct gguf *g = gguf_file_header(f);
    assert_int_equal(gguf_writer_open(&w, path, gguf_values(g), gguf_file_tensors(f) + 1, NULL), 0);
    for (size_t i = 0; i < gguf_values(g); i++)
        assert_int_equal(gguf_writer_value(w, gguf_value(g, i)), 0);
    write_tensors(w, f);
    assert_int_equal(gguf_writer_close(w, NULL), 0);
    gguf_file_close(f);
}

static void an_infinity_ends_only_whom_it_befalls(void **state)
{
    (void)state;
    enum { N = 8 };
    static struct answer want, got;
    static uint32_t ids[40];
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_request request = request_for("Once upon a time there was", 60);
    request.logprobs = true;
    ask(m, &request, &want);
    realm_model_close(m);
    write_partly_broken(in_dir("broken.gguf"));
    assert_int_equal(realm_model_open(&m, r, in_dir("broken.gguf"), NULL, NULL), 0);
    for (size_t i = 0; i < 40; i++)
        ids[i] = i == 30 ? BAD_TOKEN : 400 + (uint32_t)i;
    struct realm_request bad = request_for(NULL, 60);
    bad.ids = ids;
    bad.n_ids = 40;
    struct realm_gen *gens[N];
    for (size_t i = 0; i < N; i++)
        assert_int_equal(realm_gen_start(&gens[i], m, i % 3 ? &request : &bad, NULL), 0);
    for (size_t i = 0; i < N; i++) {
        read_answer(gens[i], &got);
        if (i % 3)
            assert_same_answer(&want, &got);
        else
            assert_int_equal(got.status, REALM_E_NUMERIC);
    }
    assert_int_equal(stats_of(r).failed, 3);
    assert_int_equal(stats_of(r).kv_pages, 0);
    realm_model_close(m);
    realm_close(r);
    remove(in_dir("broken.gguf"));
}

static void text_goes_there_and_back(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    static const char text[] = "The quick brown fox: na\xc3\xafve, 12 + 7 = 19.\n";
    uint32_t ids[100];
    char out[100];
    size_t n, bytes;
    assert_int_equal(realm_tokenize(m, text, strlen(text), 0, ids, 100, &n), 0);
    assert_int_equal(realm_tokenize(m, text, strlen(text), 0, ids, n - 1, &bytes),
                     REALM_E_TOO_SMALL);
    assert_int_equal(bytes, n);
    assert_int_equal(realm_tokenize(m, text, strlen(text), 0, ids, n, &n), 0);
    assert_int_equal(realm_detokenize(m, ids, n, false, out, 100, &bytes), 0);
    assert_int_equal(bytes, strlen(text));
    assert_memory_equal(out, text, bytes);
    memset(out, 'x', sizeof(out));
    assert_int_equal(realm_detokenize(m, ids, n, false, out, 5, &bytes), REALM_E_TOO_SMALL);
    assert_int_equal(bytes, strlen(text));
    assert_int_equal(out[5], 'x');
    assert_int_equal(realm_detokenize(m, ids, 0, false, NULL, 0, &bytes), 0);
    assert_int_equal(bytes, 0);
    ids[0] = UINT32_MAX;
    assert_int_equal(realm_detokenize(m, ids, n, false, out, 100, &bytes), REALM_E_ARG);
    assert_int_equal(realm_tokenize(m, "\xc3", 1, 0, ids, 100, &n), REALM_E_UTF8);
    realm_model_close(m);
    realm_close(r);
}

static void a_model_says_what_it_is(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_model_info info;
    realm_model_info(m, &info);
    assert_string_equal(info.architecture, "llama");
    assert_true(info.has_tokenizer);
    assert_non_null(info.chat_template);
    assert_true(info.vocab_size > 256 && info.context_tokens >= 512);
    assert_true(info.params > 1000000 && info.step_bytes <= info.memory_bytes);
    assert_int_equal(info.hidden_size % info.num_heads, 0);
    uint32_t id;
    size_t n;
    assert_int_equal(
        realm_tokenize(m, info.eos_text, strlen(info.eos_text), REALM_TEXT_SPECIAL, &id, 1, &n), 0);
    assert_int_equal(n, 1);
    realm_model_close(m);
    realm_close(r);
}

static bool always(void *ctx)
{
    (void)ctx;
    return true;
}

static void a_load_may_be_given_up(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *m;
    struct realm_wait wait = {.cancelled = always};
    int status = realm_model_open(&m, r, tiny_path, &wait, NULL);
    assert_true(status == REALM_E_CANCELLED || status == 0); // a fast load comes first
    realm_model_close(m);
    expect_open(r, tiny_path, 0);
    realm_close(r);
}

static void pinned_models_stay(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    realm_model_pin(m, true);
    realm_model_close(m);
    assert_int_equal(realm_clear(r), 0);
    assert_int_equal(stats_of(r).models, 1);
    m = open_tiny(r);
    assert_int_equal(stats_of(r).loads, 1);
    realm_model_pin(m, false);
    realm_model_close(m);
    assert_true(realm_clear(r) > 0);
    realm_close(r);
}

static struct realm_model_status status_of(struct realm *r, const char *path)
{
    struct realm_model_status s;
    realm_model_status(r, path, &s);
    return s;
}

static void a_model_is_found_and_unloaded_by_path(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *m, *found;
    struct realm_error err = {0};
    copy_tiny(in_dir("a.gguf"));
    assert_int_equal(symlink("a.gguf", in_dir("link.gguf")), 0);
    assert_int_equal(status_of(r, in_dir("a.gguf")).state, REALM_MODEL_ABSENT);
    assert_int_equal(status_of(r, in_dir("nothing")).state, REALM_MODEL_ABSENT);
    assert_int_equal(realm_model_find(&m, r, in_dir("a.gguf"), &err), REALM_E_NOT_FOUND);
    assert_int_equal(realm_model_find(&m, r, in_dir("nothing"), &err), REALM_E_NOT_FOUND);
    assert_int_equal(realm_model_unload(r, in_dir("a.gguf"), &err), REALM_E_NOT_FOUND);
    assert_int_equal(realm_model_unload(r, in_dir("nothing"), &err), REALM_E_NOT_FOUND);
    assert_null(m);

    assert_int_equal(realm_model_open(&m, r, in_dir("a.gguf"), NULL, NULL), 0);
    realm_model_pin(m, true);
    assert_int_equal(realm_model_find(&found, r, in_dir("link.gguf"), &err), 0);
    struct realm_model_status s = status_of(r, in_dir("link.gguf"));
    assert_int_equal(s.state, REALM_MODEL_LOADED);
    assert_int_equal(s.leases, 2);
    assert_true(s.pinned && s.bytes == stats_of(r).bytes);
    realm_model_close(m);
    assert_int_equal(realm_model_unload(r, in_dir("a.gguf"), &err), 0); // with its last lease
    assert_int_equal(status_of(r, in_dir("a.gguf")).state, REALM_MODEL_ABSENT);
    static struct answer a;
    struct realm_request request = request_for("A", 3);
    ask(found, &request, &a);
    assert_int_equal(a.status, 0);
    realm_model_close(found);
    while (stats_of(r).bytes)
        ; // the answer's lease may have been the last
    expect_open(r, in_dir("a.gguf"), 0);
    assert_int_equal(stats_of(r).loads, 2);
    assert_int_equal(realm_model_unload(r, in_dir("link.gguf"), &err), 0); // idle: at once
    assert_int_equal(stats_of(r).bytes, 0);
    realm_close(r);
    remove(in_dir("link.gguf"));
    remove(in_dir("a.gguf"));
}

static void a_replaced_file_is_not_found(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *m;
    copy_tiny(in_dir("a.gguf"));
    expect_open(r, in_dir("a.gguf"), 0);
    copy_tiny(in_dir("new"));
    assert_int_equal(rename(in_dir("new"), in_dir("a.gguf")), 0);
    assert_int_equal(realm_model_find(&m, r, in_dir("a.gguf"), NULL), REALM_E_NOT_FOUND);
    assert_null(m);
    assert_int_equal(stats_of(r).leases, 0);
    expect_open(r, in_dir("a.gguf"), 0);
    assert_int_equal(realm_model_find(&m, r, in_dir("a.gguf"), NULL), 0);
    assert_int_equal(stats_of(r).loads, 2);
    assert_int_equal(remove(in_dir("a.gguf")), 0);
    realm_model_close(m);
    assert_int_equal(realm_model_find(&m, r, in_dir("a.gguf"), NULL), 0); // what is in memory
    assert_int_equal(status_of(r, in_dir("a.gguf")).state, REALM_MODEL_ABSENT);
    realm_model_close(m);
    realm_close(r);
}

int main(int argc, char **argv)
{
    if (argc < 2 || !mkdtemp(dir))
        return 2;
    tiny_path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_outlives_its_file),
        cmocka_unit_test(a_replaced_file_is_loaded_anew),
        cmocka_unit_test(one_file_is_one_model_by_every_path),
        cmocka_unit_test(what_is_no_model_is_refused),
        cmocka_unit_test(a_model_must_fit),
        cmocka_unit_test(a_model_from_memory_is_its_owners_alone),
        cmocka_unit_test(infinities_end_a_generation),
        cmocka_unit_test(an_infinity_ends_only_whom_it_befalls),
        cmocka_unit_test(text_goes_there_and_back),
        cmocka_unit_test(a_model_says_what_it_is),
        cmocka_unit_test(a_load_may_be_given_up),
        cmocka_unit_test(pinned_models_stay),
        cmocka_unit_test(a_model_is_found_and_unloaded_by_path),
        cmocka_unit_test(a_replaced_file_is_not_found),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
