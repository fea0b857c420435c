"""The forward pass of a llama-shaped model in float64, from its definition.

Reads a GGUF file through the gguf package (its dequantisation, its reader) and
shares no code with Realm.  What Realm rounds on purpose is rounded here in the
same way, so that a difference is an error and not noise: activations become
int8 (with one scale for 32 or 256) before they meet quantised weights, and bf16
before they meet BF16 weights; keys and values become what is asked, and queries and
the weights of keys what products with such keys and values take.
"""

import argparse
import json

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGUFReader
from gguf.quants import dequantize

BY_32 = [T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.IQ4_NL, T.MXFP4]
BY_256 = [T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K, T.IQ4_XS]
BLOCK_OF = {t: 32 for t in BY_32} | {t: 256 for t in BY_256}


def round_int8(x, block):
    """Rows of x as int8 with one float32 scale for each block of items."""
    x32 = x.astype(np.float32).reshape(-1, block)
    top = np.abs(x32).max(axis=1, keepdims=True)
    scale = (top / np.float32(127)).astype(np.float32)
    inverse = np.divide(np.float32(127), top, out=np.zeros_like(top), where=top > 0)
    q = np.rint(x32 * inverse)
    return (q.astype(np.float64) * scale.astype(np.float64)).reshape(x.shape)


def round_bf16(x):
    """To the nearest bf16, ties to even."""
    bits = x.astype(np.float32).view(np.uint32)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return bits.view(np.float32).astype(np.float64)


def round_blocks(x, scale_type):
    """Blocks of 32 of the last axis as int8, a last one that is shorter too: their scale is
    the greatest by 127, and the integers are for the scale as scale_type has it."""
    dim = x.shape[-1]
    padded = np.pad(x.astype(np.float32), [(0, 0)] * (x.ndim - 1) + [(0, -dim % 32)])
    blocks = padded.reshape(*x.shape[:-1], -1, 32)
    scale = np.abs(blocks).max(axis=-1, keepdims=True) / np.float32(127)
    scale = scale.astype(scale_type).astype(np.float32)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale > 0)
    q = np.rint(np.clip(blocks * inverse, -127, 127)).astype(np.float64)
    return (q * scale).reshape(padded.shape)[..., :dim]


def same(x):
    return x


def round_query_int8(x):
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[-1] % 32)])
    return round_int8(padded, 32)[..., : x.shape[-1]]


# What keys and values, queries times their scale, and the weights of keys become.
KV = {
    "f64": (same, same, same),
    "f32": (lambda x: x.astype(np.float32).astype(np.float64), same, same),
    "f16": (lambda x: x.astype(np.float16).astype(np.float64), same, same),
    "bf16": (round_bf16, round_bf16, round_bf16),
    "q8_0": (lambda x: round_blocks(x, np.float16), round_query_int8, same),
}


def softmax_of_blocks(s, round_weights):
    """Weights are rounded when their block of 64 keys is met, while the greatest score is
    that of the blocks so far."""
    n = s.shape[-1]
    most = np.maximum.accumulate(s, axis=-1)
    then = most[..., np.minimum(np.arange(n) // 64 * 64 + 63, n - 1)]
    p = round_weights(np.exp(s - then)) * np.exp(then - most[..., -1:])
    return p / p.sum(axis=-1, keepdims=True)


class Matrix:
    def __init__(self, tensor, rounds):
        self.type = tensor.tensor_type
        self.rounds = rounds and (self.type in BLOCK_OF or self.type == T.BF16)
        self.w = dequantize(tensor.data, self.type).astype(np.float64)

    def __call__(self, x):
        if self.rounds:
            x = round_bf16(x) if self.type == T.BF16 else round_int8(x, BLOCK_OF[self.type])
        return x @ self.w.T


class Model:
    """rounds: whether activations are rounded as the weights' types ask for."""

    def __init__(self, path, rounds=True):
        reader = GGUFReader(path)
        self.tensors = {t.name: t for t in reader.tensors}

        def key(name, default=None):
            field = reader.get_field("llama." + name)
            return default if field is None else field.contents()

        self.layers = key("block_count")
        self.heads = key("attention.head_count")
        self.kv_heads = key("attention.head_count_kv", self.heads)
        self.width = key("embedding_length")
        self.dim = key("attention.key_length", self.width // self.heads)
        self.eps = key("attention.layer_norm_rms_epsilon")
        self.freq = self.frequencies(key)
        self.matrices = {
            name.removesuffix(".weight"): Matrix(tensor, rounds)
            for name, tensor in self.tensors.items()
            if len(tensor.shape) == 2
        }
        self.matrices.setdefault("output", self.matrices["token_embd"])
        self.rounds = any(matrix.rounds for matrix in self.matrices.values())

    def frequencies(self, key):
        rope_dim = key("rope.dimension_count", self.dim)
        freq = key("rope.freq_base", 10000.0) ** (-np.arange(0, rope_dim, 2) / rope_dim)
        if key("rope.scaling.type", "linear") == "linear":
            freq = freq / key("rope.scaling.factor", key("rope.scale_linear", 1.0))
        if "rope_freqs.weight" in self.tensors:
            freq = freq / self.tensors["rope_freqs.weight"].data.astype(np.float64)
        return freq

    def norm(self, x, name):
        weight = self.tensors[name + ".weight"].data.astype(np.float64)
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.eps) * weight

    def rotate(self, x):
        """x: (positions, heads, dim); adjacent pairs turn together."""
        angle = np.arange(len(x))[:, None, None] * self.freq
        y, n = x.copy(), 2 * len(self.freq)
        y[..., 0:n:2] = x[..., 0:n:2] * np.cos(angle) - x[..., 1:n:2] * np.sin(angle)
        y[..., 1:n:2] = x[..., 0:n:2] * np.sin(angle) + x[..., 1:n:2] * np.cos(angle)
        return y

    def attention(self, x, blk, kv):
        n = len(x)
        h = self.norm(x, blk + "attn_norm")
        q = self.rotate(self.matrices[blk + "attn_q"](h).reshape(n, self.heads, self.dim))
        k = self.rotate(self.matrices[blk + "attn_k"](h).reshape(n, self.kv_heads, self.dim))
        v = self.matrices[blk + "attn_v"](h).reshape(n, self.kv_heads, self.dim)
        round_kv, round_query, round_weights = KV[kv]
        k, v = (np.repeat(round_kv(y), self.heads // self.kv_heads, axis=1) for y in (k, v))
        s = np.einsum("ihd,jhd->hij", round_query(q / np.sqrt(self.dim)), k)
        s = np.where(np.tril(np.ones((n, n), bool)), s, -np.inf)
        p = softmax_of_blocks(s, round_weights)
        out = np.einsum("hij,jhd->ihd", p, v).reshape(n, -1)
        return self.matrices[blk + "attn_output"](out)

    def ffn(self, x, blk):
        h = self.norm(x, blk + "ffn_norm")
        gate, up = self.matrices[blk + "ffn_gate"](h), self.matrices[blk + "ffn_up"](h)
        return self.matrices[blk + "ffn_down"](gate / (1 + np.exp(-gate)) * up)

    def hidden(self, ids, kv="f64"):
        x = self.matrices["token_embd"].w[np.asarray(ids)]
        for i in range(self.layers):
            x = x + self.attention(x, f"blk.{i}.", kv)
            x = x + self.ffn(x, f"blk.{i}.")
        return self.norm(x, "output_norm")

    def logits(self, ids, kv="f64"):
        return self.matrices["output"](self.hidden(ids, kv))


def log_softmax(logits):
    top = logits - logits.max(axis=-1, keepdims=True)
    return top - np.log(np.exp(top).sum(axis=-1, keepdims=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("ids", type=int, nargs="+")
    parser.add_argument("--kv", choices=list(KV), default="f64")
    args = parser.parse_args()
    logprobs = log_softmax(Model(args.model).logits(args.ids, args.kv))
    pairs = zip(args.ids[1:], logprobs)
    print(json.dumps({"logprobs": [float(row[token]) for token, row in pairs]}))


if __name__ == "__main__":
    main()
