/* cmd/realm/score.h - the perplexity of a text that is longer than a context.
 *
 * The text's tokens are cut into windows, what is left over is left out.  Each window is
 * scored on its own, its first token being BOS where prompts begin with it, and the tokens
 * of its second half count: those have half a window or more before them.  So do the usual
 * tools of other engines, with which the result can be compared. */
#ifndef CMD_REALM_SCORE_H
#define CMD_REALM_SCORE_H

#include "cmd.h"

struct windows {
    uint32_t window; /* tokens of each */
    size_t n;
    size_t scored;     /* tokens that count, of all windows */
    double perplexity; /* exp of the mean of -log-probability */
    double error;      /* standard error of that */
};

/* Scores ids by windows of w->window tokens (2 to the model's context) and fills in the rest of
 * w; ids change where windows begin with BOS, which is ids[0] then.  EXIT_FAILED or EXIT_USAGE
 * after a sentence, or -1. */
int score_windows(struct realm_model *m, uint32_t *ids, size_t n_ids, struct windows *w);

#endif
