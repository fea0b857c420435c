#!/usr/bin/env python3
"""Writes the golden vectors of test/unit/tensor into test/golden/quant.

    python3 test/golden/make_quant_golden.py          (needs numpy and gguf)

TYPE.bin       u32 items, the row as a file has it, then its values as f32, by
               the gguf package's dequantisation.
accuracy.bin   u32 items; for each of the two distributions `items` f32 values
               and the RMSE (f32) of the reference formulas for Q8_0, Q4_0 (the
               gguf package), Q4_K and Q6_K (the formulas of ggml's quantize_row_*_ref,
               written out below).
Little endian throughout.
"""
import pathlib
import struct

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import quants

OUT = pathlib.Path(__file__).parent / "quant"
rng = np.random.default_rng(20240917)


def half(x):
    return np.asarray(x, dtype=np.float32).astype(np.float16)


def random_row(t, items):
    """Blocks of random bits whose f16 scales are finite and of either sign."""
    block, size = {T.F32: (1, 4), T.F16: (1, 2), T.BF16: (1, 2), T.Q8_0: (32, 34),
                   T.Q4_0: (32, 18), T.Q4_K: (256, 144), T.Q6_K: (256, 210)}[t]
    n = items // block
    if t == T.F32:
        return rng.standard_normal(n).astype("<f4").view(np.uint8)
    if t == T.F16:
        values = rng.standard_normal(n) * 10.0 ** rng.integers(-8, 4, n)
        return values.astype("<f2").view(np.uint8)
    rows = rng.integers(0, 256, (n, size), dtype=np.uint8)
    if t == T.BF16:
        values = rng.standard_normal(n).astype("<f4").view("<u2")[1::2].copy()
        return values.view(np.uint8)
    scales = {T.Q8_0: [0], T.Q4_0: [0], T.Q4_K: [0, 2], T.Q6_K: [208]}[t]
    for at in scales:
        d = half(rng.standard_normal(n) * 10.0 ** rng.integers(-7, 2, n))
        rows[:, at:at + 2] = d.astype("<f2").view(np.uint8).reshape(n, 2)
    return rows.reshape(-1)


def rmse(x, y):
    return float(np.sqrt(np.mean((x.astype(np.float64) - y.astype(np.float64)) ** 2)))


def q4_k_reference(x):
    """Weighted fits of scale and min, then 6-bit scales: one block of 256."""
    sub = x.reshape(8, 32)
    scales, mins = np.zeros(8), np.zeros(8)
    for s in range(8):
        v = sub[s]
        w = np.sqrt(np.mean(v * v)) + np.abs(v)
        low, high = min(v.min(), 0.0), v.max()
        if high == low:
            mins[s] = -low
            continue
        best = None
        for step in range(-1, 21):
            inverse = (15.0 if step < 0 else -1 + 0.1 * step + 15) / (high - low)
            q = np.clip(np.round(inverse * (v - low)), 0, 15)
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
            error = (w * (scale * q + minimum - v) ** 2).sum()
            if best is None or error < best[0]:
                best = (error, scale, minimum)
        scales[s], mins[s] = best[1], -best[2]
    inv_scale = 63 / scales.max() if scales.max() > 0 else 0
    inv_min = 63 / mins.max() if mins.max() > 0 else 0
    sc = np.minimum(63, np.round(inv_scale * scales))
    m = np.minimum(63, np.round(inv_min * mins))
    d = float(half(scales.max() / 63)) * sc
    dm = float(half(mins.max() / 63)) * m
    out = np.zeros_like(sub)
    for s in range(8):
        if d[s]:
            out[s] = d[s] * np.clip(np.round((sub[s] + dm[s]) / d[s]), 0, 15) - dm[s]
    return out.reshape(-1)


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


def main():
    OUT.mkdir(exist_ok=True)
    for t in (T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_K, T.Q6_K):
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
        back = [quants.dequantize(quants.quantize(x, t), t) for t in (T.Q8_0, T.Q4_0)]
        back += [by_blocks(q4_k_reference, x), by_blocks(q6_k_reference, x)]
        errors = [rmse(x, y) for y in back]
        print(" ".join(f"{e:.4e}" for e in errors))
        out += struct.pack("<4f", *errors)
    (OUT / "accuracy.bin").write_bytes(out)


main()
