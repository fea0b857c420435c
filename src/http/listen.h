/* http/listen.h - where connections come from; for server.c. */
#ifndef HTTP_LISTEN_H
#define HTTP_LISTEN_H

#include "http/conn.h"

/* Takes no connection any more. */
void listeners_close(struct http_server *s);
/* After the loop has closed their handles. */
void listeners_free(struct http_server *s);
/* Those that had to pause for want of descriptors try again. */
void listeners_resume(struct http_server *s);
/* Descriptors that are kept to tell clients with that there are no more. */
void spares_open(struct http_server *s); /* those that are not there */
void spares_close(struct http_server *s);

#endif
