/* cmd/realm/sampling_opts.h - the sampling options of `realm run`, which come from
 * the one parameter table. */
#ifndef CMD_REALM_SAMPLING_OPTS_H
#define CMD_REALM_SAMPLING_OPTS_H

#include "cmd.h"

enum { SAMPLING_OPTS_MAX = 16 };

/* Where opt_parse leaves the arguments, one for each row of realm_params(). */
struct sampling_opts {
    const char *text[SAMPLING_OPTS_MAX];
    char help[SAMPLING_OPTS_MAX][160];
};

/* Appends an option for each parameter to opts, which has n already; returns the
 * new count.  Help shows range and default of the command line's door. */
size_t sampling_opts_add(struct sampling_opts *s, struct opt *opts, size_t n);

/* Reads what was given into sampling; -1, or EXIT_USAGE after a sentence. */
int sampling_opts_read(const struct sampling_opts *s, const char *cmd,
                       struct realm_sampling *sampling);

/* Whether the parameter of this name was given. */
bool sampling_opts_given(const struct sampling_opts *s, const char *name);

#endif
