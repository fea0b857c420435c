/* engine/util.h - what the engine's tests share: an engine over the tiny model,
 * and answers read to their end. */
#ifndef ENGINE_UTIL_H
#define ENGINE_UTIL_H

#include "../../gate.h"
#include "realm/realm.h"

enum { ANSWER_MAX = 512 };

struct answer {
    int status; /* of the end, or of the start */
    enum realm_finish finish;
    uint32_t tokens[ANSWER_MAX];
    float logprobs[ANSWER_MAX];
    size_t n;
    char text[16384];
    size_t text_bytes;
    struct realm_usage usage;
    uint64_t seed;
};

/* argv[1] of the test: the tiny model's path. */
extern const char *tiny_path;

/* Fails the test when it cannot. */
struct realm *open_engine(const struct realm_options *options);
struct realm_model *open_tiny(struct realm *r);

/* A greedy request for max_tokens tokens, whatever they are. */
struct realm_request request_for(const char *text, uint32_t max_tokens);

/* Ids that make a prompt of n tokens. */
void long_ids(struct realm_model *m, uint32_t *ids, size_t n);

/* Reads g to its end and closes it. */
void read_answer(struct realm_gen *g, struct answer *out);
/* Starts and reads; a start that fails is an answer with its status. */
void ask(struct realm_model *m, const struct realm_request *request, struct answer *out);
void assert_same_answer(const struct answer *a, const struct answer *b);

/* A copy of the model's file at path. */
void copy_tiny(const char *path);
/* Its bytes, for the caller to free(). */
void *read_tiny(size_t *n);

struct realm_stats stats_of(struct realm *r);

#endif
