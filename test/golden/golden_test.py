"""Compares Realm's logits and hidden states with the float64 reference (llama_ref.py);
prints TAP.

    golden_test.py LOGITS [REALM]

LOGITS is the program of logits.c; $REALM_TEST_DATA holds llama2c/stories260K.bin; with
the program REALM, what `realm score` prints is compared, too.

The bounds.  Where nothing is rounded on purpose (F32 and F16 weights, f32 keys
and values) only float32 arithmetic differs from the reference: 2^-24 for each of
the some thousand operations behind a logit, so a mean below 1e-5.

Elsewhere the reference rounds the same values in the same way, but float32 noise
puts a few of them on the other side of a border (about one of 10 000), and each
such step moves further values over theirs, until the two roundings are as good
as independent.  So two things are asked.  Short sequences mostly have no such
step: the median of their means must be below 1e-5 too, which no other rounding
rule would reach.  And over a long sequence the difference must not be greater
than two independent roundings make it: sqrt(2) times the rounding's own effect,
which is the reference's with it less the reference's without.

Hidden states are compared in the same way, as parts of their root mean square.
"""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from llama2c_to_gguf import convert
from llama_ref import Model, log_softmax
from make_models import SPECS, make

EXACT = 1e-5
GREEDY = 200
SHORT, SHORT_N = 2, 30
KV = ["f32", "f16", "bf16", "q8_0"]
ALL_KV = ["f32-llama3-own", "q8_0"]  # the others are compared with f32 and f16

LOGITS, *REALM = sys.argv[1:]
DATA = os.environ["REALM_TEST_DATA"]


def run(model, path, ids, kv, chunk, greedy=0):
    """Log-probabilities (positions, vocabulary), hidden states (positions, width) and the
    tokens chosen after them."""
    with tempfile.NamedTemporaryFile() as out:
        args = [LOGITS, path, kv, str(chunk), str(greedy), out.name, *map(str, ids)]
        text = subprocess.run(args, check=True, capture_output=True, text=True).stdout
        both = np.fromfile(out.name, "<f4").reshape(len(ids), -1).astype(np.float64)
    logits, hidden = both[:, : -model.width], both[:, -model.width :]
    return log_softmax(logits), hidden, [int(line) for line in text.split()]


class Tap:
    def __init__(self):
        self.n = self.failed = 0

    def check(self, good, name, note):
        self.n += 1
        self.failed += not good
        print("ok" if good else "not ok", self.n, "-", name, "#", note, flush=True)

    def bound(self, name, value, limit):
        self.check(value < limit, name, f"{value:.1e}, limit {limit:.1e}")

    def compare(self, name, path, ids, kv):
        model = Model(path)
        name += ", KV " + kv
        diff = difference(model, path, ids, kv)
        if kv == "f32" and not model.rounds:
            self.bounds(name, diff, [EXACT, EXACT])
            return
        pieces = [ids[i * SHORT : (i + 1) * SHORT] for i in range(SHORT_N)]
        short = [difference(model, path, piece, kv) for piece in pieces]
        self.bounds(name + ", short", np.median(short, axis=0), [EXACT, EXACT])
        plain = Model(path, rounds=False)
        effect = apart(model.hidden(ids, kv), plain.hidden(ids), model, plain)
        self.bounds(name + ", long", diff, np.sqrt(2) * np.array(effect))

    def bounds(self, name, values, limits):
        for of, value, limit in zip(["", ", hidden"], values, limits):
            self.bound(name + of, value, limit)


def relative(a, b):
    return np.abs(a - b).mean() / np.sqrt((b * b).mean())


def apart(a, b, model_a, model_b):
    """How far two hidden states are, as log-probabilities and as they are."""
    logprobs = [log_softmax(m.matrices["output"](x)) for m, x in ((model_a, a), (model_b, b))]
    return np.abs(logprobs[0] - logprobs[1]).mean(), relative(a, b)


def difference(model, path, ids, kv):
    logprobs, hidden, _ = run(model, path, ids, kv, chunk=40)
    want = model.hidden(ids, kv)
    logits = log_softmax(model.matrices["output"](want))
    return np.abs(logprobs - logits).mean(), relative(hidden, want)


def score(path, *args):
    args = [*REALM, "score", "-m", path, "--json", *args]
    return json.loads(subprocess.run(args, check=True, capture_output=True).stdout)["tokens"]


def score_difference(path, ids, want, *args):
    tokens = score(path, *args, "--ids", ",".join(map(str, ids)))
    got = [token["logprob"] for token in tokens[1:]]
    return np.abs(np.array(got) - want[np.arange(len(ids) - 1), ids[1:]]).mean()


def realm_score(tap, path, ids):
    reference = log_softmax(Model(path).logits(ids))
    tap.bound("realm score", score_difference(path, ids, reference), EXACT)
    for kv in KV:
        same = run(Model(path), path, ids, kv, 40)[0]
        tap.bound("realm score, KV " + kv, score_difference(path, ids, same, "--kv", kv), 1e-5)
    args = [*REALM, "score", "-m", path, "--kv", "q4_0", "a"]
    refused = subprocess.run(args, capture_output=True, text=True)
    tap.check(refused.returncode == 2 and "f16, f32, bf16 or q8_0, not 'q4_0'" in refused.stderr,
              "realm score, KV of no such type", refused.stderr.strip())
    text = "Once upon a time, there was"
    texts = "".join(token["text"] for token in score(path, text)[1:])
    tap.check(texts == " " + text, "realm score, texts with their spaces", repr(texts))


def reference_greedy(path, ids, n):
    model, ids = Model(path), list(ids)
    for _ in range(n):
        ids.append(int(model.logits(ids, "f32")[-1].argmax()))
    return ids[-n:]


def stories(tap, folder):
    path = os.path.join(folder, "stories260K.gguf")
    data = os.path.join(DATA, "llama2c")
    convert(os.path.join(data, "stories260K.bin"), os.path.join(data, "tok512.bin"), path)
    got = run(Model(path), path, [1], "f32", 1, GREEDY)[2]
    tap.check(got == reference_greedy(path, [1], GREEDY), "stories260K, greedy", f"{GREEDY} tokens")
    for kv in KV:
        tap.compare("stories260K", path, [1] + got, kv)
    if REALM:
        realm_score(tap, path, [1] + got)


def random_models(tap, folder):
    for name in SPECS:
        path = os.path.join(folder, name + ".gguf")
        make(name, path)
        ids = np.random.default_rng(5).integers(0, 301, 150)
        for kv in KV if name in ALL_KV else KV[:2]:
            tap.compare(name, path, ids, kv)


def main():
    if not os.path.exists(os.path.join(DATA, "llama2c/stories260K.bin")):
        print("1..0 # SKIP no test data: set REALM_TEST_DATA")
        return 0
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        stories(tap, folder)
        random_models(tap, folder)
    print(f"1..{tap.n}")
    return tap.failed > 0


if __name__ == "__main__":
    sys.exit(main())
