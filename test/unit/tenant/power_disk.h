/* test/unit/tenant/power_disk.h - a disk under the database whose power may fail.
 *
 * What was written since the last sync is there afterwards or not, 512 bytes by 512 bytes, and so
 * is a file's new length. */
#ifndef TEST_TENANT_POWER_DISK_H
#define TEST_TENANT_POWER_DISK_H

#include <stddef.h>

#include "util.h"

/* Of this process, before the database is opened: follows the one in w's folder from what it is
 * now.  Another one may be followed later. */
void power_watch(const struct world *w);
/* Has the power fail after so many writes, syncs and other changes; seen is called then, with
 * whatever it has to note of that moment. */
void power_fail_after(unsigned changes, void (*seen)(void *ctx), void *ctx);
bool power_failed(void);
/* Puts what is left of the database into the folder of to, where none is open. */
void power_leave(const struct world *to);

#endif
