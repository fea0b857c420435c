/* Weights of a type that does not run are refused by its name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"
#include "model_file.h"

static const char TENSOR[] = "blk.1.ffn_up.weight";

static void load_as(uint32_t type, int wanted, const char *words)
{
    struct model_spec s = model_spec_default();
    struct realm_error err = {0};
    struct gguf_file *f;
    struct model *m;
    size_t n;
    s.tensor = TENSOR;
    s.tensor_type = (int)type + 1;
    uint8_t *bytes = model_file_make(&s, &n);
    assert_int_equal(gguf_file_from_memory(&f, bytes, n, &err), 0);
    assert_int_equal(model_load(&m, f, NULL, &err), wanted);
    if (wanted && !strstr(err.message, words))
        fail_msg("\"%s\" does not say \"%s\"", err.message, words);
    model_close(m);
    gguf_file_close(f);
    free(bytes);
}

static void those_that_run_are_loaded_and_others_named(void **state)
{
    (void)state;
    unsigned loaded = 0, refused = 0;
    for (uint32_t type = 0; type < 100; type++) {
        const struct dtype_info *info = dtype_info(type);
        char words[64];
        if (!info)
            continue;
        snprintf(words, sizeof(words), "%s has type %s,", TENSOR, info->name);
        load_as(type, info->runs ? 0 : REALM_E_UNSUPPORTED, words);
        loaded += info->runs;
        refused += !info->runs;
    }
    assert_int_equal(loaded, 16);
    assert_int_equal(refused, 18);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_that_run_are_loaded_and_others_named),
    };
    return cmocka_run_group_tests_name("types", tests, NULL, NULL);
}
