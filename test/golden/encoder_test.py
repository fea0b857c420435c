"""Compares encoders with encoder_ref.py, hidden states and what `realm embed` prints, runs
`realm bench`, and sees that files which contradict themselves are refused; prints TAP.

    encoder_test.py LOGITS INVARIANCE REALM

LOGITS is the program of logits.c, INVARIANCE the unit test of this name, which says whether
a text gives the same bits in every batch.

The bounds.  With F32 and F16 weights only float32 arithmetic differs, and the bound is 1e-4
for each item of a hidden state, whose size is about 1.  Where activations are rounded, they
are in the reference, too, as golden_test.py tells: texts of two tokens mostly agree to 1e-5;
in longer ones float32 noise puts a few values on the other side of a border, and the
difference must not be greater than two independent roundings make it: sqrt(2) times the
rounding's own effect, which is the reference's with it less the reference's without.
"""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from arch_test import BOOL, Tap, key, refusals, tensor
from encoder_models import SIZES, SPECS, TOKENS, encode, make
from encoder_ref import Encoder
from gguf import PoolingType

LIMIT = 1e-4
TYPES = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_K_M", "Q6_K", "IQ4_XS"]
EXACT, SHORT_N = 1e-5, 9
TOKENS_N, LONG = 90, 1070  # more than a segment of 1024 keys
WITH_LONG = {"bert", "bert-odd", "nomic-bert"}
TEXTS = ["the cat sat on the mat", "two and two", "a", "who was the red dog and where"]
POOLINGS = {PoolingType.MEAN: "mean", PoolingType.CLS: "cls", PoolingType.LAST: "last",
            None: "mean"}
CONTEXT, WIDTH = SIZES["context"], SIZES["width"]

# A model, what is wrong with it, and words of the sentence that says so; "": nothing is.
WRONG = [
    ("bert", key("bert.attention.causal", True, BOOL), "attention.causal is true"),
    ("bert", key("bert.attention.causal", None), ""),
    ("bert", key("bert.pooling_type", 4), "pooling_type is 4"),
    ("bert", key("bert.context_length", 8193), "up to 8192 tokens"),
    ("bert", key("bert.context_length", 1299),
     "position_embd.weight has shape 64x1300x1x1, want 64x1299"),
    ("bert", key("bert.attention.layer_norm_epsilon", None), "layer_norm_epsilon is missing"),
    ("bert", key("bert.attention.head_count", 5), "does not split into 5 heads"),
    ("bert", key("tokenizer.ggml.token_type_count", 3),
     "token_types.weight has shape 64x2x1x1, want 64x3"),
    ("bert", key("tokenizer.ggml.token_type_count", 0), "token_type_count has 0 types"),
    ("bert", key("tokenizer.ggml.token_type_count", None), ""),
    ("bert", tensor("token_types.weight", None), ""),
    ("bert", tensor("token_types.weight", [2, 63]), "63x2x1x1, want 64x2"),
    ("bert", tensor("position_embd.weight", None), "position_embd.weight is missing"),
    ("bert", tensor("token_embd_norm.bias", None), "token_embd_norm.bias is missing"),
    ("bert", tensor("token_embd_norm.weight", [65]),
     "token_embd_norm.weight has shape 65x1x1x1, want 64x1"),
    ("bert", tensor("blk.1.attn_k.bias", [63]), "blk.1.attn_k.bias has shape 63x1x1x1, want 64x1"),
    ("bert", tensor("blk.2.layer_output_norm.bias", None), "layer_output_norm.bias is missing"),
    ("bert", tensor("blk.0.ffn_up.weight", [81, 64]),
     "blk.0.ffn_up.weight has shape 64x81x1x1, want 64x80"),
    ("bert", tensor("blk.0.attn_norm.weight", [64]), "not supported in a bert model"),
    ("bert", tensor("output.weight", [len(TOKENS), 64]), "output.weight is not supported"),
    ("bert", tensor("cls.weight", [64, 64]), "cls.weight is not supported"),
    ("nomic-bert", tensor("position_embd.weight", [CONTEXT, WIDTH]), "is not supported"),
    ("nomic-bert", tensor("blk.0.attn_qkv.weight", [191, 64]),
     "blk.0.attn_qkv.weight has shape 64x191x1x1, want 64x192"),
    ("nomic-bert", tensor("blk.1.ffn_gate.weight", None), "blk.1.ffn_gate.weight is missing"),
    ("nomic-bert", key("nomic-bert.rope.dimension_count", 18), "rope dimension 18"),
]


def hidden(logits, path, ids):
    with tempfile.NamedTemporaryFile() as out:
        args = [logits, path, "f16", "1", "0", out.name, *map(str, ids)]
        subprocess.run(args, check=True, capture_output=True)
        return np.fromfile(out.name, "<f4").reshape(len(ids), -1).astype(np.float64)


def embed(realm, path, *args):
    done = subprocess.run([realm, "embed", "-m", path, *args], check=True, capture_output=True)
    return np.array([json.loads(line) for line in done.stdout.splitlines()])


def compare_hidden(tap, logits, path, name):
    model = Encoder(path)
    for n in (TOKENS_N, LONG) if name in WITH_LONG else (TOKENS_N,):
        ids = np.random.default_rng(7).integers(0, len(TOKENS), n)
        got, want = hidden(logits, path, ids), model.hidden(ids)
        if not model.rounds:
            worst = np.abs(got - want).max()
            tap.check(worst < LIMIT, f"{name}, {n} tokens", f"{worst:.1e}, limit {LIMIT:.0e}")
            continue
        pieces = ids[: 2 * SHORT_N].reshape(SHORT_N, 2)
        off = np.median([np.abs(hidden(logits, path, p) - model.hidden(p)).mean() for p in pieces])
        tap.check(off < EXACT, f"{name}, short", f"{off:.1e}, limit {EXACT:.0e}")
        off = np.abs(got - want).mean()
        limit = np.sqrt(2) * np.abs(want - Encoder(path, rounds=False).hidden(ids)).mean()
        tap.check(off < limit, f"{name}, {n} tokens", f"{off:.1e}, limit {limit:.1e}")


def quantised(tap, logits, invariance, realm, path, name):
    """As `realm quantize` writes them."""
    for kind in TYPES:
        out = f"{path}.{kind}"
        subprocess.run([realm, "quantize", path, out, kind], check=True, capture_output=True)
        compare_hidden(tap, logits, out, f"{name} in {kind}")
        if kind == "Q4_K_M":
            tap.run([invariance, out], f"{name} in {kind}, the same bits in every batch")
        os.unlink(out)


def compare_embeddings(tap, realm, path, name):
    """Each pooling, and the one that the file says."""
    model, own = Encoder(path), POOLINGS[SPECS[name][2]]
    for pooling in ("mean", "cls", "last", None) if name in WITH_LONG else (None,):
        args = ["--pooling", pooling] if pooling else []
        got = embed(realm, path, *args, *TEXTS)
        want = np.array([model.embedding(encode(text), pooling or own) for text in TEXTS])
        worst = np.abs(got - want).max()
        tap.check(worst < LIMIT, f"{name}, {pooling or 'its own'} pooling", f"{worst:.1e}")


def commands(tap, realm, path, folder):
    lines = os.path.join(folder, "lines")
    with open(lines, "w", encoding="utf-8") as out:
        out.write("\n".join(TEXTS))
    together = embed(realm, path, "--file", lines)
    apart = np.concatenate([embed(realm, path, text) for text in TEXTS])
    tap.check((together == apart).all(), "realm embed --file, the same bits", "")
    raw = embed(realm, path, "--raw", TEXTS[0])[0]
    length = np.sqrt((raw * raw).sum())
    tap.check(abs(length - 1) > 0.1 and np.abs(raw / length - apart[0]).max() < 1e-6,
              "realm embed --raw", f"of length {length:.2f}")
    for args, words in ((["embed", "cat " * CONTEXT], "tokens and the context 1300"),
                        (["run", "cat"], "makes embeddings alone"),
                        (["score", "cat"], "makes embeddings alone")):
        done = subprocess.run([realm, *args, "-m", path], capture_output=True, text=True)
        tap.check(done.returncode == 1 and words in done.stderr, f"realm {args[0]}: {words}",
                  repr(done.stderr))


def bench(tap, realm, path):
    out = subprocess.run([realm, "bench", "-m", path, "-p", "40", "-b", "1,3", "-r", "2", "--json"],
                         check=True, capture_output=True)
    rows = json.loads(out.stdout)["rows"]
    tap.check([(r["test"], r["tokens"], r["batch"]) for r in rows] == [("embed", 40, 1),
                                                                       ("embed", 40, 3)]
              and all(0 < r["tok_s"]["min"] <= r["tok_s"]["max"] for r in rows),
              "realm bench", repr(rows))
    for args, words in ((["--compare"], "embeddings alone"), (["-d", "9"], "no tokens before it"),
                        (["-p", "0"], "texts of no length")):
        done = subprocess.run([realm, "bench", "-m", path, *args], capture_output=True, text=True)
        tap.check(done.returncode == 2 and words in done.stderr, f"realm bench {' '.join(args)}",
                  repr(done.stderr))


def main():
    logits, invariance, realm = sys.argv[1:]
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.gguf")
        for name in SPECS:
            make(name, path)
            compare_hidden(tap, logits, path, name)
            compare_embeddings(tap, realm, path, name)
            if name in WITH_LONG:
                tap.run([invariance, path], f"{name}, the same bits in every batch")
            if name.endswith("wide"):
                quantised(tap, logits, invariance, realm, path, name)
        make("bert", path)
        commands(tap, realm, path, folder)
        bench(tap, realm, path)
        refusals(tap, logits, path, make, WRONG)
    print(f"1..{tap.n}")
    return tap.failed > 0


if __name__ == "__main__":
    sys.exit(main())
