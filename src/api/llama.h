/* api/llama.h - what llama-server's answers have in common. */
#ifndef API_LLAMA_H
#define API_LLAMA_H

#include "api/job.h"

/* Its names for how an answer is drawn, as members without brackets. */
void write_llama_settings(struct job *j, const struct realm_sampling *s);

#endif
