"""Seeded random models of two layers: every weight type, rope kind and head
sharing that the golden test compares."""

import math

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.quants import quantize
from write_model import command, finish

WIDTH, FFN, HEADS, KV_HEADS, VOCAB, CONTEXT, LAYERS = 256, 512, 8, 2, 301, 4096, 2
DIM = WIDTH // HEADS

LINEAR = {"rope": "linear"}
LLAMA3 = {"rope": "llama3"}
SPECS = {
    "f32-linear-tied": {"types": [T.F32], "tied": True, **LINEAR},
    "f32-llama3-own": {"types": [T.F32], "tied": False, **LLAMA3},
    "f16": {"types": [T.F16], "tied": True},
    "bf16": {"types": [T.BF16], "tied": False},
    "q8_0": {"types": [T.Q8_0], "tied": True},
    "q4_0": {"types": [T.Q4_0], "tied": False},
    "q4_k": {"types": [T.Q4_K], "tied": True},
    "q6_k": {"types": [T.Q6_K], "tied": False},
    "q5_0": {"types": [T.Q5_0], "tied": True},
    "q5_k": {"types": [T.Q5_K], "tied": False},
    "q4_1": {"types": [T.Q4_1], "tied": True},
    "q5_1": {"types": [T.Q5_1], "tied": False},
    "q3_k": {"types": [T.Q3_K], "tied": True},
    "q2_k": {"types": [T.Q2_K], "tied": False},
    "iq4_nl": {"types": [T.IQ4_NL], "tied": True},
    "iq4_xs": {"types": [T.IQ4_XS], "tied": False},
    "mxfp4": {"types": [T.MXFP4], "tied": True},
    "mixed": {"types": [T.Q4_K, T.Q8_0, T.Q6_K, T.F16, T.BF16], "tied": False, **LLAMA3},
}


def f16_bytes(value, n):
    return np.full((n, 1), value, np.float16).view(np.uint8)


# Types that the package does not quantise: items and bytes of a block, the deviation of
# values with d = 1, and where f16 scales stand, by how much of d each is.  The mins of
# random bits make the mean 0.
RANDOM = {
    T.Q4_K: (256, 144, 200, {0: 1, 2: 7.5}),
    T.Q5_K: (256, 176, 400, {0: 1, 2: 15.5}),
    T.Q2_K: (256, 84, 14, {80: 1, 82: 1.5}),
    T.Q3_K: (256, 110, 43, {108: 1}),
    T.Q6_K: (256, 210, 1370, {208: 1}),
    T.IQ4_NL: (32, 18, 71, {0: 1}),
    T.IQ4_XS: (256, 136, 1310, {0: 1}),
}


def random_blocks(rng, kind, rows, k):
    """Blocks of random bits; values have mean 0 and size 1 / sqrt(k)."""
    items, size, deviation, scales = RANDOM[kind]
    n = rows * k // items
    data = rng.integers(0, 256, (n, size), np.uint8)
    for at, share in scales.items():
        data[:, at:at + 2] = f16_bytes(share / (deviation * math.sqrt(k)), n)
    return data.reshape(rows, -1)


def add_matrix(writer, rng, name, kind, rows, k):
    if kind in RANDOM:
        data = random_blocks(rng, kind, rows, k)
    else:
        data = quantize(rng.standard_normal((rows, k)).astype(np.float32) / math.sqrt(k), kind)
    writer.add_tensor(name + ".weight", data, raw_dtype=kind)


def llama3_factors(base=10000.0, factor=8.0, low=1.0, high=4.0, original=256):
    """Llama-3.1's rule: long waves are stretched, short ones stay, smooth between."""
    freq = base ** (-np.arange(0, DIM, 2) / DIM)
    wave = 2 * math.pi / freq
    smooth = (original / wave - low) / (high - low)
    blend = 1 / ((1 - smooth) / factor + smooth)
    return np.where(wave < original / high, 1.0, np.where(wave > original / low, factor, blend))


def add_header(writer, spec):
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFN)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    if spec.get("rope") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(4.0)


def add_layer(writer, rng, i, kinds):
    shapes = {
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (KV_HEADS * DIM, WIDTH),
        "attn_v": (KV_HEADS * DIM, WIDTH),
        "attn_output": (WIDTH, WIDTH),
        "ffn_gate": (FFN, WIDTH),
        "ffn_up": (FFN, WIDTH),
        "ffn_down": (WIDTH, FFN),
    }
    for name in ["attn_norm", "ffn_norm"]:
        weight = 1 + rng.standard_normal(WIDTH).astype(np.float32) / 8
        writer.add_tensor(f"blk.{i}.{name}.weight", weight)
    for j, (name, (rows, k)) in enumerate(shapes.items()):
        add_matrix(writer, rng, f"blk.{i}.{name}", kinds[(i + j) % len(kinds)], rows, k)


def make(name, path):
    spec = SPECS[name]
    rng = np.random.default_rng(sorted(SPECS).index(name))
    writer = gguf.GGUFWriter(path, "llama")
    add_header(writer, spec)
    kinds = spec["types"]
    add_matrix(writer, rng, "token_embd", kinds[0], VOCAB, WIDTH)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    if not spec["tied"]:
        add_matrix(writer, rng, "output", kinds[-1], VOCAB, WIDTH)
    if spec.get("rope") == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors().astype(np.float32))
    for i in range(LAYERS):
        add_layer(writer, rng, i, kinds)
    finish(writer)


if __name__ == "__main__":
    command(SPECS, make)
