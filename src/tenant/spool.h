/* tenant/spool.h - where closed rows go while the database cannot be written.
 *
 * A file beside it whose blocks are on the disk already, so that a full one does not matter;
 * each write is on the disk when it returns.  Of the ledger's thread alone. */
#ifndef TENANT_SPOOL_H
#define TENANT_SPOOL_H

#include "tenant/ledger.h"

struct spool {
    int fd;
    uint32_t n; /* slots in use; a row has one, or some that follow each other */
};

/* Opens or makes it; spool.n says what a process that is gone left.
 *   REALM_E_IO, REALM_E_FORMAT: by a program with other rows */
MUST_USE int spool_open(struct spool *s, const char *dir, struct realm_error *err);
void spool_close(struct spool *s);
/* REALM_E_IO: it is not there, nor will it be. */
MUST_USE int spool_add(struct spool *s, const struct ledger_row *row);
/* The row that begins in slot *at, which becomes the next one's. */
MUST_USE int spool_read(const struct spool *s, uint32_t *at, struct ledger_row *row);
MUST_USE int spool_clear(struct spool *s);

#endif
