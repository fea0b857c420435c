/* model/arch/arch.c - the architectures that there are. */
#include "model/arch/arch.h"

extern const struct arch arch_bert, arch_gemma, arch_gemma2, arch_gemma3, arch_gpt_oss,
    arch_granite, arch_granitemoe, arch_llama, arch_nomic_bert, arch_olmo2, arch_olmoe, arch_phi3,
    arch_qwen2, arch_qwen2moe, arch_qwen3, arch_qwen3moe, arch_starcoder2;

static const struct arch *const all[] = {
    &arch_bert,     &arch_gemma,      &arch_gemma2, &arch_gemma3,     &arch_gpt_oss,
    &arch_granite,  &arch_granitemoe, &arch_llama,  &arch_nomic_bert, &arch_olmo2,
    &arch_olmoe,    &arch_phi3,       &arch_qwen2,  &arch_qwen2moe,   &arch_qwen3,
    &arch_qwen3moe, &arch_starcoder2,
};

const struct arch *arch_find(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (slice_is(name, all[i]->name))
            return all[i];
    return NULL;
}
