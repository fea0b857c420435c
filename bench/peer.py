#!/usr/bin/env python3
"""llama.cpp, for `realm bench --compare` and for tests: run by a Python that has llama-cpp-python.

usage: peer.py MODEL THREADS KV

Says "ready" and what it is, then answers each line of standard input with one of its own:

    prefill TOKENS DEPTH        -> "rate R": tokens per second of so many after DEPTH others
    decode STEPS BATCH DEPTH    -> "rate R": of BATCH sequences together, each DEPTH tokens long

or "failed" and why.  What is timed is llama_decode with batches that are filled before, and
llama_synchronize: nothing of Python's but one call a step.  No token is drawn in its steps.
"""
import os
import sys
import time

import llama_cpp as llama
import numpy as np
from llama_cpp import __version__

KV_TYPES = {"f32": 0, "f16": 1, "bf16": 30, "q8_0": 8}  # ggml's numbers
UBATCH = 512
SPARE = 64  # tokens of a sequence beyond those that are asked for


@llama.llama_log_callback
def no_log(_level, _text, _data):
    """Loading says a hundred lines."""


class Context:
    """Sequences of one length, each with the first `depth` of its tokens in the cache."""

    def __init__(self, model, threads, kv, sequences, tokens, depth):
        params = llama.llama_context_default_params()
        params.n_ctx = sequences * -(-tokens // 256) * 256
        params.n_batch = params.n_ubatch = UBATCH
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = KV_TYPES[kv]
        params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.no_perf = True
        self.context = llama.llama_init_from_model(model, params)
        if not self.context:
            raise RuntimeError(f"no context of {params.n_ctx} tokens")
        self.memory = llama.llama_get_memory(self.context)
        self.batch = llama.llama_batch_init(max(UBATCH, sequences), 0, 1)
        self.vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
        self.sequences, self.depth = sequences, depth
        for sequence in range(sequences):
            self.prompt(sequence, 0, depth)

    def fill(self, rows):
        """rows: (token, position, sequence, whether its logits are wanted)."""
        self.batch.n_tokens = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            self.batch.token[i] = token
            self.batch.pos[i] = position
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = sequence
            self.batch.logits[i] = wanted

    def decode(self):
        status = llama.llama_decode(self.context, self.batch)
        if status:
            raise RuntimeError(f"llama_decode answers {status}")
        llama.llama_synchronize(self.context)

    def timed(self):
        start = time.perf_counter()
        self.decode()
        return time.perf_counter() - start

    def token(self, sequence, position):
        """Any but the first few, which are control tokens."""
        return 3 + (sequence * 7919 + position * 104729) % (self.vocab - 3)

    def prompt(self, sequence, begin, end):
        """Seconds that these tokens take; the last one's logits are computed."""
        seconds = 0
        for at in range(begin, end, UBATCH):
            upto = min(at + UBATCH, end)
            self.fill([(self.token(sequence, i), i, sequence, i == end - 1)
                       for i in range(at, upto)])
            seconds += self.timed()
        return seconds

    def step(self, position):
        self.fill([(self.token(s, position), position, s, True) for s in range(self.sequences)])
        return self.timed()

    def forget(self):
        """All but the first `depth` tokens."""
        for sequence in range(self.sequences):
            llama.llama_memory_seq_rm(self.memory, sequence, self.depth, -1)

    def logits(self, ids, first):
        """(tokens from first on, vocabulary); they and those before are in one batch."""
        self.fill([(token, i, 0, i >= first) for i, token in enumerate(ids)])
        self.decode()
        rows = [llama.llama_get_logits_ith(self.context, i) for i in range(first, len(ids))]
        values = [np.ctypeslib.as_array(row, (self.vocab,)).astype(np.float64) for row in rows]
        self.forget()
        return np.array(values)


class Peer:
    def __init__(self, path, threads, kv):
        llama.llama_log_set(no_log, None)
        llama.llama_backend_init()
        params = llama.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = llama.llama_model_load_from_file(os.fsencode(path), params)
        if not self.model:
            raise RuntimeError(f"{path} cannot be loaded")
        self.threads, self.kv, self.contexts = threads, kv, {}

    def about(self):
        system = llama.llama_print_system_info().decode().strip()
        return f"llama-cpp-python {__version__} ({system})"

    def context(self, sequences, tokens, depth):
        key = sequences, tokens, depth
        if key not in self.contexts:
            self.contexts[key] = Context(self.model, self.threads, self.kv, sequences,
                                         depth + tokens + SPARE, depth)
        return self.contexts[key]

    def prefill(self, tokens, depth):
        context = self.context(1, tokens, depth)
        seconds = context.prompt(0, depth, depth + tokens)
        context.forget()
        return tokens / seconds

    def decode(self, steps, batch, depth):
        context = self.context(batch, steps, depth)
        context.step(depth)
        seconds = sum(context.step(depth + 1 + i) for i in range(steps))
        context.forget()
        return steps * batch / seconds


def answer(peer, line):
    name, *numbers = line.split()
    try:
        return f"rate {getattr(peer, name)(*map(int, numbers)):.6f}"
    except RuntimeError as error:
        return f"failed {error}"


def main():
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    path, threads, kv = sys.argv[1:]
    try:
        peer = Peer(path, int(threads), kv)
        print("ready", peer.about(), file=answers, flush=True)
    except RuntimeError as error:
        print("failed", error, file=answers, flush=True)
        return 1
    for line in sys.stdin:
        print(answer(peer, line), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
