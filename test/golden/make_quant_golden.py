#!/usr/bin/env python3
"""Writes the golden vectors of test/unit/tensor into test/golden/quant.

    python3 test/golden/make_quant_golden.py          (needs numpy and gguf)

TYPE.bin       u32 items, the row as a file has it, then its values as f32, by
               the gguf package's dequantisation.
accuracy.bin   u32 items; for each of the two distributions `items` f32 values
               and the RMSE (f32) of the reference formulas for the types of ACCURATE,
               in this order: the gguf package's where it quantises, else the formulas
               of ggml's quantize_row_*_ref, written out below.
Little endian throughout.
"""
import pathlib
import struct

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import quants

OUT = pathlib.Path(__file__).parent / "quant"
rng = np.random.default_rng(20240917)

# items and bytes of a block, and where its f16 scales stand
BLOCKS = {T.Q8_0: (32, 34, [0]), T.Q4_0: (32, 18, [0]), T.Q4_K: (256, 144, [0, 2]),
          T.Q6_K: (256, 210, [208]), T.Q5_0: (32, 22, [0]), T.Q5_K: (256, 176, [0, 2]),
          T.Q4_1: (32, 20, [0, 2]), T.Q5_1: (32, 24, [0, 2]), T.Q3_K: (256, 110, [108]),
          T.Q2_K: (256, 84, [80, 82]), T.IQ4_NL: (32, 18, [0]), T.IQ4_XS: (256, 136, [0]),
          T.MXFP4: (32, 17, [])}
ACCURATE = list(BLOCKS)


def half(x):
    return np.asarray(x, dtype=np.float32).astype(np.float16)


def random_row(t, items):
    """Blocks of random bits whose f16 scales are finite and of either sign."""
    if t == T.F32:
        return rng.standard_normal(items).astype("<f4").view(np.uint8)
    if t == T.F16:
        values = rng.standard_normal(items) * 10.0 ** rng.integers(-8, 4, items)
        return values.astype("<f2").view(np.uint8)
    if t == T.BF16:
        values = rng.standard_normal(2 * items).astype("<f4").view("<u2")[1::2][:items].copy()
        return values.view(np.uint8)
    block, size, scales = BLOCKS[t]
    n = items // block
    rows = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for at in scales:
        d = half(rng.standard_normal(n) * 10.0 ** rng.integers(-7, 2, n))
        rows[:, at:at + 2] = d.astype("<f2").view(np.uint8).reshape(n, 2)
    if t == T.MXFP4:  # all exponents whose values are finite, both ends among them
        rows[:, 0] = rng.integers(0, 253, n)
        rows[:4, 0] = [0, 1, 2, 252]
    return rows.reshape(-1)


def rmse(x, y):
    return float(np.sqrt(np.mean((x.astype(np.float64) - y.astype(np.float64)) ** 2)))


def affine_fit(v, w, top, first, steps, absolute):
    """The scale and min of a sub-block: weighted fits for some ranges, the best kept."""
    low, high = min(v.min(), 0.0), v.max()
    if high == low:
        return 0.0, -low
    best = None
    for step in range(-1, steps + 1):
        inverse = (top if step < 0 else first + 0.1 * step + top) / (high - low)
        q = np.clip(np.round(inverse * (v - low)), 0, top)
        sw, sq, sqq = w.sum(), (w * q).sum(), (w * q * q).sum()
        sx, sxq = (w * v).sum(), (w * v * q).sum()
        det = sw * sqq - sq * sq
        if step < 0:
            scale, minimum = 1 / inverse, low
        elif det > 0:
            scale, minimum = (sw * sxq - sx * sq) / det, (sqq * sx - sq * sxq) / det
            if minimum > 0:
                minimum, scale = 0.0, sxq / sqq
        else:
            continue
        miss = np.abs(scale * q + minimum - v)
        error = (w * (miss if absolute else miss * miss)).sum()
        if best is None or error < best[0]:
            best = (error, scale, minimum)
    return best[1], -best[2]


def affine_reference(x, subs, top, most, weights, first, steps, absolute=False):
    """One block of 256 of a type with scales and mins of at most `most`."""
    sub = x.reshape(subs, -1)
    fits = [affine_fit(v, weights(v), top, first, steps, absolute) for v in sub]
    scales, mins = np.array(fits).T
    inv_scale = most / scales.max() if scales.max() > 0 else 0
    inv_min = most / mins.max() if mins.max() > 0 else 0
    sc = np.minimum(most, np.round(inv_scale * scales))
    m = np.minimum(most, np.round(inv_min * mins))
    d = float(half(scales.max() / most)) * sc
    dm = float(half(mins.max() / most)) * m
    out = np.zeros_like(sub)
    for s in range(subs):
        if d[s]:
            out[s] = d[s] * np.clip(np.round((sub[s] + dm[s]) / d[s]), 0, top) - dm[s]
    return out.reshape(-1)


def root_weights(v):
    return np.sqrt(np.mean(v * v)) + np.abs(v)


def q4_k_reference(x):
    return affine_reference(x, 8, 15.0, 63, root_weights, -1, 20)


def q5_k_reference(x):
    return affine_reference(x, 8, 31.0, 63, root_weights, -0.5, 15)


def q2_k_reference(x):
    return affine_reference(x, 16, 3.0, 15, np.abs, -0.5, 15, absolute=True)


def q3_fit(v):
    """A scale, and items improved one by one, weighted by the squares of the values."""
    peak = v[np.argmax(np.abs(v))]
    if abs(peak) < 1e-15:
        return 0.0
    w = v * v
    q = np.clip(np.round(-4 / peak * v), -4, 3)
    sxq, sqq = (w * v * q).sum(), (w * q * q).sum()
    for _ in range(5):
        changed = False
        for i in range(16):
            rest_xq, rest_qq = sxq - w[i] * v[i] * q[i], sqq - w[i] * q[i] * q[i]
            if rest_xq <= 0:
                continue
            new = np.clip(np.round(v[i] * rest_qq / rest_xq), -4, 3)
            xq, qq = rest_xq + w[i] * v[i] * new, rest_qq + w[i] * new * new
            if new != q[i] and qq > 0 and xq * xq * sqq > sxq * sxq * qq:
                q[i], sxq, sqq, changed = new, xq, qq, True
        if not changed:
            break
    return sxq / sqq if sqq > 0 else 0.0


def q3_k_reference(x):
    sub = x.reshape(16, 16)
    scales = np.array([q3_fit(v) for v in sub])
    widest = scales[np.argmax(np.abs(scales))]
    d = float(half(widest / -32))
    sc = np.clip(np.round(-32 / widest * scales), -32, 31)
    out = np.zeros_like(sub)
    for s in range(16):
        if d * sc[s]:
            out[s] = d * sc[s] * np.clip(np.round(sub[s] / (d * sc[s])), -4, 3)
    return out.reshape(-1)


IQ4 = np.array(quants.IQ4_NL.kvalues, dtype=np.float64)


def iq4_nearest(v):
    return IQ4[np.argmin(np.abs(v[:, None] - IQ4), axis=1)]


def iq4_fit(v):
    """The scale of 32 items, weighted by the squares of the values."""
    peak = v[np.argmax(np.abs(v))]
    if abs(peak) < 1e-15:
        return 0.0
    w, best, scale = v * v, -1.0, 0.0
    for aim in [127.0] + [-127.0 + i for i in range(-7, 8)]:
        q = iq4_nearest(v * aim / peak)
        sxq, sqq = (w * v * q).sum(), (w * q * q).sum()
        if sqq > 0 and sxq * sxq / sqq > best:
            best, scale = sxq * sxq / sqq, sxq / sqq
    return scale


def iq4_nl_reference(x):
    out = []
    for v in x.reshape(-1, 32):
        scale = iq4_fit(v)
        out.append(float(half(scale)) * iq4_nearest(v / scale) if scale else 0 * v)
    return np.concatenate(out)


def iq4_xs_reference(x):
    sub = x.reshape(8, 32)
    scales = np.array([iq4_fit(v) for v in sub])
    widest = scales[np.argmax(np.abs(scales))]
    d = float(half(-widest / 32))
    sc = np.clip(np.round(-32 / widest * scales), -32, 31) * d
    return np.concatenate([s * iq4_nearest(v / s) if s else 0 * v for v, s in zip(sub, sc)])


def q6_k_reference(x):
    """Fits weighted by the squares of the values, then 8-bit scales: one block."""
    sub = x.reshape(16, 16)
    scales = np.zeros(16)
    for s in range(16):
        v = sub[s]
        peak = v[np.argmax(np.abs(v))]
        if abs(peak) < 1e-15:
            continue
        best = -1.0
        for step in [0] + [i for i in range(-9, 10) if i]:
            q = np.clip(np.round(-(32 + 0.1 * step) / peak * v), -32, 31)
            sxq, sqq = (v * v * v * q).sum(), (v * v * q * q).sum()
            if sqq > 0 and sxq * sxq / sqq > best:
                best, scales[s] = sxq * sxq / sqq, sxq / sqq
    widest = scales[np.argmax(np.abs(scales))]
    d = float(half(widest / -128))
    sc = np.minimum(127, np.round(-128 / widest * scales))
    out = np.zeros_like(sub)
    for s in range(16):
        if d * sc[s]:
            out[s] = d * sc[s] * np.clip(np.round(sub[s] / (d * sc[s])), -32, 31)
    return out.reshape(-1)


def by_blocks(f, x):
    return np.concatenate([f(b) for b in x.astype(np.float64).reshape(-1, 256)])


REFERENCES = {T.Q4_K: q4_k_reference, T.Q6_K: q6_k_reference, T.Q5_K: q5_k_reference,
              T.Q3_K: q3_k_reference, T.Q2_K: q2_k_reference, T.IQ4_NL: iq4_nl_reference,
              T.IQ4_XS: iq4_xs_reference}


def round_trip(x, t):
    if t in REFERENCES:
        return by_blocks(REFERENCES[t], x)
    return quants.dequantize(quants.quantize(x, t), t)


def main():
    OUT.mkdir(exist_ok=True)
    for t in (T.F32, T.F16, T.BF16, *BLOCKS):
        items = 512
        row = random_row(t, items)
        values = quants.dequantize(row.reshape(1, -1) if t not in (T.F32, T.F16)
                                   else row.view("<f4" if t == T.F32 else "<f2"), t)
        values = np.asarray(values, dtype="<f4").reshape(-1)
        assert values.size == items and np.isfinite(values).all()
        (OUT / f"{t.name.lower()}.bin").write_bytes(
            struct.pack("<I", items) + row.tobytes() + values.tobytes())

    items = 2048
    out = struct.pack("<I", items)
    for x in (rng.standard_normal(items), rng.standard_t(2, items)):
        x = (x * 0.02).astype("<f4")
        out += x.tobytes()
        errors = [rmse(x, round_trip(x, t)) for t in ACCURATE]
        print(" ".join(f"{t.name} {e:.4e}" for t, e in zip(ACCURATE, errors)))
        out += struct.pack(f"<{len(errors)}f", *errors)
    (OUT / "accuracy.bin").write_bytes(out)


if __name__ == "__main__":
    main()
