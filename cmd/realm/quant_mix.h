/* cmd/realm/quant_mix.h - which type each tensor of a quantised model gets. */
#ifndef CMD_REALM_QUANT_MIX_H
#define CMD_REALM_QUANT_MIX_H

#include "gguf/file.h"
#include "tensor/dtype.h"

/* Which matrices of a mix get another type: those that its file type has by the
 * format's custom. */
enum quant_rule {
    MIX_NONE, /* none */
    MIX_MORE, /* Q4_K_M, Q5_K_M */
    MIX_Q3,   /* Q3_K_M */
};

/* A TYPE of the command line. */
struct quant_mix {
    const char *name;
    enum dtype type; /* of most matrices */
    enum quant_rule rule;
    uint32_t file_type; /* general.file_type */
};

/* By name, in any case of letters; NULL when there is none. */
const struct quant_mix *quant_mix_find(const char *name);

/* All names, for a sentence. */
const char *quant_mix_names(void);

/* What a mix asks of a model. */
struct quant_model {
    const struct gguf_file *file;
    uint32_t layers; /* that its tensors' names tell of */
    bool eight_experts;
    bool wide; /* 80 layers whose heads share keys and values: those of 70 B */
};

void quant_model_read(struct quant_model *m, const struct gguf_file *f);

/* The type for tensor t of m:
 *   vectors, biases, routers   F32
 *   other matrices             the mix's
 * and in a mix:
 *   the output matrix          Q6_K (or the embeddings, if they are the output too)
 *   Q4_K_M, Q5_K_M             Q6_K for attn_v and ffn_down, of experts too, in the first
 *                              and last eighth of the layers and in every third between;
 *                              for attn_qkv Q5_K and Q6_K
 *   Q3_K_M                     Q5_K for attn_v in the first two layers and ffn_down in the
 *                              first sixteenth, else Q4_K for these, for attn_output and
 *                              for attn_qkv
 *   a wide model               Q5_K for attn_v where it would have Q3_K or Q4_K: it is an eighth
 *                              of attn_q
 *   eight experts              Q8_0 for attn_k and attn_v, which are small beside the experts,
 *                              and Q5_K for attn_output
 * A row that is no multiple of 256 falls back from Q6_K to Q8_0, Q5_K to Q5_1, Q4_K to
 * Q5_0, Q3_K and Q2_K to Q4_0, IQ4_XS to IQ4_NL; one that is no multiple of 32 to F16. */
enum dtype quant_mix_type(const struct quant_mix *mix, const struct quant_model *m,
                          const struct gguf_tensor *t);

#endif
