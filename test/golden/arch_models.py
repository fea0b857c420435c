"""Seeded random models, one for each architecture or variant of it that arch_test.py
compares; in F32, but for some experts.  Names of keys and tensors are the gguf package's."""

import zlib

import gguf
import numpy as np
from gguf import MODEL_TENSOR as M
from gguf import TENSOR_NAMES
from gguf import GGMLQuantizationType as T
from gguf.quants import quantize
from write_model import command, finish

EXPERTS, USED, EXPERT_FFN, SHARED_FFN = 6, 3, 40, 56
SIZES = {"width": 64, "ffn": 80, "heads": 4, "kv_heads": 2, "dim": 24, "vocab": 131,
         "context": 2304, "layers": 3}
# The shape of models/tiny, which the scheduler's tests know.
TINY = {**SIZES, "width": 256, "dim": 64, "vocab": 2048, "layers": 5}
# Sizes in shapes that a model's sizes give.
WIDTH, FFN, FFN_TWICE, HEADS, DIM, Q, KV, QKV = (
    "width", "ffn", "ffn_twice", "heads", "dim", "q", "kv", "qkv")

NORMS = {M.ATTN_NORM: [WIDTH], M.FFN_NORM: [WIDTH]}
POST_NORMS = {M.ATTN_POST_NORM: [WIDTH], M.FFN_POST_NORM: [WIDTH]}
ATTENTION = {
    M.ATTN_Q: [Q, WIDTH],
    M.ATTN_K: [KV, WIDTH],
    M.ATTN_V: [KV, WIDTH],
    M.ATTN_OUT: [WIDTH, Q],
}
HEAD_NORMS = {M.ATTN_Q_NORM: [DIM], M.ATTN_K_NORM: [DIM]}
GATED = {M.FFN_GATE: [FFN, WIDTH], M.FFN_UP: [FFN, WIDTH], M.FFN_DOWN: [WIDTH, FFN]}
EACH = {
    M.FFN_GATE_INP: [EXPERTS, WIDTH],
    M.FFN_GATE_EXP: [EXPERTS, EXPERT_FFN, WIDTH],
    M.FFN_UP_EXP: [EXPERTS, EXPERT_FFN, WIDTH],
    M.FFN_DOWN_EXP: [EXPERTS, WIDTH, EXPERT_FFN],
}
SHARED = {
    M.FFN_GATE_SHEXP: [SHARED_FFN, WIDTH],
    M.FFN_UP_SHEXP: [SHARED_FFN, WIDTH],
    M.FFN_DOWN_SHEXP: [WIDTH, SHARED_FFN],
}
LLAMA = {**NORMS, **ATTENTION, **GATED}
QKV_BIAS = [M.ATTN_Q, M.ATTN_K, M.ATTN_V]


def linear(w):
    w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    w.add_rope_scaling_factor(4.0)


def yarn(w, factor=4.0, original=512):
    w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    w.add_rope_scaling_factor(factor)
    w.add_rope_scaling_orig_ctx_len(original)


def long_rope(w, rng, original, said=True):
    w.add_rope_scaling_orig_ctx_len(original)
    if said:
        w.add_rope_scaling_attn_factors(1.19)
    for tensor in (M.ROPE_FACTORS_LONG, M.ROPE_FACTORS_SHORT):
        factors = 1 + 3 * rng.random(SIZES["dim"] // 2, np.float32)
        w.add_tensor(TENSOR_NAMES[tensor] + ".weight", factors)


def llama3(w, rng):
    factors = 1 + 7 * rng.random(SIZES["dim"] // 2, np.float32)
    w.add_tensor(TENSOR_NAMES[M.ROPE_FREQS] + ".weight", factors)


def experts(w, own_ffn=True):
    w.add_expert_count(EXPERTS)
    w.add_expert_used_count(USED)
    if own_ffn:
        w.add_expert_feed_forward_length(EXPERT_FFN)


def shared(w):
    w.add_expert_shared_feed_forward_length(SHARED_FFN)


def granite(w, rng):
    w.add_embedding_scale(5.5)
    w.add_residual_scale(0.23)
    w.add_attention_scale(0.07)
    w.add_logit_scale(3.0)


def gemma2(w, rng):
    w.add_sliding_window(20)
    w.add_attn_logit_softcapping(2.0)
    w.add_final_logit_softcapping(1.5)


def gemma3(w, rng):
    w.add_sliding_window(20)
    w.add_rope_freq_base(1e6)
    linear(w)


def gpt_oss(w, rng):
    experts(w)
    w.add_sliding_window(20)
    yarn(w, 32.0)


def own_yarn(w, rng):
    """All that a file may say of it."""
    yarn(w)
    w.add_rope_scaling_attn_factors(1.3)
    w.add_float32(w.arch + ".rope.scaling.yarn_beta_fast", 12.0)
    w.add_float32(w.arch + ".rope.scaling.yarn_beta_slow", 2.0)


def gemma3_period(w, rng):
    """Says what else is taken for granted."""
    gemma3(w, rng)
    w.add_float32("gemma3.rope.freq_base_swa", 300.0)
    w.add_uint32("gemma3.attention.sliding_window_pattern", 2)


def window_list(w, rng):
    w.add_sliding_window(300)
    w.add_sliding_window_pattern([True, False, True])


def scaled_experts(w, rng):
    experts(w)
    w.add_expert_weights_scale(1.75)
    w.add_expert_weights_norm(True)


# Architecture, tensors of a layer, those with a bias, and what else there is to write.
SPECS = {
    "llama": ("llama", LLAMA, [], {}),
    "llama-biases": ("llama", LLAMA, [*QKV_BIAS, M.ATTN_OUT], {"tied": True}),
    "llama-linear": ("llama", LLAMA, [], {"more": lambda w, rng: linear(w)}),
    "llama-3": ("llama", LLAMA, [], {"more": llama3}),
    "llama-yarn": ("llama", LLAMA, [], {"more": lambda w, rng: yarn(w)}),
    "llama-yarn-own": ("llama", LLAMA, [], {"more": own_yarn}),
    "llama-longrope-long": ("llama", LLAMA, [], {"more": lambda w, r: long_rope(w, r, 512)}),
    "llama-partial-rope": ("llama", LLAMA, [], {"rope_dim": 10}),
    "mistral": ("llama", LLAMA, [], {"more": lambda w, rng: w.add_sliding_window(20)}),
    "mixtral": ("llama", {**NORMS, **ATTENTION, **EACH}, [],
                {"more": lambda w, rng: experts(w, False), "ffn": EXPERT_FFN}),
    "mixtral-apart": ("llama", {**NORMS, **ATTENTION, **EACH}, [],
                      {"more": lambda w, rng: experts(w, False), "ffn": EXPERT_FFN,
                       "apart": True}),
    "qwen2": ("qwen2", LLAMA, QKV_BIAS, {"tied": True}),
    "qwen2-yarn": ("qwen2", LLAMA, QKV_BIAS, {"more": lambda w, rng: yarn(w, 8.0, 256)}),
    "qwen3": ("qwen3", {**LLAMA, **HEAD_NORMS}, [], {"tied": True}),
    "gemma2": ("gemma2", {**LLAMA, **POST_NORMS}, [], {"tied": True, "more": gemma2}),
    "gemma2-unsaid": ("gemma2", {**LLAMA, **POST_NORMS}, [], {"tied": True}),
    "gemma2-27b": ("gemma2", {**LLAMA, **POST_NORMS}, [],
                   {"tied": True, "more": gemma2, "layers": 46}),
    "gemma3-27b": ("gemma3", {**LLAMA, **POST_NORMS, **HEAD_NORMS}, [],
                   {"tied": True, "more": gemma3, "layers": 62}),
    "gemma3-period": ("gemma3", {**LLAMA, **POST_NORMS, **HEAD_NORMS}, [],
                      {"tied": True, "more": gemma3_period}),
    "gemma3-no-window": ("gemma3", {**LLAMA, **POST_NORMS, **HEAD_NORMS}, [],
                         {"tied": True, "more": lambda w, rng: linear(w)}),
    "gemma3": ("gemma3", {**LLAMA, **POST_NORMS, **HEAD_NORMS}, [],
               {"tied": True, "more": gemma3, "layers": 7}),
    "gemma3-window-list": ("gemma3", {**LLAMA, **POST_NORMS, **HEAD_NORMS}, [],
                           {"tied": True, "more": window_list}),
    "phi3": ("phi3", {**NORMS, M.ATTN_QKV: [QKV, WIDTH], M.ATTN_OUT: [WIDTH, Q],
                      M.FFN_UP: [FFN_TWICE, WIDTH], M.FFN_DOWN: [WIDTH, FFN]}, [],
             {"more": lambda w, rng: w.add_sliding_window(0)}),
    "granite": ("granite", LLAMA, [], {"tied": True, "more": granite}),
    "olmo2": ("olmo2", {**ATTENTION, **GATED, **POST_NORMS, M.ATTN_Q_NORM: [Q],
                        M.ATTN_K_NORM: [KV]}, [], {}),
    "starcoder2": ("starcoder2", {**NORMS, **ATTENTION, M.FFN_UP: [FFN, WIDTH],
                                  M.FFN_DOWN: [WIDTH, FFN]},
                   [*NORMS, *ATTENTION, M.FFN_UP, M.FFN_DOWN], {"layer_norm": True}),
    "gemma": ("gemma", LLAMA, [], {"tied": True}),
    "granitemoe": ("granitemoe", {**NORMS, **ATTENTION, **EACH}, [],
                   {"ffn": EXPERT_FFN,
                    "more": lambda w, rng: (granite(w, rng), experts(w, False))}),
    "granitemoe-shared": ("granitemoe", {**NORMS, **ATTENTION, **EACH, **SHARED}, [],
                          {"ffn": EXPERT_FFN,
                           "more": lambda w, rng: (granite(w, rng), experts(w, False), shared(w))}),
    "olmoe": ("olmoe", {**NORMS, **ATTENTION, **EACH, M.ATTN_Q_NORM: [Q], M.ATTN_K_NORM: [KV]}, [],
              {"ffn": EXPERT_FFN, "more": lambda w, rng: experts(w, False)}),
    "qwen2moe": ("qwen2moe", {**NORMS, **ATTENTION, **EACH, **SHARED,
                              M.FFN_GATE_INP_SHEXP: [WIDTH]}, QKV_BIAS,
                 {"more": lambda w, rng: (experts(w), shared(w))}),
    "qwen3moe": ("qwen3moe", {**NORMS, **ATTENTION, **EACH, **HEAD_NORMS}, [],
                 {"more": lambda w, rng: experts(w)}),
    "qwen3moe-scaled": ("qwen3moe", {**NORMS, **ATTENTION, **EACH, **HEAD_NORMS}, [],
                        {"more": scaled_experts}),
    "gpt-oss": ("gpt-oss", {M.ATTN_NORM: [WIDTH], M.ATTN_POST_NORM: [WIDTH], **ATTENTION, **EACH,
                            M.ATTN_SINKS: [HEADS]}, [*ATTENTION, *EACH], {"more": gpt_oss}),
}
for kind in (T.Q8_0, T.MXFP4):  # as gpt-oss has its experts
    arch, tensors, biases, more = SPECS["gpt-oss"]
    SPECS["gpt-oss-" + kind.name.lower()] = (arch, tensors, biases, {**more, "experts": kind})
for original, name in ((512, "long"), (SIZES["context"], "short"), (512, "unsaid")):
    arch, tensors, biases, more = SPECS["phi3"]
    SPECS["phi3-longrope-" + name] = (
        arch, tensors, biases,
        {"more": lambda w, r, n=original, said=name != "unsaid": long_rope(w, r, n, said)})
arch, tensors, biases, more = SPECS["olmo2"]
SPECS["olmo3"] = (arch, tensors, biases,
                  {"layers": 5, "more": lambda w, rng: (w.add_sliding_window(20), yarn(w))})


def keys(w, spec, sizes):
    w.add_context_length(sizes["context"])
    w.add_embedding_length(sizes["width"])
    w.add_feed_forward_length(spec.get("ffn", sizes["ffn"]))
    w.add_block_count(sizes["layers"])
    w.add_head_count(sizes["heads"])
    w.add_head_count_kv(sizes["kv_heads"])
    w.add_key_length(sizes["dim"])
    w.add_value_length(sizes["dim"])
    w.add_rope_dimension_count(spec.get("rope_dim", sizes["dim"]))
    if spec.get("layer_norm"):
        w.add_layer_norm_eps(1e-5)
    else:
        w.add_layer_norm_rms_eps(1e-6)


def random(rng, shape, norm):
    """Norms around 1; matrices keep about the size of what they are given, and more."""
    x = rng.standard_normal(shape, np.float32)
    return 1 + x / 4 if norm else x * np.float32(1.5 / np.sqrt(shape[-1]))


def make(name, path, change=None, sizes=SIZES):
    """change: called with the writer before it writes."""
    arch, tensors, biases, spec = SPECS[name]
    sizes = {**sizes, "layers": spec.get("layers", sizes["layers"])}
    q, kv = sizes["heads"] * sizes["dim"], sizes["kv_heads"] * sizes["dim"]
    sizes |= {"ffn_twice": 2 * sizes["ffn"], "q": q, "kv": kv, "qkv": q + 2 * kv}
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    w = gguf.GGUFWriter(path, arch)
    keys(w, spec, sizes)
    spec.get("more", lambda w, rng: None)(w, rng)

    def add(tensor, shape, bias, **bid):
        called = TENSOR_NAMES[tensor].format(**bid)
        shape = [sizes.get(size, size) for size in shape]
        norm = tensor.name.endswith("NORM")
        kind = T.F32
        if tensor in (M.FFN_GATE_EXP, M.FFN_UP_EXP):
            kind = spec.get("experts", T.F32)
        x = random(rng, shape, norm)
        if spec.get("apart") and called.endswith("_exps"):  # as the first files had experts
            for e in range(EXPERTS):
                w.add_tensor(called.removesuffix("_exps") + f".{e}.weight", x[e])
            return
        w.add_tensor(called + ".weight", quantize(x, kind), raw_dtype=kind)
        if bias:
            w.add_tensor(called + ".bias", random(rng, shape[:-1] or shape, False) / 2)

    add(M.TOKEN_EMBD, ["vocab", WIDTH], False)
    add(M.OUTPUT_NORM, [WIDTH], spec.get("layer_norm"))
    if not spec.get("tied"):
        add(M.OUTPUT, ["vocab", WIDTH], False)
    for i in range(sizes["layers"]):
        for tensor, shape in tensors.items():
            add(tensor, shape, tensor in biases, bid=i)
    if change:
        change(w)
    finish(w)


if __name__ == "__main__":
    command(SPECS, make)
