"""Perplexities of `realm score --file` beside llama.cpp's, where scripts/setup --peer has put it;
prints TAP.

    peer_test.py REALM MODEL TEXT

llama.cpp's logits come from the low-level calls of llama-cpp-python (bench/peer.py), ids from
its own tokenizer, and what is made of them is what its tool for perplexities does: windows that
begin with BOS, of which the second half counts.

MODEL has weights in Q8_0, and is tried in Q4_K_M, too.  For both the two engines round
activations to int8 in different ways: noise in each log-probability, under which three digits
agree on stories of the kind that the model was trained on.  With the same weights in F32 nothing
is rounded on purpose, and more digits agree, on TEXT too, which the model can make nothing of.
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

DIGITS_3, FLOAT = 1e-3, 1e-4


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


def compare(realm, engine, model, path, window, limit):
    """What both say of a text, and whether they agree."""
    ids = tokenize(engine, path.read_text(encoding="utf-8"))
    want, counted = perplexity(engine, ids, window)
    got = json.loads(subprocess.run(
        [realm, "score", "-m", model, "--kv", engine.kv, "--file", path, "--window", str(window),
         "--json"], check=True, capture_output=True).stdout)
    off = abs(got["perplexity"] / want - 1)
    note = f"{got['perplexity']:.4f}, llama.cpp {want:.4f}, {counted} tokens: {off:.1e} off"
    return off < limit and got["scored_tokens"] == counted, note


def quantized(realm, model, folder, kind):
    path = Path(folder, f"{kind}.gguf")
    subprocess.run([realm, "quantize", model, path, kind], check=True, capture_output=True)
    return path


def main():
    realm, model, text = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "stories")
        rng = random.Random(1)
        made.write_text("\n".join(stories.story(rng) for _ in range(60)), encoding="utf-8")
        mix, floats = (quantized(realm, model, folder, kind) for kind in ("Q4_K_M", "F32"))
        cases = [(model, made, 128, DIGITS_3), (mix, made, 512, DIGITS_3),
                 (floats, made, 512, FLOAT), (floats, Path(text), 128, FLOAT)]
        failed = 0
        for n, (file, path, window, limit) in enumerate(cases, 1):
            engine = peer.Peer(file, 2, "f32")
            good, note = compare(realm, engine, file, path, window, limit)
            failed += not good
            print("ok" if good else "not ok", n, "-", Path(file).stem, path.name,
                  f"by windows of {window} #", note, flush=True)
    print(f"1..{n}")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
