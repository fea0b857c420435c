"""Perplexities of `realm score --file` beside llama.cpp's, where scripts/setup --peer has put it;
prints TAP.

    peer_test.py REALM MODEL TEXT

llama.cpp's logits come from the low-level calls of llama-cpp-python (bench/peer.py), ids from
its own tokenizer, and what is made of them is what its tool for perplexities does: windows that
begin with BOS, of which the second half counts.

The stories and types are score_cases.py's, and what llama.cpp says of them must still be what is
written there.  TEXT is something that the model can make nothing of.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from score_cases import CASES, STORIES, quantized, score

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "bench")]
import peer  # noqa: E402


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


def compare(realm, path, text, window, limit):
    """What both say of a text, whether they agree, and what llama.cpp says."""
    engine = peer.Peer(path, 2, "f32")
    ids = tokenize(engine, text.read_text(encoding="utf-8"))
    want, counted = perplexity(engine, ids, window)
    got = score(realm, path, text, window)
    off = abs(got["perplexity"] / want - 1)
    note = f"{got['perplexity']:.5f}, llama.cpp {want:.5f}, {counted} tokens: {off:.1e} off"
    return off < limit and got["scored_tokens"] == counted, note, want


def main():
    realm, model, text = sys.argv[1:]
    failed = n = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind, window, said, limit in [*CASES, ("F32", 128, None, 1e-4)]:
            file = STORIES if said else Path(text)
            path = quantized(realm, model, folder, kind)
            good, note, now = compare(realm, path, file, window, limit)
            good = good and (said is None or abs(now / said - 1) < limit)
            failed, n = failed + (not good), n + 1
            print("ok" if good else "not ok", n, "-", kind, file.name, f"by windows of {window} #",
                  note, f"once {said}", flush=True)
    print(f"1..{n}")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
