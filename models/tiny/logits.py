"""Writes jax's logits of an F32 file for a few prompts, to hold `realm score` against."""

import argparse
import json
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


def reference(weights, tokenizer, text):
    """One text's ids, each token's log-probability after the first, and all its logits."""
    ids = tokenizer.encode(text).ids
    logits = engines.all_logits(weights, ids).astype(np.float64)
    top = logits.max(-1, keepdims=True)
    chance = logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))
    logprobs = chance[np.arange(len(ids) - 1), ids[1:]]
    return {"text": text, "ids": ids, "logprobs": logprobs.tolist(), "logits": logits.tolist()}


def main():
    """Write the references of one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    weights, tokenizer = engines.read_gguf(args.model)
    args.out.write_text(json.dumps([reference(weights, tokenizer, t) for t in TEXTS]))


if __name__ == "__main__":
    main()
