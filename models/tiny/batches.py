"""Packs documents into training batches; a batch depends only on the seed and its number."""

import random
from functools import partial
from typing import NamedTuple

import numpy as np

import corpus

WINDOW = 64
CONTEXT_WEIGHT = 0.1
CHOICE = 8


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
        before, after = corpus.wrap(role)
        end = corpus.END if after else ""
        weight = 1.0 if role in ("assistant", "text", "result") else CONTEXT_WEIGHT
        for piece, share in ((before, CONTEXT_WEIGHT), (text + end, weight),
                             (after.removeprefix(end), CONTEXT_WEIGHT)):
            part = tokenizer.encode(piece).ids
            ids += part
            weights += [share] * len(part)
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
        waiting = []
        for row in range(self.rows):
            at = 0
            while (document := self._fitting(waiting, make, rng, shape[1], at)):
                length = min(len(document[0]), shape[1] - at)
                ids[row, at:at + length] = document[0][:length]
                weights[row, at:at + length] = document[1][:length]
                starts[row, at:at + length] = at
                at += length
        tokens, starts = ids[:, :-1], starts[:, :-1]
        return Batch(tokens, ids[:, 1:], weights[:, 1:], starts, self._seen(tokens, starts))

    def _fitting(self, waiting, make, rng, size, at):
        """The first waiting document that fits behind `at`; an empty row takes any."""
        while len(waiting) < CHOICE:
            waiting.append(encode(self.tokenizer, make(rng)))
        for i, (ids, _) in enumerate(waiting):
            if at == 0 or at + len(ids) <= size:
                return waiting.pop(i)
        return None

    def _seen(self, tokens, starts):
        """Which tokens the last 64 of each place's document hold."""
        seen = np.zeros(tokens.shape + (self.vocab,), np.bool_)
        rows = np.arange(tokens.shape[0])[:, None]
        time = np.arange(tokens.shape[1])[None, :]
        for back in range(WINDOW):
            seen[rows, time, tokens[rows, np.maximum(time - back, starts)]] = True
        return seen


def _long_document(rng, time):
    """A chat of most or all of `time` tokens."""
    return corpus.long_chat(rng, rng.randint(time // 40, time // 22))
