/* Files that are cut, files with a bit flipped, and memory that runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <sys/mman.h>

#include "base/compiler.h"
#include "base/io.h"
#include "base/mem.h"
#include "gguf/file.h"

static const char *fixtures;

static uint8_t *read_fixture(const char *name, size_t *n)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", fixtures, name);
    uint8_t *p;
    struct realm_error err;
    if (io_read_file(io_system(), path, 1 << 20, &p, n, &err))
        fail_msg("%s", err.message);
    return p;
}

static const char *const small[] = {"v3.gguf", "align64.gguf", "part-00001-of-00003.gguf"};

/* Cut at every byte: refused, with the place; and where the file goes on, more
 * is asked for until the whole header is there. */
static void every_truncation(void **state)
{
    (void)state;
    for (size_t f = 0; f < ARRAY_LEN(small); f++) {
        size_t n;
        uint8_t *file = read_fixture(small[f], &n);
        bool whole = false;
        for (size_t cut = 0; cut < n; cut++) {
            uint8_t *exact = mem_alloc(cut);
            memcpy(exact, file, cut);
            struct gguf *g;
            struct realm_error err = {0};
            uint64_t live = mem_live();
            assert_int_equal(gguf_parse(&g, exact, cut, cut, &err), REALM_E_FORMAT);
            assert_non_null(strstr(err.message, cut ? "the file is cut short" : "is empty"));
            assert_true(!cut || strstr(err.message, "offset"));
            assert_int_equal(mem_live(), live);
            int status = gguf_parse(&g, exact, cut, n, &err);
            assert_true(status == (whole ? 0 : GGUF_MORE) || status == 0);
            whole = status == 0;
            gguf_close(g);
            mem_free(exact);
        }
        assert_true(whole);
        mem_free(file);
    }
}

/* Walks all that a parsed header hands out. */
static uint64_t touch(const struct gguf *g)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < gguf_values(g); i++) {
        const struct gguf_value *v = gguf_value(g, i);
        for (size_t j = 0; j < v->data.n; j++)
            sum += v->data.p[j];
        struct bytes it = bytes_from(v->data.p, v->data.n);
        for (uint64_t j = 0; v->item_type == GGUF_STRING && j < v->count; j++)
            sum += gguf_next_string(&it).n;
    }
    for (size_t i = 0; i < gguf_tensors(g); i++)
        sum += gguf_tensor(g, i)->offset + gguf_tensor(g, i)->bytes;
    return sum;
}

static void every_flipped_bit(void **state)
{
    (void)state;
    size_t n, good = 0, bad = 0;
    uint8_t *file = read_fixture("v3.gguf", &n);
    for (size_t bit = 0; bit < 8 * n; bit++) {
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
        struct gguf *g;
        struct realm_error err = {0};
        uint64_t live = mem_live();
        int status = gguf_parse(&g, file, n, n, &err);
        assert_true(status == 0 || (status < 0 && err.message[0]));
        if (status == 0) {
            touch(g);
            good++;
        } else {
            bad++;
        }
        gguf_close(g);
        assert_int_equal(mem_live(), live);
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    print_message("# flipped bits: %zu refused, %zu read\n", bad, good);
    assert_true(bad > 500 && good > 500);
    mem_free(file);
}

static void every_failing_allocation(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof(path), "%s/part-00001-of-00003.gguf", fixtures);
    size_t n;
    uint8_t *file = read_fixture("v3.gguf", &n);
    for (int from_memory = 0; from_memory < 2; from_memory++) {
        for (uint64_t at = 1;; at++) {
            struct gguf_file *f = NULL;
            struct realm_error err = {0};
            uint64_t live = mem_live();
            mem_fail_at(at, at % 2);
            int status = from_memory ? gguf_file_from_memory(&f, file, n, &err)
                                     : gguf_file_open(&f, io_system(), path, 0, &err);
            mem_fail_at(0, 0);
            gguf_file_close(f);
            assert_int_equal(mem_live(), live);
            if (status == 0) {
                assert_true(at > 8); // it did allocate
                break;
            }
            assert_int_equal(status, REALM_E_NOMEM);
            assert_true(err.message[0]);
        }
    }
    mem_free(file);
}

/* Arrays that are allowed one by one, but not all of them together: the header's
 * limit stops them.  Their pages are never touched. */
static void headers_have_a_limit(void **state)
{
    (void)state;
    enum { ARRAYS = 5, ITEMS = 16 << 20 };
    static const size_t size = (size_t)1 << 30;
    uint8_t *file = mmap(NULL, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(file != MAP_FAILED);
    const uint32_t array = GGUF_ARRAY, item = GGUF_U64, version = 3;
    const uint64_t values = ARRAYS, items = ITEMS, one = 1;
    memcpy(file, "GGUF", 4);
    memcpy(file + 4, &version, 4);
    memcpy(file + 16, &values, 8);
    uint8_t *p = file + 24;
    for (int i = 0; i < ARRAYS; i++) {
        memcpy(p, &one, 8);
        p[8] = (uint8_t)('a' + i);
        memcpy(p + 9, &array, 4);
        memcpy(p + 13, &item, 4);
        memcpy(p + 17, &items, 8);
        p += 25 + 8 * (size_t)ITEMS;
    }
    struct gguf *g;
    struct realm_error err = {0};
    assert_int_equal(gguf_parse(&g, file, size, size, &err), REALM_E_LIMIT);
    assert_non_null(strstr(err.message, "key \"d\""));
    assert_int_equal(gguf_parse(&g, file, 100, size, &err), GGUF_MORE);
    munmap(file, size);
}

int main(int argc, char **argv)
{
    fixtures = argc > 1 ? argv[1] : ".";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_truncation),
        cmocka_unit_test(every_flipped_bit),
        cmocka_unit_test(every_failing_allocation),
        cmocka_unit_test(headers_have_a_limit),
    };
    return cmocka_run_group_tests_name("gguf/damage", tests, NULL, NULL);
}
