/* The cache of compiled guests: what it does not know to be its own, it never gives. */
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

#include "base/limits.h"
#include "wasm/cache.h"

enum { CODE_BYTES = 24 << 10 };

static char dir[] = "/tmp/realm-cache-XXXXXX";
static char path[512];
static uint8_t code[CODE_BYTES];

static int make_dir(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(code); i++)
        code[i] = (uint8_t)(i * 131 >> 3);
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    char command[600];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static struct cache *open_cache(void)
{
    struct cache *c;
    struct realm_error err;
    assert_int_equal(cache_open(&c, dir, &err), 0);
    return c;
}

static bool is_given(struct cache *c, const char *name)
{
    struct buf out;
    buf_init(&out, MiB);
    bool given = cache_get(c, name, &out);
    if (given)
        assert_true(slice_equal(buf_slice(&out), (struct slice){code, sizeof(code)}));
    buf_free(&out);
    return given;
}

/* Puts the artefact under a name and leaves its file's name in path. */
static void put(struct cache *c, const char *module, char name[CACHE_NAME_MAX])
{
    assert_int_equal(cache_name(slice_of(module), "engine-1", name), 0);
    assert_int_equal(cache_put(c, name, (struct slice){code, sizeof(code)}), 0);
    snprintf(path, sizeof(path), "%s/%s.cwasm", dir, name);
    if (access(path, R_OK))
        snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(access(path, R_OK), 0);
}

static void what_was_put_is_given_to_its_owner(void **state)
{
    (void)state;
    struct cache *c = open_cache();
    char name[CACHE_NAME_MAX], other[CACHE_NAME_MAX];
    put(c, "module", name);
    assert_true(is_given(c, name));
    cache_close(c);
    c = open_cache(); // the key outlives the process
    assert_true(is_given(c, name));
    assert_int_equal(cache_name(slice_of("module"), "engine-2", other), 0);
    assert_string_not_equal(name, other);
    assert_false(is_given(c, other));
    struct stat st;
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    cache_close(c);
}

static void no_flipped_byte_is_taken(void **state)
{
    (void)state;
    struct cache *c = open_cache();
    char name[CACHE_NAME_MAX];
    put(c, "flipped", name);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    setvbuf(f, NULL, _IONBF, 0);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    assert_true(n > CODE_BYTES);
    for (long i = 0; i < n; i++) {
        fseek(f, i, SEEK_SET);
        int byte = fgetc(f);
        fseek(f, i, SEEK_SET);
        fputc(byte ^ 1 << i % 8, f);
        if (is_given(c, name))
            fail_msg("the artefact was taken with byte %ld flipped", i);
        fseek(f, i, SEEK_SET);
        fputc(byte, f);
    }
    fclose(f);
    assert_true(is_given(c, name));
    cache_close(c);
}

static void no_cut_or_longer_file_is_taken(void **state)
{
    (void)state;
    struct cache *c = open_cache();
    char name[CACHE_NAME_MAX];
    put(c, "cut", name);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    for (off_t n = st.st_size - 1; n >= 0; n -= n > 100 ? 97 : 1) {
        assert_int_equal(truncate(path, n), 0);
        assert_false(is_given(c, name));
    }
    put(c, "cut", name);
    assert_int_equal(truncate(path, st.st_size + 1), 0);
    assert_false(is_given(c, name));
    cache_close(c);
}

static void a_folder_that_others_can_write_is_refused(void **state)
{
    (void)state;
    struct cache *c;
    struct realm_error err;
    assert_int_equal(chmod(dir, 0777), 0);
    assert_int_equal(cache_open(&c, dir, &err), REALM_E_SYS);
    assert_null(c);
    assert_int_equal(chmod(dir, 0700), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_given_to_its_owner),
        cmocka_unit_test(no_flipped_byte_is_taken),
        cmocka_unit_test(no_cut_or_longer_file_is_taken),
        cmocka_unit_test(a_folder_that_others_can_write_is_refused),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
