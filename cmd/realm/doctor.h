/* cmd/realm/doctor.h - what `realm doctor` knows of a machine, and makes of it. */
#ifndef CMD_REALM_DOCTOR_H
#define CMD_REALM_DOCTOR_H

#include "base/machine.h"
#include "cmd.h"

/* Products that are measured: of the weights that most files have, and of whole floats. */
enum doctor_product { DOCTOR_Q4_K, DOCTOR_Q8_0, DOCTOR_F32, DOCTOR_PRODUCTS };

struct doctor {
    struct machine machine;
    unsigned cpu_flags;                /* enum cpu_flags of the processor */
    unsigned used_flags;               /* of the kernels: fewer under REALM_CPU */
    unsigned threads;                  /* that compute */
    uint64_t budget_bytes;             /* what an engine takes: weights, keys and values */
    double read_b_s;                   /* of memory; 0: not measured */
    double product_s[DOCTOR_PRODUCTS]; /* operations, two to a weight and token */
};

/* Fills in product_s, with d->threads threads.  REALM_E_NOMEM, REALM_E_SYS. */
MUST_USE int doctor_measure_products(struct doctor *d);

/* Bytes of memory that can be had now: a control group with less than is free ends who takes
 * more. */
uint64_t doctor_room(const struct doctor *d);

/* What to expect of a model that is quantised in a common way. */
struct expected {
    const char *size, *type; /* "8B", "Q4_K_M" */
    double weight_bytes;
    double all_bytes; /* with keys and values of DOCTOR_CONTEXT tokens */
    bool fits;
    double decode_tok_s, prefill_tok_s; /* of one answer, of a prompt; 0: not known */
};

enum { DOCTOR_CONTEXT = 4096, EXPECTED_MAX = 12 };

/* Fills in out (EXPECTED_MAX) and returns how many there are. */
size_t doctor_expect(const struct doctor *d, struct expected *out);

enum { DOCTOR_WARNINGS_MAX = 12, DOCTOR_WARNING_BYTES = 256 };

struct doctor_warnings {
    char text[DOCTOR_WARNINGS_MAX][DOCTOR_WARNING_BYTES];
    size_t n;
};

void doctor_warn(const struct doctor *d, struct doctor_warnings *out);

/* Instruction sets that kernels know and flags lack, "avx512, vnni"; "" for none. */
void doctor_lacking(unsigned flags, char *out, size_t max);

#endif
