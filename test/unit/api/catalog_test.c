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

#include "api/catalog.h"
#include "base/mem.h"

static char dir[] = "/tmp/realm-catalog-XXXXXX";

static void touch(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
}

static int make_dir(void **state)
{
    (void)state;
    char path[256];
    if (!mkdtemp(dir))
        return -1;
    touch("b.gguf");
    touch("a.gguf");
    touch("notes.txt");
    touch(".hidden.gguf");
    touch("big-00001-of-00002.gguf");
    touch("big-00002-of-00002.gguf");
    snprintf(path, sizeof(path), "%s/link.gguf", dir);
    if (symlink("/etc/passwd", path))
        return -1;
    snprintf(path, sizeof(path), "%s/folder.gguf", dir);
    return mkdir(path, 0700);
}

static int remove_dir(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", dir);
    return system(command);
}

static void list(void *ctx, const struct catalog_model *m, const char *alias_of)
{
    char *out = ctx;
    size_t n = strlen(out);
    snprintf(out + n, 512 - n, "%s%s%s ", m->id, alias_of ? "=" : "", alias_of ? alias_of : "");
}

static struct catalog *open_with(const struct api_models *models)
{
    struct catalog *c;
    assert_int_equal(catalog_open(&c), 0);
    assert_int_equal(catalog_set(c, models, NULL), 0);
    return c;
}

static void files_and_aliases(void **state)
{
    (void)state;
    const struct api_model named[] = {{"mine", "/nowhere/mine.gguf"}};
    const struct api_model aliases[] = {{"gpt-4", "a"}, {"gpt-5", "mine"}};
    const struct api_models models = {
        .dir = dir, .named = named, .n_named = 1, .aliases = aliases, .n_aliases = 2};
    struct catalog *c = open_with(&models);
    struct catalog_model m;
    char listed[512] = "";
    assert_int_equal(catalog_each(c, list, listed), 0);
    assert_string_equal(listed, "a b big-00001-of-00002 gpt-4=a gpt-5=mine mine ");

    assert_int_equal(catalog_find(c, "gpt-4", &m, NULL), 0);
    assert_string_equal(m.id, "a");
    assert_int_equal(catalog_find(c, "mine", &m, NULL), 0);
    assert_string_equal(m.path, "/nowhere/mine.gguf"); // its loading will say what is wrong
    catalog_close(c);
}

static void names_that_reach_nothing(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",     "c",        "link", "folder", ".hidden", "../a",  "a/../b", "/etc/passwd",
        "a\nb", "\xff\xfe", ".",    "..",     "a.gguf",  "notes",
    };
    char long_name[1000];
    struct realm_error err;
    struct catalog_model m;
    struct catalog *c = open_with(&(struct api_models){.dir = dir});
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(catalog_find(c, names[i], &m, &err), REALM_E_NOT_FOUND);
    memset(long_name, 'n', sizeof(long_name));
    long_name[999] = '\0';
    assert_int_equal(catalog_find(c, long_name, &m, &err), REALM_E_NOT_FOUND);
    assert_true(strlen(err.message) < 120);
    catalog_close(c);
}

/* X08: a file that is gone is to be found where it was; what is no file of the folder is not. */
static void files_that_are_gone(void **state)
{
    (void)state;
    static const char *const others[] = {"a", "link", "folder", "../x", "", "mine", "of-mine"};
    const struct api_model named = {"mine", "/nowhere/mine.gguf"}, alias = {"of-mine", "mine"};
    struct catalog *c = open_with(&(struct api_models){
        .dir = dir, .named = &named, .n_named = 1, .aliases = &alias, .n_aliases = 1});
    struct catalog_model m;
    char path[PATH_MAX];
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(catalog_find_gone(c, others[i], &m));
    assert_true(catalog_find_gone(c, "gone", &m));
    snprintf(path, sizeof(path), "%s/gone.gguf", dir);
    assert_string_equal(m.path, path);
    catalog_close(c);
}

static void the_one_without_a_name(void **state)
{
    (void)state;
    const struct api_model named[] = {{"only", "/x/only.gguf"}};
    const struct api_model aliases[] = {{"other", "only"}};
    struct catalog_model m;
    struct realm_error err;
    struct catalog *c = open_with(
        &(struct api_models){.named = named, .n_named = 1, .aliases = aliases, .n_aliases = 1});
    assert_int_equal(catalog_find(c, NULL, &m, NULL), 0);
    assert_string_equal(m.id, "only");
    assert_int_equal(catalog_set(c, &(struct api_models){.dir = dir}, NULL), 0);
    assert_int_equal(catalog_find(c, NULL, &m, &err), REALM_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "there are 3"));
    assert_int_equal(catalog_set(c, &(struct api_models){.dir = dir, .main_model = "b"}, NULL), 0);
    assert_int_equal(catalog_find(c, NULL, &m, NULL), 0);
    assert_string_equal(m.id, "b");
    catalog_close(c);
}

static void what_is_refused_changes_nothing(void **state)
{
    (void)state;
    const struct api_model twice[] = {{"x", "/x"}, {"x", "/y"}};
    const struct api_model nothing[] = {{"alias", "absent"}};
    const struct api_models bad[] = {
        {.named = twice, .n_named = 2},
        {.dir = dir, .aliases = nothing, .n_aliases = 1},
        {.dir = dir, .main_model = "absent"},
    };
    struct realm_error err;
    struct catalog_model m;
    uint64_t before = mem_live();
    struct catalog *c = open_with(&(struct api_models){.dir = dir});
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(catalog_set(c, &bad[i], &err), REALM_E_ARG);
        assert_int_equal(catalog_find(c, "a", &m, NULL), 0);
    }
    for (uint64_t n = 1; n < 12; n++) {
        mem_fail_at(n, 0);
        int status = catalog_set(c, &(struct api_models){.dir = dir, .main_model = "b"}, &err);
        mem_fail_at(0, 0);
        assert_true(status == 0 || status == REALM_E_NOMEM);
    }
    catalog_close(c);
    assert_int_equal(mem_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_and_aliases),
        cmocka_unit_test(names_that_reach_nothing),
        cmocka_unit_test(files_that_are_gone),
        cmocka_unit_test(the_one_without_a_name),
        cmocka_unit_test(what_is_refused_changes_nothing),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
