/* api/openapi.h - the description of the API that /openapi.json gives. */
#ifndef API_OPENAPI_H
#define API_OPENAPI_H

#include <jansson.h>

/* An OpenAPI 3.1 document, made from the rows by which requests are read and from realm_params;
 * NULL when memory is short. */
json_t *openapi_document(void);

#endif
