#!/usr/bin/env python3
"""Compares the tokenisers with the packages `tokenizers` and `sentencepiece`.

    check_text.py ENCODE_FILE DATA_DIR

Both are built from the vocabulary files' own tokens, merges and scores, and every
random text must give the same ids.  Exits 77 (skipped) where a package or the
data is absent.
"""

import os
import random
import struct
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / "build-venv" / "bin" / "python"
TEXTS = 3000
SKIPPED = 77

try:
    import sentencepiece
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
except ImportError:
    if VENV.exists() and Path(sys.prefix) != VENV.parent.parent:
        os.execv(VENV, [str(VENV), *sys.argv])
    print("skipped: tokenizers and sentencepiece are not installed (scripts/setup)")
    sys.exit(SKIPPED)

QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def split_by(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])


PRE_TOKENIZERS = {
    "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "starcoder": pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ]),
    "qwen2": split_by(QWEN2),
    "llama-bpe": split_by(LLAMA3),
}


class Gguf:
    """The keys of a GGUF file."""

    FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
               12: "d"}

    def __init__(self, data):
        self.data, self.at, self.keys = data, 8, {}
        _, count = self.number("Q"), self.number("Q")
        for _ in range(count):
            key = self.string().decode()
            self.keys[key] = self.value(self.number("I"))

    def number(self, fmt):
        value, = struct.unpack_from("<" + fmt, self.data, self.at)
        self.at += struct.calcsize("<" + fmt)
        return value

    def string(self):
        n = self.number("Q")
        self.at += n
        return self.data[self.at - n:self.at]

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            item, n = self.number("I"), self.number("Q")
            return [self.value(item) for _ in range(n)]
        return self.number(self.FORMATS[kind])


def random_texts(seed, tokens):
    """Texts of many kinds: any character, few characters, words, white space."""
    rng = random.Random(seed)
    assigned = [chr(c) for c in range(0x110000)
                if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    spaces = " \t\n\r\v\f\u0085\u00a0\u1680\u2003\u2028\u202f\u205f\u3000\u180e\u200b"
    letters = "aeiostrnAEZ\u00e4\u00df\u0436\u03a9\u05d0\u0623\u0e01\u4e2d\u3042\uac00"
    signs = "'\"!?.,;:-_<>|()[]{}#$%&*+/=@^`~\u2026\u2014\u00ab\u20ac\u0301\u200d\ufe0f\u2581"
    digits = "0123456789\u0663\u00b2\u2167\u4e00\uff15"
    kinds = [
        lambda: rng.choice(assigned),
        lambda: rng.choice(spaces),
        lambda: " " * rng.randint(1, 9),
        lambda: rng.choice(letters) * rng.choice([1, 1, 1, 2, 3, 20]),
        lambda: rng.choice(signs) * rng.choice([1, 1, 1, 2, 3, 20]),
        lambda: "".join(rng.choice(digits) for _ in range(rng.randint(1, 6))),
        lambda: rng.choice(["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'RE"]),
        lambda: rng.choice(["\n\n", "\r\n"]),
        lambda: rng.choice(tokens),
        lambda: " " + rng.choice(tokens),
        lambda: chr(rng.randint(0x1F300, 0x1F64F)),
    ]
    yield from ("", " ", "\n", "a" * 5000, " " * 3000, "\U0001F600" * 500)
    for _ in range(TEXTS):
        some = rng.sample(kinds, rng.randint(1, len(kinds)))
        yield "".join(rng.choice(some)() for _ in range(rng.randint(1, 40)))


def encode_all(program, path, texts):
    data = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
    out = subprocess.run([program, path], input=data, stdout=subprocess.PIPE, check=True).stdout
    return [[int(x) for x in line.split()] for line in out.decode().split("\n")[:-1]]


def compare(name, program, path, texts, reference):
    got = encode_all(program, path, texts)
    if len(got) != len(texts):
        sys.exit(f"{name}: {len(got)} lines for {len(texts)} texts")
    wrong = 0
    for text, ids in zip(texts, got):
        want = reference(text)
        if ids != want:
            wrong += 1
            if wrong <= 5:
                print(f"{name}: {text!r}\n  got  {ids}\n  want {want}")
    print(f"{name}: {len(texts)} texts, {sum(map(len, got))} ids, {wrong} texts differ")
    return wrong


def plain_words(keys):
    kinds = keys["tokenizer.ggml.token_type"]
    for token, kind in zip(keys["tokenizer.ggml.tokens"], kinds):
        if kind == 1 and token.isascii():
            yield token.decode()


def check_bpe(program, file, pre):
    """The vocabulary of `file`, cut into words as the pre-tokeniser `pre` does."""
    data = file.read_bytes()
    keys = Gguf(data).keys

    def entry(value):
        key = b"tokenizer.ggml.pre"
        return struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(value)) + value

    changed = data.replace(entry(keys["tokenizer.ggml.pre"]), entry(pre.encode()))
    vocabulary = {t.decode(): i for i, t in enumerate(keys["tokenizer.ggml.tokens"])}
    merges = [tuple(m.decode().split(" ")) for m in keys["tokenizer.ggml.merges"]]
    model = models.BPE(vocab=vocabulary, merges=merges, ignore_merges=pre == "llama-bpe")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[pre]
    texts = list(random_texts(f"{file.name} {pre}", list(plain_words(keys))))
    with tempfile.NamedTemporaryFile(suffix=".gguf") as copy:
        copy.write(changed)
        copy.flush()
        return compare(f"{file.stem} as {pre}", program, copy.name, texts,
                       lambda t: tokenizer.encode(t, add_special_tokens=False).ids)


def field(number, kind, payload):
    return varint(number << 3 | kind) + payload


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def text_field(number, payload):
    return field(number, 2, varint(len(payload)) + payload)


def sentencepiece_model(keys):
    """The protocol buffer that sentencepiece reads (sentencepiece_model.proto)."""
    out = b""
    for token, score, kind in zip(keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.scores"],
                                  keys["tokenizer.ggml.token_type"]):
        out += text_field(1, text_field(1, token) + field(2, 5, struct.pack("<f", score))
                          + field(3, 0, varint(kind)))
    model_type, byte_fallback = field(3, 0, varint(2)), field(35, 0, varint(1))
    out += text_field(2, model_type + byte_fallback)
    prefix, remove_extra, escape = (field(n, 0, varint(v)) for n, v in ((3, 1), (4, 0), (5, 1)))
    return out + text_field(3, text_field(1, b"identity") + prefix + remove_extra + escape)


def check_spm(program, file):
    keys = Gguf(file.read_bytes()).keys
    reference = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(keys))
    texts = list(random_texts(file.name, list(plain_words(keys))))
    return compare(file.stem, program, file, texts, reference.encode)


def main():
    program, folder = sys.argv[1], Path(os.environ.get("REALM_TEST_DATA", sys.argv[2])) / "vocab"
    if not folder.is_dir():
        print("skipped: no test data")
        sys.exit(SKIPPED)
    wrong = check_spm(program, folder / "ggml-vocab-llama-spm.gguf")
    for name, pre in (("gpt-2", "gpt-2"), ("starcoder", "starcoder"), ("starcoder", "qwen2"),
                      ("gpt-2", "llama-bpe")):
        wrong += check_bpe(program, folder / f"ggml-vocab-{name}.gguf", pre)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
