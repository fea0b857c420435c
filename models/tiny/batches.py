"""Packs documents into training batches; a batch depends only on the seed and its number."""

import random
from functools import partial
from typing import NamedTuple

import numpy as np

import corpus

WINDOW = 64
CONTEXT_WEIGHT = 0.1


class Batch(NamedTuple):
    """Arrays of [rows, time]; `seen` is [rows, time, vocabulary]."""

    tokens: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    starts: np.ndarray
    seen: np.ndarray


def encode(tokenizer, turns):
    """Token ids of a document and each one's weight as a target: 1 in answers, less elsewhere."""
    ids, weights = [tokenizer.token_to_id(corpus.BOS)], [0.0]
    for role, text in turns:
        head, tail, weight = f"{corpus.START}{role}\n", corpus.END + "\n", CONTEXT_WEIGHT
        if role == "text":
            head, tail = "", corpus.END
        if role in ("assistant", "text"):
            weight = 1.0
        lead = tokenizer.encode(head).ids if head else []
        body = tokenizer.encode(text + corpus.END).ids
        rest = tokenizer.encode(tail).ids[1:]
        ids += lead + body + rest
        weights += [CONTEXT_WEIGHT] * len(lead) + [weight] * len(body)
        weights += [CONTEXT_WEIGHT] * len(rest)
    return ids, weights


class Packer:
    """Fills rows of a batch with whole documents."""

    def __init__(self, tokenizer, rows, time):
        self.tokenizer, self.rows, self.time = tokenizer, rows, time
        self.pad = tokenizer.token_to_id(corpus.BOS)
        self.vocab = tokenizer.get_vocab_size()

    def batch(self, seed):
        """The batch that belongs to this seed."""
        rng = random.Random(seed)
        make = corpus.document if self.time < 512 else partial(_long_document, time=self.time)
        shape = (self.rows, self.time + 1)
        ids = np.full(shape, self.pad, np.int32)
        weights = np.zeros(shape, np.float32)
        starts = np.tile(np.arange(shape[1], dtype=np.int32), (self.rows, 1))
        waiting = encode(self.tokenizer, make(rng))
        for row in range(self.rows):
            at = 0
            while at == 0 or at + len(waiting[0]) <= shape[1]:
                length = min(len(waiting[0]), shape[1] - at)
                ids[row, at:at + length] = waiting[0][:length]
                weights[row, at:at + length] = waiting[1][:length]
                starts[row, at:at + length] = at
                at += length
                waiting = encode(self.tokenizer, make(rng))
        tokens, starts = ids[:, :-1], starts[:, :-1]
        return Batch(tokens, ids[:, 1:], weights[:, 1:], starts, self._seen(tokens, starts))

    def _seen(self, tokens, starts):
        """Which tokens the last 64 of each place's document hold."""
        seen = np.zeros(tokens.shape + (self.vocab,), np.bool_)
        rows = np.arange(tokens.shape[0])[:, None]
        time = np.arange(tokens.shape[1])[None, :]
        for back in range(WINDOW):
            seen[rows, time, tokens[rows, np.maximum(time - back, starts)]] = True
        return seen


def _long_document(rng, time):
    """A chat of about 300 to all of `time` tokens."""
    return corpus.long_chat(rng, rng.randint(time // 100, time // 22))
