#!/usr/bin/env python3
"""GGUF fixtures, byte by byte and by no library but struct.

    python3 test/golden/mkgguf.py DIR

writes into DIR (made if need be):
  v2.gguf v3.gguf     every value type, arrays of every item type, four tensors;
                      the same content under the two versions
  align64.gguf        general.alignment 64, two tensors
  vocab.gguf          keys alone, no tensors, no padding at the end
  part-0000N-of-00003.gguf   a model in three parts
  bad-*.gguf          what is wrong is in the name
"""
import pathlib
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
PACK = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B",
        U64: "Q", I64: "q", F64: "d"}
DT_F32, DT_F16, DT_Q8_0, DT_Q8_1 = 0, 1, 8, 9


def string(s):
    b = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(b)) + b


def scalar(t, v):
    return string(v) if t == STRING else struct.pack("<" + PACK[t], v)


def value(key, t, v):
    return string(key) + struct.pack("<I", t) + scalar(t, v)


def array(key, t, items):
    return (string(key) + struct.pack("<IIQ", ARRAY, t, len(items)) +
            b"".join(scalar(t, v) for v in items))


def tensor(name, dims, dtype, offset):
    return (string(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims) +
            struct.pack("<IQ", dtype, offset))


def gguf(values, tensors=(), data=b"", version=3, align=32):
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    head += b"".join(values) + b"".join(tensors)
    if tensors:
        head += bytes(-len(head) % align)
    return head + data


def every_type():
    return [
        value("general.architecture", STRING, "fixture"),
        value("k.u8", U8, 200), value("k.i8", I8, -100),
        value("k.u16", U16, 60000), value("k.i16", I16, -30000),
        value("k.u32", U32, 4000000000), value("k.i32", I32, -2000000000),
        value("k.f32", F32, 1.5), value("k.bool", BOOL, 1), value("k.false", BOOL, 0),
        value("k.string", STRING, "h\u00e9llo"), value("k.empty", STRING, ""),
        value("k.u64", U64, 1 << 63), value("k.i64", I64, -(1 << 62)), value("k.f64", F64, 0.1),
        value("k.u64.small", U64, 77), value("k.i64.small", I64, 78), value("k.i32.small", I32, 79),
        value("k.i8.min", I8, -128), value("k.i64.min", I64, -(1 << 63)),
        array("a.u8", U8, [1, 2, 255]), array("a.i8", I8, [-1, 2]),
        array("a.u16", U16, [1, 65535]), array("a.i16", I16, [-1, 1]),
        array("a.u32", U32, [1, 2, 3, 4]), array("a.i32", I32, [-5, 6]),
        array("a.f32", F32, [0.5, -0.25]), array("a.bool", BOOL, [0, 1, 1]),
        array("a.string", STRING, ["a", "", "\u4e16\u754c", b"\xff raw"]),
        array("a.u64", U64, [1 << 60]), array("a.i64", I64, [-1]), array("a.f64", F64, [2.5]),
        array("a.none", STRING, []), array("a.no.u32", U32, []),
    ]


def pattern(n, start):
    return bytes((start + i) % 251 for i in range(n))


def full(version):
    tensors = [tensor("tok", [32, 2], DT_F32, 0), tensor("half", [5], DT_F16, 256),
               tensor("quant", [64, 3, 1, 2], DT_Q8_0, 288), tensor("named", [32, 2], DT_Q8_1, 704)]
    data = (pattern(256, 1) + pattern(10, 2) + bytes(22) + pattern(408, 3) + bytes(8) +
            pattern(72, 4))
    return gguf(every_type(), tensors, data, version)


def part(no, count, tensors, data, extra=()):
    keys = [value("split.no", U16, no), value("split.count", U16, count),
            value("split.tensors.count", I32, 3)]
    return gguf(keys + list(extra), tensors, data)


def parts(out):
    arch = [value("general.architecture", STRING, "fixture"), value("k.u32", U32, 5)]
    names = ["part-%05d-of-00003.gguf" % (i + 1) for i in range(3)]
    (out / names[0]).write_bytes(part(0, 3, [tensor("one", [8], DT_F32, 0)], pattern(32, 10), arch))
    (out / names[1]).write_bytes(part(1, 3, [tensor("two", [8], DT_F32, 0)], pattern(32, 20)))
    (out / names[2]).write_bytes(part(2, 3, [tensor("three", [4], DT_F32, 0)], pattern(16, 30),
                                      arch[1:]))
    good2 = (out / names[1]).read_bytes()
    other = {
        "keys": part(1, 3, [tensor("two", [8], DT_F32, 0)], pattern(32, 20),
                     [value("k.u32", U32, 6)]),
        "new": part(1, 3, [tensor("two", [8], DT_F32, 0)], pattern(32, 20),
                    [value("k.new", U32, 6)]),
        "number": part(2, 3, [tensor("two", [8], DT_F32, 0)], pattern(32, 20)),
        "count": part(1, 2, [tensor("two", [8], DT_F32, 0)], pattern(32, 20)),
        "twice": part(1, 3, [tensor("one", [8], DT_F32, 0)], pattern(32, 20)),
        "total": part(1, 3, [tensor("two", [8], DT_F32, 0), tensor("x", [8], DT_F32, 32)],
                      pattern(64, 20)),
        "sum": good2.replace(string("split.tensors.count") + struct.pack("<Ii", I32, 3),
                             string("split.tensors.count") + struct.pack("<Ii", I32, 4)),
        "cut": good2[:-1],
        "missing": None,
    }
    for name, second in other.items():
        folder = out / ("bad-split-" + name)
        folder.mkdir(exist_ok=True)
        for i in (0, 2):
            (folder / names[i]).write_bytes((out / names[i]).read_bytes())
        if second is not None:
            (folder / names[1]).write_bytes(second)
    one = (out / names[0]).read_bytes()
    (out / "bad-split-name.gguf").write_bytes(one)
    keys = {"zero": ("split.count", U16, 0), "many": ("split.count", U16, 257),
            "type": ("split.count", STRING, "3"), "beyond": ("split.no", U16, 1)}
    for name, key in keys.items():
        (out / f"bad-split-{name}.gguf").write_bytes(gguf([value(*key)]))
    (out / "one-00001-of-00001.gguf").write_bytes(
        part(0, 1, [tensor(n, [8], DT_F32, i * 32) for i, n in enumerate("abc")], pattern(96, 1)))


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    (out / "v2.gguf").write_bytes(full(2))
    (out / "v3.gguf").write_bytes(full(3))
    (out / "vocab.gguf").write_bytes(gguf([array("tokens", STRING, ["x", "yz"])]))
    (out / "align64.gguf").write_bytes(
        gguf([value("general.alignment", U32, 64)],
             [tensor("b", [4], DT_F32, 64), tensor("a", [1], DT_F32, 0)],
             pattern(4, 7) + bytes(60) + pattern(16, 9), align=64))
    small = [value("k", U32, 1)]
    (out / "bad-v1.gguf").write_bytes(gguf(small, version=1))
    (out / "bad-v4.gguf").write_bytes(gguf(small, version=4))
    swapped = b"GGUF" + struct.pack(">IQQ", 3, 0, 1) + struct.pack(">Q", 1) + b"k"
    (out / "bad-swapped.gguf").write_bytes(swapped + struct.pack(">II", U32, 1))
    (out / "bad-empty.gguf").write_bytes(b"")
    (out / "bad-magic-alone.gguf").write_bytes(b"GGUF")
    (out / "bad-lora.gguf").write_bytes(b"ggla" + bytes(60))
    parts(out)


if __name__ == "__main__":
    main()
