"""The tiny model's shape and its forward pass in jax.

RoPE turns neighbouring pairs (x[2i], x[2i+1]), as GGUF's llama layout has it, so
that the weights go into the file without a permutation.
"""

import jax
import jax.numpy as jnp
import numpy as np

VOCAB, WIDTH, LAYERS, FFN = 2048, 256, 5, 768
HEADS, KV_HEADS, HEAD = 4, 2, 64
CONTEXT, THETA, EPS = 1024, 10000.0, 1e-5

_SHAPES = {
    "attn_q": (HEADS * HEAD, WIDTH),
    "attn_k": (KV_HEADS * HEAD, WIDTH),
    "attn_v": (KV_HEADS * HEAD, WIDTH),
    "attn_output": (WIDTH, HEADS * HEAD),
    "ffn_gate": (FFN, WIDTH),
    "ffn_up": (FFN, WIDTH),
    "ffn_down": (WIDTH, FFN),
}


def init(seed):
    """Fresh parameters under their GGUF names, without the `.weight`."""
    rng = np.random.default_rng(seed)
    params = {"token_embd": rng.normal(0, 0.02, (VOCAB, WIDTH)),
              "output_norm": np.ones(WIDTH)}
    for n in range(LAYERS):
        params[f"blk.{n}.attn_norm"] = np.ones(WIDTH)
        params[f"blk.{n}.ffn_norm"] = np.ones(WIDTH)
        for name, shape in _SHAPES.items():
            scale = 0.02 if name not in ("attn_output", "ffn_down") else 0.02 / (2 * LAYERS) ** 0.5
            params[f"blk.{n}.{name}"] = rng.normal(0, scale, shape)
    return {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}


def _norm(x, weight):
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + EPS) * weight


def _rope(x, positions):
    """Rotate [batch, time, head, 64] by each token's position."""
    rate = THETA ** (-jnp.arange(0, HEAD, 2, dtype=jnp.float32) / HEAD)
    angle = positions[:, :, None, None].astype(jnp.float32) * rate
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1)
    return turned.reshape(x.shape)


def _attention(params, n, x, positions, mask):
    batch, time, _ = x.shape
    q = (x @ params[f"blk.{n}.attn_q"].T).reshape(batch, time, HEADS, HEAD)
    k = (x @ params[f"blk.{n}.attn_k"].T).reshape(batch, time, KV_HEADS, HEAD)
    v = (x @ params[f"blk.{n}.attn_v"].T).reshape(batch, time, KV_HEADS, HEAD)
    q = _rope(q, positions).reshape(batch, time, KV_HEADS, HEADS // KV_HEADS, HEAD)
    k = _rope(k, positions)
    scores = jnp.einsum("bqgrd,bkgd->bgrqk", q, k) / HEAD ** 0.5
    scores = jnp.where(mask[:, None, None], scores, -1e30)
    out = jnp.einsum("bgrqk,bkgd->bqgrd", jax.nn.softmax(scores), v)
    return out.reshape(batch, time, HEADS * HEAD) @ params[f"blk.{n}.attn_output"].T


def _feed_forward(params, n, x):
    gate = jax.nn.silu(x @ params[f"blk.{n}.ffn_gate"].T)
    return (gate * (x @ params[f"blk.{n}.ffn_up"].T)) @ params[f"blk.{n}.ffn_down"].T


def forward(params, tokens, starts):
    """Logits for [batch, time] tokens; `starts` holds where each token's document begins."""
    time = jnp.arange(tokens.shape[1])
    causal = time[None, :, None] >= time[None, None, :]
    mask = causal & (starts[:, :, None] <= time[None, None, :])
    positions = time[None, :] - starts
    x = params["token_embd"][tokens]
    for n in range(LAYERS):
        x = x + _attention(params, n, _norm(x, params[f"blk.{n}.attn_norm"]), positions, mask)
        x = x + _feed_forward(params, n, _norm(x, params[f"blk.{n}.ffn_norm"]))
    return _norm(x, params["output_norm"]) @ params["token_embd"].T
