/* wasm/guest_log.h - a guest's standard output and error: lines of the log. */
#ifndef WASM_GUEST_LOG_H
#define WASM_GUEST_LOG_H

#include "wasm/instance.h"

void guest_log_init(struct instance *in);
void guest_log_close(struct instance *in); /* logs what had no newline yet */

/* For wasi_config_set_stdout_custom and its sister; data is the instance. */
ptrdiff_t guest_log_stdout(void *data, const unsigned char *text, size_t n);
ptrdiff_t guest_log_stderr(void *data, const unsigned char *text, size_t n);

#endif
