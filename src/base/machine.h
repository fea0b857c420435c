/* base/machine.h - what the machine has, as its kernel tells.
 *
 * root is put before every path that is read: "" for this machine, a folder for
 * tests.  What cannot be read is left at "nothing known". */
#ifndef BASE_MACHINE_H
#define BASE_MACHINE_H

#include <stdint.h>

enum { MACHINE_NAME_MAX = 96 };

enum machine_pages {
    MACHINE_PAGES_UNKNOWN, /* a kernel that has no huge pages, or does not tell */
    MACHINE_PAGES_NEVER,
    MACHINE_PAGES_MADVISE, /* for memory that asks for them, as base/mem.h does */
    MACHINE_PAGES_ALWAYS,
};

struct machine {
    char cpu[MACHINE_NAME_MAX]; /* the processor's name; "" unknown */
    unsigned processors;        /* that this process may run on */
    unsigned cores;             /* on which these are: two hyperthreads share one */
    double quota;               /* processors' time that its control groups get; 0: no limit */
    double load;                /* threads that ran or wanted to, of all programs, in a minute */
    uint64_t memory_bytes;
    uint64_t available_bytes; /* without taking from others */
    uint64_t limit_bytes;     /* of its control groups; UINT64_MAX: none */
    uint64_t swap_bytes, swap_used_bytes;
    enum machine_pages huge_pages;
};

void machine_read(const char *root, struct machine *out);

/* Threads that compute where nobody says how many: one for each processor that this process
 * may run on, or for each whole one whose time its control groups give, if these are fewer;
 * 1 to POOL_THREADS_MAX.  More would use the time up and then stand still together. */
unsigned machine_threads(const char *root);

/* Bytes of memory that this process may use: the machine's or its control groups'. */
uint64_t machine_memory_max(const char *root);

#endif
