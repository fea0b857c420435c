/* api/openai.h - what OpenAI's answers have in common. */
#ifndef API_OPENAI_H
#define API_OPENAI_H

#include "api/job.h"

/* {"id":…,"object":…,"created":…,"model":… */
void openai_begin(struct job *j, const char *id_prefix, const char *object);
/* ,"usage":null} of a stream that ends with one, or }, and sends it. */
void openai_end_chunk(struct job *j);
/* ,"usage":{…},"timings":{…}} of a whole answer, and sends it. */
void openai_finish(struct job *j);
/* The chunk with the usage, if it is wanted, and [DONE]. */
void openai_finish_stream(struct job *j, const char *id_prefix, const char *object);
void openai_fail(struct job *j, const struct api_error *e);
/* The model as the client named it. */
const char *openai_model(const struct job *j);
/* ,"timings":{…} as llama-server has it; nothing of a guest's answer, whose generations have
 * times of their own. */
void write_timings(struct job *j);
/* The same of a stream that goes on, if they are wanted: times as the client saw them, and
 * nothing of the cache. */
void write_timings_so_far(struct job *j, const struct choice *c);
void write_timings_of(struct job *j, const struct realm_usage *u);

#endif
