/* test/unit/text/make.h - GGUF headers put together in memory, and small
 * vocabularies to change one thing in. */
#ifndef TEST_TEXT_MAKE_H
#define TEST_TEXT_MAKE_H

#include "base/buf.h"
#include "gguf/gguf.h"
#include "text/vocab.h"

struct make {
    struct buf values;
    uint64_t n;
    struct buf file; /* what make_gguf parsed */
};

void make_init(struct make *m);
void make_free(struct make *m);
void make_u32(struct make *m, const char *key, uint32_t value);
void make_i32(struct make *m, const char *key, int32_t value);
void make_bool(struct make *m, const char *key, bool value);
void make_string(struct make *m, const char *key, const char *value);
void make_strings(struct make *m, const char *key, const struct slice *items, size_t n);
void make_i32s(struct make *m, const char *key, const int32_t *items, size_t n);
void make_f32s(struct make *m, const char *key, const float *items, size_t n);
/* Views of m->file: free the GGUF first.  NULL: it does not parse. */
struct gguf *make_gguf(struct make *m);

enum { SMALL_MAX = 512 };

/* A vocabulary as lists.  Texts are views: into constants, or into names. */
struct small {
    bool spm;
    const char *model; /* NULL: as spm says */
    size_t n, n_merges;
    struct slice tokens[SMALL_MAX], merges[64];
    int32_t types[SMALL_MAX];
    float scores[SMALL_MAX];
    int64_t bos, eos, unknown; /* below 0: no key */
    const char *pre;           /* NULL: no key */
    char names[256][8];        /* of the byte tokens */
};

void small_spm(struct small *s);
void small_bpe(struct small *s);
void small_wordpiece(struct small *s);
void small_unigram(struct small *s);
void small_plain(struct small *s); /* as Gemma 4's */
uint32_t small_add(struct small *s, const char *text, int32_t type, float score);
void small_write(const struct small *s, struct make *m);
int small_open(const struct small *s, struct vocab **out, struct realm_error *err);
/* Of this thread. */
double cpu_seconds(void);

/* Encodes text, which is to take no more and no fewer ids than is promised of it: at most
 * SMALL_IDS.  Writes the tokens' texts with a bar between them; returns the ids. */
enum { SMALL_IDS = 1024 };
size_t small_encode(const struct vocab *v, const char *text, unsigned flags, uint32_t *ids,
                    char out[4096]);
/* Opens it, and encodes text to tokens, while each allocation fails in turn: with an error, and
 * nothing lost. */
void small_memory_fails(const struct small *s, const char *text, size_t tokens);

#endif
