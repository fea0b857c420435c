/* api/openapi.h - what /openapi.json says.
 *
 * Made from the rows by which requests are read, and from realm_params: every parameter,
 * range and default stands once. */
#ifndef API_OPENAPI_H
#define API_OPENAPI_H

#include <jansson.h>

/* NULL when memory is short. */
json_t *openapi_document(void);

#endif
