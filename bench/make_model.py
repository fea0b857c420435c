#!/usr/bin/env python3
"""Writes a GGUF model of a real model's shape with seeded random weights.

    python3 bench/make_model.py SHAPE OUT.gguf [--type TYPE] [--seed N]

For measuring speed and memory, which depend on shapes alone: the text that such
a model writes means nothing.  The architecture is llama's for all of them, and
the vocabulary is one of bytes, letters and fillers, of the real one's size.
Rows that are no multiple of 256 fall back to a type in blocks of 32, as with `realm
quantize`.  Tensors are written one by one, in pieces.
"""
import argparse
import struct
import sys

import numpy as np

SHAPES = {  # width, layers, heads, kv heads, ffn, vocabulary, tied, rope base, context
    "0.5b": (896, 24, 14, 2, 4864, 151936, True, 1e6, 32768),    # Qwen2.5 0.5B, without biases
    "1.1b": (2048, 22, 32, 4, 5632, 32000, False, 1e4, 8192),    # TinyLlama; its context is 2048
    "3b": (3072, 28, 24, 8, 8192, 128256, True, 5e5, 131072),    # Llama 3.2 3B
    "8b": (4096, 32, 32, 8, 14336, 128256, False, 5e5, 131072),  # Llama 3.1 8B
}
# GGUF's number, items and bytes per block, general.file_type
TYPES = {"F32": (0, 1, 4, 0), "F16": (1, 1, 2, 1), "BF16": (30, 1, 2, 32), "Q8_0": (8, 32, 34, 7),
         "Q4_0": (2, 32, 18, 2), "Q4_K": (12, 256, 144, 14), "Q6_K": (14, 256, 210, 18),
         "Q4_1": (3, 32, 20, 3), "Q5_0": (6, 32, 22, 8), "Q5_1": (7, 32, 24, 9),
         "Q2_K": (10, 256, 84, 10), "Q3_K": (11, 256, 110, 11), "Q5_K": (13, 256, 176, 16),
         "IQ4_NL": (20, 32, 18, 25), "IQ4_XS": (23, 256, 136, 30), "MXFP4": (39, 32, 17, 38)}
# Mixes: most matrices, those that matter most, general.file_type
MIXES = {"Q4_K_M": ("Q4_K", "Q6_K", 15), "Q5_K_M": ("Q5_K", "Q6_K", 17)}
FALLBACK = {"Q6_K": "Q8_0", "Q5_K": "Q5_1", "Q4_K": "Q5_0", "Q3_K": "Q4_0", "Q2_K": "Q4_0",
            "IQ4_XS": "IQ4_NL"}
# Of the types whose blocks may be any bits: the items' deviation with a scale of 1, and
# where f16 scales stand, by how much of it each is; a min makes the mean 0.
PLAIN = {"Q8_0": (73.9, {0: 1}), "Q4_0": (4.61, {0: 1}), "Q4_1": (4.61, {0: 1, 2: -7.5}),
         "Q5_0": (9.23, {0: 1}), "Q5_1": (9.23, {0: 1, 2: -15.5}), "IQ4_NL": (71, {0: 1}),
         "IQ4_XS": (1310, {0: 1}), "Q2_K": (14, {80: 1, 82: 1.5}), "Q3_K": (43, {108: 1}),
         "Q5_K": (400, {0: 1, 2: 15.5})}
SIGMA = 0.02
PIECE = 1 << 22  # items made at once
ALIGN = 32
U32, F32, BOOL, STRING, ARRAY, I32 = 4, 6, 7, 8, 9, 5


def string(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def value(key, t, v):
    body = string(v) if t == STRING else struct.pack("<" + {U32: "I", F32: "f", BOOL: "?"}[t], v)
    return string(key) + struct.pack("<I", t) + body


def array(key, t, items):
    body = (b"".join(map(string, items)) if t == STRING
            else np.asarray(items, {F32: "<f4", I32: "<i4"}[t]).tobytes())
    return string(key) + struct.pack("<IIQ", ARRAY, t, len(items)) + body


def vocabulary(n):
    """Control tokens, bytes, printable characters, pairs of letters, fillers."""
    letters = "etaoinshrdlucmfwygpbvkxqjz"
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    kinds = [2, 3, 3] + [6] * 256
    words = ["\u2581"] + [chr(c) for c in range(33, 127)]
    words += ["\u2581" + c for c in letters] + [a + b for a in letters for b in letters]
    words += [f"filler{i}" for i in range(n - len(tokens) - len(words))]
    scores = [0.0] * len(tokens) + [-float(i) for i in range(len(words))]
    return tokens + words, scores, kinds + [1] * len(words)


def header_values(name, shape, file_type):
    width, layers, heads, kv_heads, ffn, vocab, _, base, context = shape
    tokens, scores, kinds = vocabulary(vocab)
    numbers = {"vocab_size": vocab, "context_length": context, "embedding_length": width,
               "block_count": layers, "feed_forward_length": ffn, "attention.head_count": heads,
               "attention.head_count_kv": kv_heads, "rope.dimension_count": width // heads}
    return ([value("general.architecture", STRING, "llama"),
             value("general.name", STRING, f"random {name}"),
             value("general.file_type", U32, file_type),
             value("general.quantization_version", U32, 2)] +
            [value("llama." + k, U32, v) for k, v in numbers.items()] +
            [value("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
             value("llama.rope.freq_base", F32, base),
             value("tokenizer.ggml.model", STRING, "llama"),
             array("tokenizer.ggml.tokens", STRING, tokens),
             array("tokenizer.ggml.scores", F32, scores),
             array("tokenizer.ggml.token_type", I32, kinds),
             value("tokenizer.ggml.bos_token_id", U32, 1),
             value("tokenizer.ggml.eos_token_id", U32, 2),
             value("tokenizer.ggml.unknown_token_id", U32, 0),
             value("tokenizer.ggml.add_bos_token", BOOL, True)])


def more_bits(layer, layers):
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def fit(type_name, row):
    if row % TYPES[type_name][1] == 0:
        return type_name
    return FALLBACK.get(type_name, "Q8_0") if row % 32 == 0 else "F16"


def tensors(shape, type_name):
    """Name, dimensions (the row's length first) and type of each."""
    width, layers, heads, kv_heads, ffn, vocab, tied, _, _ = shape
    kv = width // heads * kv_heads
    plain, best = MIXES.get(type_name, (type_name, type_name))[:2]
    yield "token_embd.weight", (width, vocab), fit(best if tied else plain, width)
    for i in range(layers):
        high = best if more_bits(i, layers) else plain
        for part, dims, t in (
                ("attn_norm", (width,), "F32"), ("attn_q", (width, width), plain),
                ("attn_k", (width, kv), plain), ("attn_v", (width, kv), high),
                ("attn_output", (width, width), plain), ("ffn_norm", (width,), "F32"),
                ("ffn_gate", (width, ffn), plain), ("ffn_up", (width, ffn), plain),
                ("ffn_down", (ffn, width), high)):
            yield f"blk.{i}.{part}.weight", dims, fit(t, dims[0])
    yield "output_norm.weight", (width,), "F32"
    if not tied:
        yield "output.weight", (width, vocab), fit(best, width)


def half(x):
    return np.asarray(x, "<f2").reshape(-1, 1).view(np.uint8)


def scale(rng, n, mean):
    return half(mean * rng.uniform(0.8, 1.25, n))


def pack_k_scales(sc):
    """Eight 6-bit scales, and mins equal to them, in 12 bytes."""
    low, high = sc[:, :4], sc[:, 4:]
    top = low | high >> 4 << 6
    return np.concatenate([top, top, (high & 15) | (high & 15) << 4], axis=1)


def blocks(rng, type_name, items):
    """The bytes of that many items whose standard deviation is about SIGMA."""
    n = items // TYPES[type_name][1]
    if type_name in ("F32", "F16", "BF16"):
        x = rng.standard_normal(items, dtype=np.float32) * np.float32(SIGMA)
        if type_name == "F32":
            return x.astype("<f4", copy=False)
        if type_name == "F16":
            return x.astype("<f2")
        u = x.view(np.uint32)
        return ((u + 0x7fff + (u >> 16 & 1)) >> 16).astype("<u2")
    bits = np.frombuffer(rng.bytes(n * TYPES[type_name][2]), np.uint8).reshape(n, -1).copy()
    if type_name in PLAIN:
        deviation, scales = PLAIN[type_name]
        d = rng.uniform(0.8, 1.25, n) * SIGMA / deviation
        for at, share in scales.items():
            bits[:, at:at + 2] = half(share * d)
    elif type_name == "MXFP4":
        bits[:, 0] = 120  # 2^-8 times a deviation of 5.9
    elif type_name == "Q4_K":  # min = 7.5 * scale centres the items on zero
        d = np.asarray(SIGMA / 4.61 / 44 * rng.uniform(0.8, 1.25, n), "<f2")
        bits[:, 0:2], bits[:, 2:4] = half(d), half(7.5 * d.astype(np.float32))
        bits[:, 4:16] = pack_k_scales(rng.integers(24, 64, (n, 8), dtype=np.uint8))
    elif type_name == "Q6_K":
        bits[:, 192:208] = rng.integers(48, 112, (n, 16), dtype=np.uint8)
        bits[:, 208:210] = scale(rng, n, SIGMA / 18.5 / 80)
    return bits


def write_data(out, rng, name, items, type_name):
    if name.endswith("norm.weight"):
        out.write(np.ones(items, "<f4").tobytes())
        return
    for at in range(0, items, PIECE):
        out.write(blocks(rng, type_name, min(PIECE, items - at)).data)


def size_of(dims, type_name):
    _, items, size, _ = TYPES[type_name]
    return int(np.prod(dims, dtype=np.int64)) // items * size


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("out")
    parser.add_argument("--type", choices=[*TYPES, *MIXES], default="F16")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    shape = SHAPES[args.shape]
    file_type = MIXES[args.type][2] if args.type in MIXES else TYPES[args.type][3]
    values = header_values(args.shape, shape, file_type)
    listed = list(tensors(shape, args.type))
    rng = np.random.Generator(np.random.SFC64(args.seed))
    with open(args.out, "wb") as out:
        out.write(b"GGUF" + struct.pack("<IQQ", 3, len(listed), len(values)) + b"".join(values))
        offset = 0
        for name, dims, t in listed:
            out.write(string(name) + struct.pack(f"<I{len(dims)}Q", len(dims), *dims) +
                      struct.pack("<IQ", TYPES[t][0], offset))
            offset += -(-size_of(dims, t) // ALIGN) * ALIGN
        for name, dims, t in listed:
            out.write(bytes(-out.tell() % ALIGN))
            if sys.stderr.isatty():
                print(f"\r\033[K{name}", end="", file=sys.stderr)
            write_data(out, rng, name, int(np.prod(dims, dtype=np.int64)), t)
        out.write(bytes(-out.tell() % ALIGN))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)


main()
