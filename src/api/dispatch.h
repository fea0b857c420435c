/* api/dispatch.h - the functions that can be called over a WebSocket. */
#ifndef API_DISPATCH_H
#define API_DISPATCH_H

#include <jansson.h>

/* {version, functions:[{name, description, params, returns, streaming}]}, made from the table of
 * parameters; NULL when memory is short. */
json_t *dispatch_metadata(void);

#endif
