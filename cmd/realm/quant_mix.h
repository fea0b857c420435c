/* cmd/realm/quant_mix.h - which type each tensor of a quantised model gets. */
#ifndef CMD_REALM_QUANT_MIX_H
#define CMD_REALM_QUANT_MIX_H

#include "gguf/file.h"
#include "tensor/dtype.h"

/* A TYPE of the command line. */
struct quant_mix {
    const char *name;
    enum dtype type;      /* of matrices */
    enum dtype more_bits; /* of those matrices that matter most; the same as type: no mix */
    uint32_t file_type;   /* general.file_type */
};

/* By name, in any case of letters; NULL when there is none. */
const struct quant_mix *quant_mix_find(const char *name);

/* The type for tensor t of f:
 *   vectors, and the router of experts   F32
 *   matrices                             the mix's; more_bits for the output matrix
 *                                        (or the embeddings, if they are the output
 *                                        too), and for attn_v and ffn_down in the
 *                                        first and last eighth of the layers and in
 *                                        every third between
 * A row that is no multiple of 256 falls back from Q4_K and Q6_K to Q8_0, one
 * that is no multiple of 32 to F16. */
enum dtype quant_mix_type(const struct quant_mix *mix, const struct gguf_file *f,
                          const struct gguf_tensor *t);

#endif
