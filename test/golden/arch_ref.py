"""Forward passes in float64, each from its architecture's definition.

A class says what its architecture does otherwise than the one it is derived from; all
come down to Llama.  Files are read through the gguf package; no code is shared with
Realm.  Nothing is rounded on the way but what experts in blocks of 32 multiply.
"""

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGUFReader
from gguf.quants import dequantize
from llama_ref import round_int8


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(x):
    top = x - x.max(axis=-1, keepdims=True)
    return top - np.log(np.exp(top).sum(axis=-1, keepdims=True))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def rms(x, weight, eps):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


class Llama:
    halves = False  # which items of a head turn together
    act = staticmethod(silu)
    sums_to_one = True  # shares of the chosen experts
    yarn_whole = True  # YaRN's borders are whole pairs

    def __init__(self, path):
        self.reader = GGUFReader(path)
        self.arch = self.reader.get_field("general.architecture").contents()
        self.t = {t.name: dequantize(t.data, t.tensor_type).astype(np.float64)
                  for t in self.reader.tensors}
        self.rounds = {t.name for t in self.reader.tensors if t.tensor_type != T.F32}
        self.layers = self.key("block_count")
        self.heads = self.key("attention.head_count")
        self.kv_heads = self.key("attention.head_count_kv")
        self.width = self.key("embedding_length")
        self.dim = self.key("attention.key_length")
        self.window = self.key("attention.sliding_window")

    def key(self, name, default=None):
        field = self.reader.get_field(self.arch + "." + name)
        return default if field is None else field.contents()

    def linear(self, x, name):
        y = x @ self.t[name + ".weight"].T
        return y + self.t[name + ".bias"] if name + ".bias" in self.t else y

    def norm(self, x, name):
        return rms(x, self.t[name + ".weight"], self.key("attention.layer_norm_rms_epsilon"))

    # ---- positions ----

    def base(self, i):
        return self.key("rope.freq_base", 10000.0)

    def scaled(self, i):
        return True

    def yarn(self, freq, base, dim, factor):
        context = self.key("rope.scaling.original_context_length")

        def pair(turns):
            return dim * np.log(context / (turns * 2 * np.pi)) / (2 * np.log(base))

        low = pair(self.key("rope.scaling.yarn_beta_fast", 32.0))
        high = pair(self.key("rope.scaling.yarn_beta_slow", 1.0))
        if self.yarn_whole:
            low, high = np.floor(low), np.ceil(high)
        low, high = max(low, 0), min(high, dim - 1)
        ramp = np.clip((np.arange(dim // 2) - low) / max(high - low, 0.001), 0, 1)
        magnitude = self.key("rope.scaling.attn_factor", 1.0) * (0.1 * np.log(factor) + 1)
        return freq / factor * ramp + freq * (1 - ramp), magnitude

    def frequencies(self, i):
        """Of each pair in layer i, and what cosines and sines are multiplied by."""
        dim, base = self.key("rope.dimension_count", self.dim), self.base(i)
        freq = 1 / base ** (np.arange(0, dim, 2) / dim)
        if not self.scaled(i):
            return freq, 1
        kind, factor = self.key("rope.scaling.type"), self.key("rope.scaling.factor", 1.0)
        if kind == "yarn":
            return self.yarn(freq, base, dim, factor)
        if "rope_freqs.weight" in self.t:
            freq = freq / self.t["rope_freqs.weight"]
        if "rope_factors_long.weight" in self.t:
            original = self.key("rope.scaling.original_context_length")
            stretch = self.key("context_length") / original
            freq = freq / self.t[f"rope_factors_{'long' if stretch > 1 else 'short'}.weight"]
            unsaid = np.sqrt(1 + np.log(stretch) / np.log(original)) if stretch > 1 else 1
            return freq, self.key("rope.scaling.attn_factor", unsaid)
        return freq / factor if kind == "linear" else freq, 1

    def rotate(self, x, i):
        """x: (positions, heads, dim)"""
        freq, magnitude = self.frequencies(i)
        angle = np.arange(len(x))[:, None, None] * freq
        cos, sin = np.cos(angle) * magnitude, np.sin(angle) * magnitude
        y, n = x.copy(), len(freq)
        a, b = (slice(0, n), slice(n, 2 * n)) if self.halves else (slice(0, 2 * n, 2),
                                                                 slice(1, 2 * n, 2))
        y[..., a] = x[..., a] * cos - x[..., b] * sin
        y[..., b] = x[..., b] * cos + x[..., a] * sin
        return y

    # ---- attention ----

    def project(self, h, blk):
        return [self.linear(h, blk + name) for name in ("attn_q", "attn_k", "attn_v")]

    def heads_of(self, h, blk):
        q, k, v = self.project(h, blk)
        n = len(h)
        return (q.reshape(n, self.heads, self.dim), k.reshape(n, self.kv_heads, self.dim),
                v.reshape(n, self.kv_heads, self.dim))

    def window_of(self, i):
        return self.window

    def scale(self):
        return self.dim**-0.5

    def cap_scores(self, s):
        return s

    def probabilities(self, s, blk):
        return softmax(s)

    def attention(self, h, i):
        blk, n = f"blk.{i}.", len(h)
        q, k, v = self.heads_of(h, blk)
        q, k = self.rotate(q, i), self.rotate(k, i)
        k, v = (np.repeat(x, self.heads // self.kv_heads, axis=1) for x in (k, v))
        s = self.cap_scores(np.einsum("ihd,jhd->hij", q, k) * self.scale())
        behind = np.arange(n)[:, None] - np.arange(n)
        seen = behind >= 0
        if self.window_of(i):
            seen &= behind < self.window_of(i)
        p = self.probabilities(np.where(seen, s, -np.inf), blk)
        return self.linear(np.einsum("hij,jhd->ihd", p, v).reshape(n, -1), blk + "attn_output")

    # ---- feed forward ----

    def glu(self, gate, up):
        return self.act(gate) * up

    def shared(self, h, blk):
        """An expert for all beside the chosen ones, if there is one."""
        if blk + "ffn_down_shexp.weight" not in self.t:
            return 0
        gate, up = self.linear(h, blk + "ffn_gate_shexp"), self.linear(h, blk + "ffn_up_shexp")
        return self.linear(silu(gate) * up, blk + "ffn_down_shexp")

    def ffn(self, h, blk):
        if blk + "ffn_gate_inp.weight" in self.t:
            return self.experts(h, blk) + self.shared(h, blk)
        gate, up = self.linear(h, blk + "ffn_gate"), self.linear(h, blk + "ffn_up")
        return self.linear(self.glu(gate, up), blk + "ffn_down")

    def expert(self, x, e, blk):
        def product(y, part):
            name, alone = f"{blk}ffn_{part}_exps", f"{blk}ffn_{part}.{e}.weight"
            y = round_int8(y, 32) if name + ".weight" in self.rounds else y
            weight = self.t[alone] if alone in self.t else self.t[name + ".weight"][e]
            out = weight @ y
            return out + self.t[name + ".bias"][e] if name + ".bias" in self.t else out

        return product(self.glu(product(x, "gate"), product(x, "up")), "down")

    def experts(self, h, blk):
        used = self.key("expert_used_count")
        share = softmax(self.linear(h, blk + "ffn_gate_inp"))
        y = np.zeros_like(h)
        for row, p in enumerate(share):
            chosen = np.argsort(-p, kind="stable")[:used]
            p = p / p[chosen].sum() if self.sums_to_one else p
            for e in chosen:
                y[row] += p[e] * self.key("expert_weights_scale", 1.0) * self.expert(h[row], e, blk)
        return y

    # ---- the whole ----

    def embed(self, ids):
        return self.t["token_embd.weight"][np.asarray(ids)]

    def layer(self, x, i):
        blk = f"blk.{i}."
        x = x + self.attention(self.norm(x, blk + "attn_norm"), i)
        return x + self.ffn(self.norm(x, blk + "ffn_norm"), blk)

    def hidden(self, ids):
        x = self.embed(ids)
        for i in range(self.layers):
            x = self.layer(x, i)
        return self.norm(x, "output_norm")

    def output(self, h):
        return h @ self.t.get("output.weight", self.t["token_embd.weight"]).T

    def logprobs(self, ids):
        return log_softmax(self.output(self.hidden(ids)))


class Qwen2(Llama):
    halves = True


class Qwen3(Qwen2):
    """Norms of each head's queries and keys."""

    def heads_of(self, h, blk):
        q, k, v = super().heads_of(h, blk)
        return self.norm(q, blk + "attn_q_norm"), self.norm(k, blk + "attn_k_norm"), v


class Qwen2Moe(Qwen2):
    """The expert for all is under a gate of one number."""

    sums_to_one = False

    def shared(self, h, blk):
        open_ = sigmoid(h @ self.t[blk + "ffn_gate_inp_shexp.weight"].reshape(-1, 1))
        return open_ * super().shared(h, blk)


class Phi3(Qwen2):
    """Queries, keys and values are rows of one matrix, gate and up of another."""

    def project(self, h, blk):
        q, kv = self.heads * self.dim, self.kv_heads * self.dim
        return np.split(self.linear(h, blk + "attn_qkv"), [q, q + kv], axis=-1)

    def ffn(self, h, blk):
        gate, up = np.split(self.linear(h, blk + "ffn_up"), 2, axis=-1)
        return self.linear(silu(gate) * up, blk + "ffn_down")


class Granite(Llama):
    def embed(self, ids):
        return super().embed(ids) * self.key("embedding_scale")

    def scale(self):
        return self.key("attention.scale")

    def layer(self, x, i):
        blk, by = f"blk.{i}.", self.key("residual_scale")
        x = x + by * self.attention(self.norm(x, blk + "attn_norm"), i)
        return x + by * self.ffn(self.norm(x, blk + "ffn_norm"), blk)

    def output(self, h):
        return super().output(h) / self.key("logit_scale")


class Olmo2(Qwen2):
    """Norms stand behind attention and feed forward, and over all queries, all keys.
    OLMo 3: three layers of four have a window and rope without YaRN."""

    def project(self, h, blk):
        q, k, v = super().project(h, blk)
        return self.norm(q, blk + "attn_q_norm"), self.norm(k, blk + "attn_k_norm"), v

    def window_of(self, i):
        return self.window if i % 4 != 3 else None

    def scaled(self, i):
        return not self.window_of(i)

    def layer(self, x, i):
        blk = f"blk.{i}."
        x = x + self.norm(self.attention(x, i), blk + "post_attention_norm")
        return x + self.norm(self.ffn(x, blk), blk + "post_ffw_norm")


class Olmoe(Qwen2):
    """Norms of all queries, all keys; the chosen experts' shares stay as softmax has them."""

    sums_to_one = False

    def project(self, h, blk):
        q, k, v = super().project(h, blk)
        return self.norm(q, blk + "attn_q_norm"), self.norm(k, blk + "attn_k_norm"), v


class Gemma(Qwen2):
    act = staticmethod(gelu)

    def embed(self, ids):
        return super().embed(ids) * np.sqrt(self.width)


class Gemma2(Gemma):
    """The one of 27 B scales scores by what its width has for each head."""

    caps = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
    layers_27b = 46

    def cap(self, x, name):
        by = self.key(name, self.caps[name])
        return x if by is None else by * np.tanh(x / by)

    def cap_scores(self, s):
        return self.cap(s, "attn_logit_softcapping")

    def scale(self):
        if self.layers == self.layers_27b:
            return (self.width / self.heads)**-0.5
        return super().scale()

    def output(self, h):
        return self.cap(super().output(h), "final_logit_softcapping")

    def window_of(self, i):
        return (self.window or 4096) if i % 2 == 0 else None

    def layer(self, x, i):
        blk = f"blk.{i}."
        h = self.attention(self.norm(x, blk + "attn_norm"), i)
        x = x + self.norm(h, blk + "post_attention_norm")
        h = self.ffn(self.norm(x, blk + "ffn_norm"), blk)
        return x + self.norm(h, blk + "post_ffw_norm")


class Gemma3(Gemma2):
    caps = {"attn_logit_softcapping": None, "final_logit_softcapping": None}
    layers_27b = 62

    def heads_of(self, h, blk):
        q, k, v = super().heads_of(h, blk)
        return self.norm(q, blk + "attn_q_norm"), self.norm(k, blk + "attn_k_norm"), v

    def window_of(self, i):
        given = self.key("attention.sliding_window_pattern", 6)
        local = given[i] if isinstance(given, list) else (i + 1) % given != 0
        return self.window if local else None

    def base(self, i):
        local = self.key("rope.freq_base_swa", 10000.0)
        return local if self.window_of(i) else super().base(i)

    def scaled(self, i):
        return not self.window_of(i)


class Starcoder2(Qwen2):
    def norm(self, x, name):
        d = x - x.mean(axis=-1, keepdims=True)
        eps = self.key("attention.layer_norm_epsilon")
        y = d / np.sqrt((d * d).mean(axis=-1, keepdims=True) + eps)
        return y * self.t[name + ".weight"] + self.t[name + ".bias"]

    def ffn(self, h, blk):
        return self.linear(gelu(self.linear(h, blk + "ffn_up")), blk + "ffn_down")


class GptOss(Qwen2):
    """Sinks take part in softmax and have no value; experts' gates are clamped."""

    yarn_whole = False

    def window_of(self, i):
        return self.window if i % 2 == 0 else None

    def probabilities(self, s, blk):
        sink = np.broadcast_to(self.t[blk + "attn_sinks.weight"][:, None, None], s.shape[:2] + (1,))
        return softmax(np.concatenate([s, sink], axis=-1))[..., :-1]

    def glu(self, gate, up):
        gate, up = np.minimum(gate, 7), np.clip(up, -7, 7)
        return gate * sigmoid(1.702 * gate) * (up + 1)

    def layer(self, x, i):
        blk = f"blk.{i}."
        x = x + self.attention(self.norm(x, blk + "attn_norm"), i)
        return x + self.ffn(self.norm(x, blk + "post_attention_norm"), blk)


CLASSES = {
    "llama": Llama,
    "qwen2": Qwen2,
    "qwen3": Qwen3,
    "qwen2moe": Qwen2Moe,
    "qwen3moe": Qwen3,
    "phi3": Phi3,
    "granite": Granite,
    "granitemoe": Granite,
    "olmo2": Olmo2,
    "olmoe": Olmoe,
    "gemma": Gemma,
    "gemma2": Gemma2,
    "gemma3": Gemma3,
    "starcoder2": Starcoder2,
    "gpt-oss": GptOss,
}


def open_model(path):
    arch = GGUFReader(path).get_field("general.architecture").contents()
    return CLASSES[arch](path)
