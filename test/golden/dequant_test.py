"""Compares what Realm reads from weights of each type with the gguf package's dequantisation, bit
for bit; prints TAP.

    dequant_test.py REALM

`realm quantize IN OUT F32` reads them.  The vectors of make_quant_golden.py, which the unit tests
have, are two blocks of some types; here are some hundred of each, of any bits and scales.
"""

import os
import subprocess
import sys
import tempfile

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize
from make_quant_golden import BLOCKS, random_row
from write_model import finish

ROWS, K = 64, 1024


def any_halves():
    """Every finite f16, and some twice."""
    bits = np.arange(ROWS * K, dtype=np.uint16)
    return np.where(bits & 0x7C00 == 0x7C00, bits & 0x83FF, bits)


def any_bf16():
    bits = np.arange(ROWS * K, dtype=np.uint16)
    return np.where(bits & 0x7F80 == 0x7F80, bits & 0x807F, bits)


def data_of(kind):
    """(ROWS, bytes of a row)"""
    if kind in (T.F16, T.BF16):
        return (any_halves if kind == T.F16 else any_bf16)().view(np.uint8).reshape(ROWS, -1)
    return random_row(kind, ROWS * K).reshape(ROWS, -1)


def values(kind, data):
    if kind == T.F16:
        data = data.view(np.float16)
    return dequantize(data.view(np.float32) if kind == T.F32 else data, kind)


def main():
    realm, kinds = sys.argv[1], [T.F32, T.F16, T.BF16, *BLOCKS]
    data = [data_of(kind) for kind in kinds]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        before, after = os.path.join(folder, "in.gguf"), os.path.join(folder, "out.gguf")
        writer = gguf.GGUFWriter(before, "llama")
        for i, kind in enumerate(kinds):
            name = f"blk.{i}.ffn_up.weight"
            own = {T.F32: np.float32, T.F16: np.float16}.get(kind, np.uint8)
            writer.add_tensor(name, data[i].view(own), raw_dtype=kind)
        finish(writer)
        subprocess.run([realm, "quantize", before, after, "F32"], check=True, capture_output=True)
        tensors = {t.name: t.data for t in gguf.GGUFReader(after).tensors}
        for i, kind in enumerate(kinds):
            got = tensors[f"blk.{i}.ffn_up.weight"].view(np.uint32)
            wrong = int((got != values(kind, data[i]).view(np.uint32)).sum())
            failed += wrong > 0
            print("not ok" if wrong else "ok", i + 1, "-", kind.name,
                  f"# {wrong} of {got.size} values differ")
    print(f"1..{len(kinds)}")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
