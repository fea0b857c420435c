"""Writes jax's logits of an F32 file for a few texts, and holds `realm score` against them."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

import corpus
import engines

TEXTS = [
    corpus.BOS + "The capital of France is Paris.",
    corpus.BOS + "Once upon a time there was a fox",
    corpus.prompt("What is the capital of France?"),
    corpus.prompt("What is 3 + 4?", "You are a helpful assistant."),
    corpus.prompt("Tell me a story about a dragon and a silver key.")
    + "Once upon a time there was a brave dragon named Tom, who lived by a blue lake.",
]
TOLERANCE = 1e-3


def reference(weights, tokenizer, text):
    """One text's ids, each token's log-probability after the first, and all its logits."""
    ids = tokenizer.encode(text).ids
    logits = engines.all_logits(weights, ids).astype(np.float64)
    logprobs = engines.log_softmax(logits)[np.arange(len(ids) - 1), ids[1:]]
    return {"text": text, "ids": ids, "logprobs": logprobs.tolist(), "logits": logits.tolist()}


def difference(program, model, wanted):
    """The greatest difference of `realm score`, over the text's tokens and 1024 next ones."""
    ids = ",".join(map(str, wanted["ids"]))
    command = [program, "score", "--ids", ids, "--json", "--top", "1024", "-m", str(model)]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    logprobs = np.array([token["logprob"] for token in found["tokens"][1:]])
    after = engines.log_softmax(np.array(wanted["logits"][-1:]))[0]
    return max(np.abs(logprobs - wanted["logprobs"]).max(),
               max(abs(after[token] - logprob) for token, logprob in found["next"]))


def main():
    """Write the references of one file, and compare if a program is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--realm", help="the program to compare")
    args = parser.parse_args()
    weights, tokenizer = engines.read_gguf(args.model)
    wanted = [reference(weights, tokenizer, text) for text in TEXTS]
    args.out.write_text(json.dumps(wanted))
    if args.realm:
        worst = max(difference(args.realm, args.model, w) for w in wanted)
        print(f"greatest difference of {len(wanted)} texts: {worst:.2e}")
        if worst > TOLERANCE:
            sys.exit("jax and realm score disagree")


if __name__ == "__main__":
    main()
