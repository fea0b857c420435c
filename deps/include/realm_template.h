/* realm_template.h - renders the chat template of a model.
 *
 * A chat template is a Jinja2 template as transformers runs it: whitespace of
 * blocks trimmed, break and continue, Python's string, list and dict methods,
 * raise_exception, strftime_now, and tojson with Python's output.  It comes
 * from a model file, so it is not trusted: it reaches no file and no other
 * template, and its steps and output are bounded.
 *
 * Threads: every function may be called from any thread, and one template may
 * be rendered by several at once.
 * All that goes wrong comes back as an error, but for two things that a hostile
 * template can bring about and that end the process: no memory, and no stack (a
 * chain of thousands of operators, a value that contains itself).  Who must
 * survive that renders in a child process under limits.
 */
#ifndef REALM_TEMPLATE_H
#define REALM_TEMPLATE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Instructions of one rendering; 64 bytes of text made cost as much as one. */
#define REALM_TEMPLATE_STEPS_MAX 1000000
#define REALM_TEMPLATE_SOURCE_BYTES_MAX (256 * 1024)

enum realm_template_status {
    REALM_TEMPLATE_OK = 0,
    REALM_TEMPLATE_E_SYNTAX = -1,  /* the source does not compile */
    REALM_TEMPLATE_E_CONTEXT = -2, /* the context is not a JSON object */
    REALM_TEMPLATE_E_RAISED = -3,  /* the template called raise_exception */
    REALM_TEMPLATE_E_RENDER = -4,  /* an operation failed, say on an undefined value */
    REALM_TEMPLATE_E_LIMIT = -5,   /* source, steps or output over the limit */
    REALM_TEMPLATE_E_INTERNAL = -6 /* a panic was caught */
};

/* Filled whenever a function returns other than 0. */
struct realm_template_error {
    unsigned line;     /* from 1; 0: no line is to blame */
    char message[252]; /* a sentence, NUL-terminated, valid UTF-8 */
};

struct realm_template_options {
    size_t output_bytes_max; /* more is REALM_TEMPLATE_E_LIMIT */
    int64_t now_s;           /* strftime_now's time, seconds since 1970, shown in local time */
};

struct realm_template;

/* Compiles source, UTF-8 of source_len bytes, which may be freed afterwards.
 * {% generation %} and {% endgeneration %} only mark text for training and
 * have no effect.
 *
 * Returns 0 and a template the caller must free, or, with *out NULL,
 * REALM_TEMPLATE_E_SYNTAX, E_LIMIT or E_INTERNAL. */
int realm_template_compile(const char *source, size_t source_len, struct realm_template **out,
                           struct realm_template_error *err);
void realm_template_free(struct realm_template *tmpl);

/* Renders with the members of context_json, a JSON object, as variables:
 * messages, tools, documents, add_generation_prompt, bos_token, eos_token and
 * whatever else the caller has.  tools and documents are none and
 * add_generation_prompt is false where the object lacks them.
 *
 * Returns 0 and *out, malloc'ed, NUL-terminated after *out_len bytes of UTF-8
 * (which may hold NULs of their own), or, with *out NULL and *out_len 0,
 * REALM_TEMPLATE_E_CONTEXT, E_RAISED (message is the template's own), E_RENDER,
 * E_LIMIT or E_INTERNAL. */
int realm_template_render(const struct realm_template *tmpl, const char *context_json,
                          size_t context_len, const struct realm_template_options *options,
                          char **out, size_t *out_len, struct realm_template_error *err);

#ifdef __cplusplus
}
#endif

#endif
