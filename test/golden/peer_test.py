"""Perplexities of `realm score --file` beside llama.cpp's, where scripts/setup --peer has put it;
prints TAP.

    peer_test.py REALM MODEL TEXT

Over TEXT, and over stories of the kind that the model that comes along was trained on.
llama.cpp's logits come from the low-level calls of llama-cpp-python (bench/peer.py), ids from
its own tokenizer, and what is made of them is what its tool for perplexities does: windows that
begin with BOS, of which the second half counts.  The two engines round activations to int8 in
different ways, which is noise in each log-probability; three digits of the perplexity agree.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "bench"), str(ROOT / "models/tiny")]
import peer  # noqa: E402
import stories  # noqa: E402

AGREE = 1e-3


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def tokenize(engine, text):
    vocab = peer.llama.llama_model_get_vocab(engine.model)
    data = text.encode()
    ids = (peer.llama.llama_token * (len(data) + 2))()
    n = peer.llama.llama_tokenize(vocab, data, len(data), ids, len(ids), True, False)
    assert n > 0, n
    return ids[:n]


def perplexity(engine, ids, window):
    context = peer.Context(engine.model, engine.threads, engine.kv, 1, window, 0)
    first, losses = window // 2, []
    for at in range(0, len(ids) - window + 1, window):
        part = [ids[0], *ids[at + 1:at + window]]
        logprobs = log_softmax(context.logits(part, first))
        losses += [-logprobs[i - 1 - first, part[i]] for i in range(first + 1, window)]
    return float(np.exp(np.mean(losses))), len(losses)


def compare(realm, engine, model, path, window):
    """What both say of a text, and whether they agree."""
    ids = tokenize(engine, path.read_text(encoding="utf-8"))
    want, counted = perplexity(engine, ids, window)
    got = json.loads(subprocess.run(
        [realm, "score", "-m", model, "--kv", engine.kv, "--file", path, "--window", str(window),
         "--json"], check=True, capture_output=True).stdout)
    good = abs(got["perplexity"] / want - 1) < AGREE and got["scored_tokens"] == counted
    return good, f"{got['perplexity']:.4f}, llama.cpp {want:.4f}, {counted} tokens"


def main():
    realm, model, text = sys.argv[1:]
    engine = peer.Peer(model, 2, "f16")
    failed = n = 0
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "stories")
        rng = random.Random(1)
        made.write_text("\n".join(stories.story(rng) for _ in range(60)), encoding="utf-8")
        for path in made, Path(text):
            for window in 128, 512:
                good, note = compare(realm, engine, model, path, window)
                failed += not good
                n += 1
                print("ok" if good else "not ok", n, "-", path.name, f"by windows of {window} #",
                      note, flush=True)
    print(f"1..{n}")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
