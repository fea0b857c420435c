/* conf: what the file may say, and what each wrong one is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "base/limits.h"
#include "base/mem.h"
#include "conf/conf.h"

static uint64_t alive;

static int before(void **state)
{
    (void)state;
    alive = mem_live();
    return 0;
}

static int after(void **state)
{
    (void)state;
    return mem_live() == alive ? 0 : -1;
}

static int parse(struct conf *c, const char *text, struct realm_error *err)
{
    assert_int_equal(conf_init(c), 0);
    return conf_parse(c, "realm.yaml", slice_of(text), err);
}

static void defaults_are_the_documented_ones(void **state)
{
    (void)state;
    struct conf c;
    struct realm_error err;
    assert_int_equal(conf_init(&c), 0);
    assert_string_equal(c.host, "127.0.0.1");
    assert_int_equal(c.port, 8080);
    assert_int_equal(c.http.body_bytes_max, 4 * MiB);
    assert_int_equal(c.http.head_ms, 10000);
    assert_int_equal(c.http.stall_ms, 30000);
    assert_int_equal(c.load_wait_ms, 30000);
    assert_int_equal(c.request_s, 3600);
    assert_int_equal(c.drain_s, 30);
    assert_int_equal(c.keep_days, 400);
    assert_string_equal(c.log_level, "info");
    assert_null(c.models_dir);
    assert_int_equal(conf_check(&c, &err), 0);
    conf_free(&c);
}

static const char everything[] = "# a comment\n"
                                 "listen:\n"
                                 "  host: '::1'\n"
                                 "  port: 0\n"
                                 "  allowed_hosts: [a.example, \"b.example\"]\n"
                                 "tls: {cert: /c.pem, key: /k.pem}\n"
                                 "models:\n"
                                 "  dir: /var/lib/models \xC3\xA9\n"
                                 "  aliases:\n"
                                 "    gpt-4o: tiny\n"
                                 "    \"odd: \\\"name\\\"\": \"/a\\\\b #c\"\n"
                                 "  preload:\n"
                                 "    - tiny\n"
                                 "  pin: []\n"
                                 "  memory_bytes: 8GiB\n"
                                 "  kv_bytes: 1536MiB\n"
                                 "  kv_type: f32\n"
                                 "  load_wait_s: 5\n"
                                 "guest:\n"
                                 "  # file: x\n"
                                 "api:\n"
                                 "  compat_llama_server: true\n"
                                 "limits:\n"
                                 "  body_bytes: 123456\n"
                                 "log:\n"
                                 "  format: json\n"
                                 "  level: debug\n";

static void check_everything(const struct conf *c)
{
    assert_string_equal(c->host, "::1");
    assert_int_equal(c->port, 0);
    assert_int_equal(c->n_allowed_hosts, 2);
    assert_string_equal(c->allowed_hosts[1], "b.example");
    assert_string_equal(c->tls_key, "/k.pem");
    assert_string_equal(c->models_dir, "/var/lib/models \xC3\xA9");
    assert_int_equal(c->n_aliases, 2);
    assert_string_equal(c->aliases[0].name, "gpt-4o");
    assert_string_equal(c->aliases[0].model, "tiny");
    assert_string_equal(c->aliases[1].name, "odd: \"name\"");
    assert_string_equal(c->aliases[1].model, "/a\\b #c");
    assert_int_equal(c->n_preload, 1);
    assert_int_equal(c->n_pin, 0);
    assert_true(c->bytes_max == 8 * GiB);
    assert_true(c->kv_bytes_max == 1536 * MiB);
    assert_int_equal(c->kv_type, REALM_KV_F32);
    assert_int_equal(c->load_wait_ms, 5000);
    assert_null(c->guest);
    assert_true(c->compat_llama_server);
    assert_int_equal(c->http.body_bytes_max, 123456);
    assert_string_equal(c->log_format, "json");
    assert_string_equal(c->log_level, "debug");
}

static void a_file_is_read(void **state)
{
    (void)state;
    struct conf c;
    struct realm_error err = {0};
    if (parse(&c, everything, &err))
        fail_msg("%s", err.message);
    check_everything(&c);
    /* A second file goes over the first, key by key; null takes a text away. */
    assert_int_equal(conf_parse(&c, "b", slice_of("models: {dir: null, preload: [a, b]}"), &err),
                     0);
    assert_null(c.models_dir);
    assert_int_equal(c.n_preload, 2);
    assert_int_equal(c.n_aliases, 2);
    conf_free(&c);
}

static void empty_files_change_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "\n", "# nothing\n", "---\n", "\xEF\xBB\xBF# bom\n", "%YAML 1.1\n---\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct conf c;
        struct realm_error err = {0};
        if (parse(&c, texts[i], &err))
            fail_msg("%zu: %s", i, err.message);
        assert_int_equal(c.port, 8080);
        conf_free(&c);
    }
}

/* Printed, read and printed again: nothing changes, whatever the values are. */
static void check_fixpoint(const struct conf *c)
{
    struct buf first, second;
    struct conf again;
    struct realm_error err = {0};
    buf_init(&first, MiB);
    buf_init(&second, MiB);
    assert_int_equal(conf_print(c, &first), 0);
    assert_int_equal(conf_init(&again), 0);
    if (conf_parse(&again, "printed", buf_slice(&first), &err))
        fail_msg("%s\n%.*s", err.message, (int)first.n, (char *)first.p);
    assert_int_equal(conf_print(&again, &second), 0);
    assert_int_equal(first.n, second.n);
    assert_memory_equal(first.p, second.p, first.n);
    buf_free(&first);
    buf_free(&second);
    conf_free(&again);
}

static void printing_is_a_fixpoint(void **state)
{
    (void)state;
    struct conf c;
    struct realm_error err = {0};
    assert_int_equal(conf_init(&c), 0);
    check_fixpoint(&c);
    assert_int_equal(conf_parse(&c, "x", slice_of(everything), &err), 0);
    check_fixpoint(&c);
    /* Every character that a value can hold, and a name too long for a plain key. */
    char long_name[2000 + 1];
    memset(long_name, 'n', 2000);
    long_name[2000] = '\0';
    mem_free(c.aliases[0].name);
    c.aliases[0].name = mem_strdup(long_name);
    for (uint32_t cp = 0x20; cp < 0x30000; cp += cp < 0x3000 ? 1 : 97) {
        char text[16] = "a";
        if (cp == 0x7f || (cp >= 0xD800 && cp < 0xE000))
            continue;
        size_t n = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
        static const unsigned char heads[] = {0, 0, 0xC0, 0xE0, 0xF0};
        for (size_t i = n; i-- > 0;)
            text[1 + i] = (char)(i        ? 0x80 | (cp >> 6 * (n - 1 - i) & 0x3F)
                                 : n == 1 ? cp
                                          : heads[n] | cp >> 6 * (n - 1));
        mem_free(c.guest);
        c.guest = mem_strdup(text);
        struct buf out;
        struct conf again;
        buf_init(&out, MiB);
        assert_int_equal(conf_print(&c, &out), 0);
        assert_int_equal(conf_init(&again), 0);
        if (conf_parse(&again, "printed", buf_slice(&out), &err))
            fail_msg("U+%04X: %s", cp, err.message);
        assert_string_equal(again.guest, text);
        conf_free(&again);
        buf_free(&out);
        if (cp % 0x1000 == 0x41)
            check_fixpoint(&c);
    }
    conf_free(&c);
}

static const struct bad {
    const char *text, *told;
} bad_files[] = {
    {"lisen:\n  port: 1\n", "realm.yaml:1: lisen: there is no such key; did you mean listen?"},
    {"a: 1\nport: 80\n", "realm.yaml:1: a: there is no such key"},
    {"port: 80\n", "realm.yaml:1: port: there is no such key; did you mean listen.port?"},
    {"models:\n  keep_alive: 3\n",
     "realm.yaml:2: models.keep_alive: there is no such key; did you mean limits.keep_alive_s?"},
    {"models:\n  memory: 3\n", "realm.yaml:2: models.memory: there is no such key"},
    {"models:\n  memory_byte: 3\n",
     "realm.yaml:2: models.memory_byte: there is no such key; did you mean models.memory_bytes?"},
    {"listen:\n  \"po\\0rt\": 1\n", "realm.yaml:2: a key must be a word"},
    {"listen:\n  ? [a]\n  : 1\n", "realm.yaml:2: a key must be a word"},
    {"? [a]\n: 1\n", "realm.yaml:1: a key must be a word"},
    {"listen:\n  port: 1\n  host: '::1'\n  port: 1\n", "realm.yaml:4: listen.port: stands twice"},
    {"listen:\n  port: 1\nlog:\nlisten:\n  host: a\n", "realm.yaml:4: listen: stands twice"},
    {"listen: 8080\n", "realm.yaml:1: listen: must be a group of keys"},
    {"listen: []\n", "realm.yaml:1: listen: must be a group of keys"},
    {"- a\n", "realm.yaml:1: must be groups of keys, as `listen:` and below it `port: 8080`"},
    {"listen:\n  port: 65536\n",
     "realm.yaml:2: listen.port: must be a whole number from 0 to 65535, not '65536'"},
    {"listen:\n  port: -1\n",
     "realm.yaml:2: listen.port: must be a whole number from 0 to 65535, not '-1'"},
    {"listen:\n  port: 1e3\n",
     "realm.yaml:2: listen.port: must be a whole number from 0 to 65535, not '1e3'"},
    {"listen:\n  port: 010\n",
     "realm.yaml:2: listen.port: must be a whole number from 0 to 65535, not '010'"},
    {"listen:\n  port: 99999999999999999999999\n",
     "realm.yaml:2: listen.port: must be a whole number from 0 to 65535, not "
     "'99999999999999999999999'"},
    {"listen:\n  port:\n", "realm.yaml:2: listen.port: has no value"},
    {"listen:\n  host: ~\n", "realm.yaml:2: listen.host: has no value"},
    {"listen:\n  host: ''\n", "realm.yaml:2: listen.host: must not be empty"},
    {"listen:\n  host: \"a\\nb\"\n", "realm.yaml:2: listen.host: has a control character"},
    {"listen:\n  host: \"a\\0b\"\n", "realm.yaml:2: listen.host: has a control character"},
    {"listen:\n  port: [1]\n", "realm.yaml:2: listen.port: must not be a list"},
    {"listen:\n  port: {a: 1}\n", "realm.yaml:2: listen.port: must not be a mapping"},
    {"listen:\n  insecure_public: yes\n",
     "realm.yaml:2: listen.insecure_public: must be true or false, not 'yes'"},
    {"listen:\n  allowed_hosts: a\n", "realm.yaml:2: listen.allowed_hosts: must be a list"},
    {"listen:\n  allowed_hosts: [a, [b]]\n",
     "realm.yaml:2: listen.allowed_hosts: must be a list of texts"},
    {"listen:\n  allowed_hosts:\n    - a\n    - ''\n",
     "realm.yaml:4: listen.allowed_hosts: must not be empty"},
    {"models:\n  memory_bytes: 70%\n",
     "realm.yaml:2: models.memory_bytes: must be bytes, as 8GiB, from 0 to 1024TiB, not '70%'"},
    {"models:\n  memory_bytes: 8GB\n",
     "realm.yaml:2: models.memory_bytes: must be bytes, as 8GiB, from 0 to 1024TiB, not '8GB'"},
    {"models:\n  memory_bytes: 99999999999TiB\n",
     "realm.yaml:2: models.memory_bytes: must be bytes, as 8GiB, from 0 to 1024TiB, not "
     "'99999999999TiB'"},
    {"limits:\n  body_bytes: 10\n",
     "realm.yaml:2: limits.body_bytes: must be bytes, as 8GiB, from 1KiB to 64MiB, not '10'"},
    {"models:\n  kv_type: q8\n",
     "realm.yaml:2: models.kv_type: must be f16, f32, bf16 or q8_0, not "
     "'q8'"},
    {"log:\n  level: loud\n",
     "realm.yaml:2: log.level: must be error, warn, info or debug, not 'loud'"},
    {"models:\n  aliases: a\n",
     "realm.yaml:2: models.aliases: must be a mapping from names to models"},
    {"models:\n  aliases: [a]\n", "realm.yaml:2: models.aliases: must not be a list"},
    {"models:\n  aliases: {a: [b]}\n",
     "realm.yaml:2: models.aliases: must be a mapping from names to models"},
    {"models:\n  aliases: {[a]: b}\n",
     "realm.yaml:2: models.aliases: must be a mapping from names to models"},
    {"models:\n  aliases:\n    a: b\n    a: c\n", "realm.yaml:4: models.aliases: 'a' stands twice"},
    {"models:\n  aliases:\n    a: ''\n", "realm.yaml:3: models.aliases: must not be empty"},
    {"log:\n  level: &a info\n",
     "realm.yaml:2: log.level: anchors and aliases (& and *) are not taken"},
    {"log: &a\n  level: info\n", "realm.yaml:1: anchors and aliases (& and *) are not taken"},
    {"log:\n  level: *a\n", "realm.yaml:2: log.level: anchors and aliases (& and *) are not taken"},
    {"log:\n  level: !!str info\n", "realm.yaml:2: log.level: tags (!) are not taken"},
    {"log: {}\n---\nlog: {}\n", "realm.yaml:2: a second document"},
    {"log:\n\tlevel: info\n", "realm.yaml:2: found character that cannot start any token"},
    {"log: {level: info\n", "realm.yaml:2: did not find expected ',' or '}'"},
    {"log: 'a\n", "realm.yaml:2: found unexpected end of stream"},
    {"log:\n  level: \"\\ud800\"\n", "realm.yaml:2: found invalid Unicode character escape code"},
    {"log: \xff\n", "realm.yaml: invalid leading UTF-8 octet at byte 5"},
    {"log: \x01\n", "realm.yaml: control characters are not allowed at byte 5"},
};

static void bad_files_are_told_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_files); i++) {
        struct conf c;
        struct realm_error err = {0};
        assert_int_equal(parse(&c, bad_files[i].text, &err), REALM_E_FORMAT);
        assert_string_equal(err.message, bad_files[i].told);
        assert_int_equal(c.port, 8080);
        conf_free(&c);
    }
}

/* A failure at the end leaves what the beginning said undone. */
static void a_bad_file_changes_nothing(void **state)
{
    (void)state;
    struct conf c;
    struct realm_error err;
    struct buf text;
    buf_init(&text, MiB);
    assert_int_equal(buf_addf(&text, "%sstate: 1\n", everything), 0);
    assert_int_equal(conf_init(&c), 0);
    assert_int_equal(conf_parse(&c, "x", buf_slice(&text), &err), REALM_E_FORMAT);
    assert_string_equal(c.host, "127.0.0.1");
    assert_int_equal(c.n_aliases, 0);
    assert_int_equal(c.http.body_bytes_max, HTTP_BODY_MAX);
    buf_free(&text);
    conf_free(&c);
}

/* What would grow is refused where it begins, or at its ceiling. */
static void nothing_grows(void **state)
{
    (void)state;
    static char text[CONF_FILE_BYTES_MAX + 2];
    struct conf c;
    struct realm_error err;
    memset(text, ' ', CONF_FILE_BYTES_MAX + 1);
    assert_int_equal(parse(&c, text, &err), REALM_E_FORMAT);
    assert_string_equal(err.message, "realm.yaml: larger than 256 KiB");
    conf_free(&c);

    static const char *const heads[] = {"", "log: ", "models: {pin: ", "models: {aliases: "};
    for (size_t i = 0; i < ARRAY_LEN(heads); i++)
        for (size_t j = 0; j < 2; j++) {
            memset(text, "[{"[j], CONF_FILE_BYTES_MAX);
            memcpy(text, heads[i], strlen(heads[i]));
            text[CONF_FILE_BYTES_MAX] = '\0';
            assert_int_equal(parse(&c, text, &err), REALM_E_FORMAT);
            conf_free(&c);
        }

    size_t n = (size_t)snprintf(text, sizeof(text), "models: {pin: [");
    for (size_t i = 0; i <= CONF_LIST_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "a,");
    snprintf(text + n, sizeof(text) - n, "]}");
    assert_int_equal(parse(&c, text, &err), REALM_E_FORMAT);
    assert_string_equal(err.message, "realm.yaml:1: models.pin: has too many items");
    conf_free(&c);

    n = (size_t)snprintf(text, sizeof(text), "models: {aliases: {");
    for (size_t i = 0; i <= CONF_LIST_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "a%zu: b,", i);
    snprintf(text + n, sizeof(text) - n, "}}");
    assert_int_equal(parse(&c, text, &err), REALM_E_FORMAT);
    assert_string_equal(err.message, "realm.yaml:1: models.aliases: has too many items");
    conf_free(&c);

    n = (size_t)snprintf(text, sizeof(text), "guest: {file: ");
    memset(text + n, 'x', CONF_TEXT_MAX + 1);
    memcpy(text + n + CONF_TEXT_MAX + 1, "}", 2);
    assert_int_equal(parse(&c, text, &err), REALM_E_FORMAT);
    assert_string_equal(err.message, "realm.yaml:1: guest.file: is longer than 4096 bytes");
    conf_free(&c);
}

/* Every prefix of a file, and every byte of it changed, is read or refused. */
static void damaged_files_are_read_or_refused(void **state)
{
    (void)state;
    char text[sizeof(everything)];
    struct conf c;
    struct realm_error err;
    for (size_t n = 0; n < sizeof(everything); n++) {
        assert_int_equal(conf_init(&c), 0);
        if (conf_parse(&c, "x", (struct slice){(const uint8_t *)everything, n}, &err))
            assert_int_not_equal(err.message[0], 0);
        conf_free(&c);
    }
    for (size_t at = 0; at + 1 < sizeof(everything); at++)
        for (size_t i = 0; i < 16; i++) {
            memcpy(text, everything, sizeof(text));
            text[at] = "\xff\x80{}[]:&*!\"'\t\n#-"[i];
            assert_int_equal(conf_init(&c), 0);
            if (conf_parse(&c, "x", slice_of(text), &err))
                assert_int_not_equal(err.message[0], 0);
            conf_free(&c);
        }
}

/* Each allocation of ours fails once; c is then as before. */
static void memory_may_run_out(void **state)
{
    (void)state;
    struct conf c;
    struct realm_error err;
    int failed = 0;
    for (uint64_t n = 1;; n++) {
        assert_int_equal(conf_init(&c), 0);
        uint64_t live = mem_live();
        mem_fail_at(n, 0);
        int status = conf_parse(&c, "x", slice_of(everything), &err);
        mem_fail_at(0, 0);
        if (!status) {
            check_everything(&c);
            conf_free(&c);
            break;
        }
        assert_int_equal(status, REALM_E_NOMEM);
        assert_string_equal(err.message, "out of memory for the configuration");
        assert_int_equal(mem_live(), live);
        assert_string_equal(c.host, "127.0.0.1");
        conf_free(&c);
        failed++;
    }
    assert_true(failed > 10);
    for (uint64_t n = 1;; n++) {
        struct buf out;
        buf_init(&out, MiB);
        mem_fail_at(n, 0);
        int status = conf_init(&c);
        if (!status)
            status = conf_print(&c, &out);
        mem_fail_at(0, 0);
        buf_free(&out);
        conf_free(&c);
        if (!status)
            break;
        assert_int_equal(status, REALM_E_NOMEM);
    }
}

static const struct bad bad_together[] = {
    {"listen: {host: localhost}", "listen.host: 'localhost' is no address, as 127.0.0.1 or ::1 "
                                  "would be"},
    {"listen: {metrics_host: x}", "listen.metrics_host: 'x' is no address"},
    {"listen: {metrics_port: 8080}", "listen.metrics_port: 8080 is the main port too"},
    {"tls: {cert: a}", "tls.key: is wanted beside tls.cert"},
    {"tls: {key: a}", "tls.cert: is wanted beside tls.key"},
    {"models: {memory_bytes: 1, kv_bytes: 2}",
     "models.kv_bytes: 2 is more than models.memory_bytes, 1"},
};

static void keys_are_judged_together(void **state)
{
    (void)state;
    struct conf c;
    struct realm_error err;
    for (size_t i = 0; i < ARRAY_LEN(bad_together); i++) {
        assert_int_equal(parse(&c, bad_together[i].text, &err), 0);
        assert_int_equal(conf_check(&c, &err), REALM_E_ARG);
        assert_string_equal(err.message, bad_together[i].told);
        conf_free(&c);
    }
    static const char *const good[] = {"listen: {host: 127.8.9.10}", "listen: {host: '::1'}",
                                       "listen: {host: 0.0.0.0, insecure_public: true}",
                                       "listen: {metrics_port: 9000, metrics_host: 0.0.0.0}",
                                       "tls: {cert: a, key: b}"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(parse(&c, good[i], &err), 0);
        if (conf_check(&c, &err))
            fail_msg("%s", err.message);
        conf_free(&c);
    }
}

static void what_needs_a_new_start_is_named(void **state)
{
    (void)state;
    struct conf now, next;
    struct realm_error err;
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(parse(&now, everything, &err), 0);
    assert_int_equal(parse(&next, everything, &err), 0);
    assert_int_equal(conf_restart_keys(&now, &next, &out), 0);
    assert_int_equal(out.n, 0);
    assert_int_equal(conf_parse(&next, "x",
                                slice_of("listen: {port: 1, allowed_hosts: [a.example, c]}\n"
                                         "log: {level: warn}\nmodels: {kv_type: f16, pin: [a]}\n"
                                         "guest: {file: x.wasm}\n"),
                                &err),
                     0);
    assert_int_equal(conf_restart_keys(&now, &next, &out), 0);
    assert_string_equal(buf_cstr(&out),
                        "listen.port, listen.allowed_hosts, models.kv_type, guest.file");
    buf_free(&out);
    conf_free(&now);
    conf_free(&next);
}

static void files_are_found_or_named(void **state)
{
    (void)state;
    char path[] = "/tmp/realm-conf-XXXXXX";
    struct conf c;
    struct realm_error err;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "log:\n  level: x\n", 16), 16);
    close(fd);
    assert_int_equal(conf_init(&c), 0);
    assert_int_equal(conf_read(&c, path, &err), REALM_E_FORMAT);
    char told[120];
    snprintf(told, sizeof(told), "%s:2: log.level: must be error, warn, info or debug, not 'x'",
             path + 5);
    assert_string_equal(err.message, told);
    unlink(path);
    assert_int_equal(conf_read(&c, path, &err), REALM_E_NOT_FOUND);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(conf_read(&c, "/tmp", &err), REALM_E_IO);
    conf_free(&c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, before, after)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_are_the_documented_ones),
        TEST(a_file_is_read),
        TEST(empty_files_change_nothing),
        TEST(printing_is_a_fixpoint),
        TEST(bad_files_are_told_what_is_wrong),
        TEST(a_bad_file_changes_nothing),
        TEST(nothing_grows),
        TEST(damaged_files_are_read_or_refused),
        TEST(memory_may_run_out),
        TEST(keys_are_judged_together),
        TEST(what_needs_a_new_start_is_named),
        TEST(files_are_found_or_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
