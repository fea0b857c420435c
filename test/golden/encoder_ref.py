"""Forward passes of encoders in float64, from their definition (arXiv 1810.04805; Nomic's
in 2402.01613): no code is shared with Realm, and files are read through the gguf package.

What Realm rounds on purpose is rounded here in the same way (llama_ref.Matrix).

    encoder_ref.py MODEL.gguf mean|cls|last TEXT...    a line with a JSON array for each text
"""

import json
import math
import sys

import numpy as np
from encoder_models import encode
from gguf import GGUFReader
from llama_ref import Matrix

erf = np.vectorize(math.erf, otypes=[np.float64])


def gelu(x):
    return x / 2 * (1 + erf(x / math.sqrt(2)))


def silu(x):
    return x / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class Encoder:
    """rounds: whether activations are rounded as the weights' types ask for."""

    def __init__(self, path, rounds=True):
        reader = GGUFReader(path)
        arch = reader.get_field("general.architecture").contents()

        def key(name, default=None):
            field = reader.get_field(f"{arch}.{name}")
            return default if field is None else field.contents()

        self.layers = key("block_count")
        self.heads = key("attention.head_count")
        self.width = key("embedding_length")
        self.eps = key("attention.layer_norm_epsilon")
        self.base = key("rope.freq_base", 10000.0)
        self.is_bert = arch == "bert"
        self.matrices, self.vectors = {}, {}
        for t in reader.tensors:
            if len(t.shape) == 2:
                self.matrices[t.name.removesuffix(".weight")] = Matrix(t, rounds)
            else:
                self.vectors[t.name] = t.data.astype(np.float64)
        self.rounds = any(m.rounds for m in self.matrices.values())

    def linear(self, x, name):
        return self.matrices[name](x) + self.vectors.get(name + ".bias", 0)

    def norm(self, x, name):
        d = x - x.mean(axis=-1, keepdims=True)
        y = d / np.sqrt((d * d).mean(axis=-1, keepdims=True) + self.eps)
        return y * self.vectors[name + ".weight"] + self.vectors[name + ".bias"]

    def rotate(self, x):
        """x: (positions, heads, dim); an item turns with the one half a head further on."""
        half = x.shape[-1] // 2
        freq = self.base ** (-np.arange(half) / half)
        angle = np.arange(len(x))[:, None, None] * freq
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * np.cos(angle) - b * np.sin(angle),
                               b * np.cos(angle) + a * np.sin(angle)], axis=-1)

    def attention(self, x, blk):
        n, dim = len(x), self.width // self.heads
        if self.is_bert:
            qkv = [self.linear(x, blk + "attn_" + name) for name in "qkv"]
        else:
            qkv = np.split(self.linear(x, blk + "attn_qkv"), 3, axis=-1)
        q, k, v = (y.reshape(n, self.heads, dim) for y in qkv)
        if not self.is_bert:
            q, k = self.rotate(q), self.rotate(k)
        p = softmax(np.einsum("ihd,jhd->hij", q, k) / math.sqrt(dim))
        return self.linear(np.einsum("hij,jhd->ihd", p, v).reshape(n, -1), blk + "attn_output")

    def ffn(self, x, blk):
        up = self.linear(x, blk + "ffn_up")
        y = gelu(up) if self.is_bert else silu(self.linear(x, blk + "ffn_gate")) * up
        return self.linear(y, blk + "ffn_down")

    def hidden(self, ids):
        x = self.matrices["token_embd"].w[np.asarray(ids)] + self.matrices["token_types"].w[0]
        if self.is_bert:
            x = x + self.matrices["position_embd"].w[: len(ids)]
        x = self.norm(x, "token_embd_norm")
        for i in range(self.layers):
            blk = f"blk.{i}."
            x = self.norm(x + self.attention(x, blk), blk + "attn_output_norm")
            x = self.norm(x + self.ffn(x, blk), blk + "layer_output_norm")
        return x

    def embedding(self, ids, pooling):
        """Of length 1."""
        h = self.hidden(ids)
        v = {"mean": h.mean(axis=0), "cls": h[0], "last": h[-1]}[pooling]
        return v / np.sqrt((v * v).sum())


if __name__ == "__main__":
    model = Encoder(sys.argv[1])
    for text in sys.argv[3:]:
        print(json.dumps(model.embedding(encode(text), sys.argv[2]).tolist()))
