"""Two ways to get answers from a GGUF file: `realm run`, and jax over its weights."""

import subprocess

import gguf
import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

import corpus
import model

TOP_K, TOP_P, PENALTY, WINDOW = 40, 0.9, 1.1, 64


class RealmEngine:
    """Runs the program once for each answer, with its own defaults."""

    def __init__(self, program, path):
        self.program, self.path = str(program), str(path)

    def answers(self, prompts, temperature=0.0, seeds=None, limit=40):
        """The answer to each prompt; one seed for each."""
        seeds = seeds or [0] * len(prompts)
        return [self._answer(p, temperature, s, limit) for p, s in zip(prompts, seeds)]

    def _answer(self, prompt, temperature, seed, limit):
        command = [self.program, "run", prompt, "-m", self.path, "--temperature", str(temperature),
                   "--seed", str(seed), "-n", str(limit)]
        done = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL)
        return done.stdout.decode("utf-8", "replace").strip()


def read_gguf(path):
    """The file's weights as float32 under their bare names, and its tokenizer."""
    reader = gguf.GGUFReader(str(path))
    weights = {}
    for tensor in reader.tensors:
        flat = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        shape = [int(n) for n in reversed(tensor.shape)]
        weights[tensor.name.removesuffix(".weight")] = np.asarray(flat, np.float32).reshape(shape)
    return weights, _read_tokenizer(reader)


def _read_tokenizer(reader):
    def field(name):
        return reader.fields[f"tokenizer.ggml.{name}"].contents()

    vocab = {token: i for i, token in enumerate(field("tokens"))}
    merges = [tuple(merge.split(" ")) for merge in field("merges")]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    control = [t for t, kind in zip(vocab, field("token_type")) if kind == gguf.TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in control])
    return tokenizer


def pick(logits, context, temperature, rng):
    """The sampler's chain: penalty over the last 64 tokens, top-k, top-p, temperature, draw."""
    logits = logits.astype(np.float64)
    seen = np.unique(context[-WINDOW:])
    logits[seen] = np.where(logits[seen] > 0, logits[seen] / PENALTY, logits[seen] * PENALTY)
    if temperature == 0:
        return int(logits.argmax())
    best = np.argsort(-logits, kind="stable")[:TOP_K]
    chance = np.exp(logits[best] - logits[best[0]])
    chance /= chance.sum()
    best = best[:int(np.searchsorted(np.cumsum(chance), TOP_P)) + 1]
    heat = np.exp((logits[best] - logits[best[0]]) / temperature)
    return int(rng.choice(best, p=heat / heat.sum()))


@jax.jit
def _last_logits(weights, tokens, lengths):
    """Logits after the last token of each padded row."""
    logits = model.forward(weights, tokens, jnp.zeros_like(tokens))
    return jnp.take_along_axis(logits, (lengths - 1)[:, None, None], 1)[:, 0]


class JaxEngine:
    """Answers in batches with the dequantised weights and the program's sampler chain."""

    ROWS = 64

    def __init__(self, path):
        self.weights, self.tokenizer = read_gguf(path)
        self.end = self.tokenizer.token_to_id(corpus.END)

    def encode(self, text):
        """Token ids of a text, special tokens parsed."""
        return self.tokenizer.encode(text).ids

    def answers(self, prompts, temperature=0.0, seeds=None, limit=40):
        """The answer to each prompt; one seed for each."""
        texts = [corpus.prompt(p) for p in prompts]
        return self.completions(texts, temperature, seeds, limit)

    def completions(self, texts, temperature=0.0, seeds=None, limit=40):
        """What follows each bare text, up to the end token."""
        seeds = seeds or [0] * len(texts)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        results = [""] * len(texts)
        for at in range(0, len(order), self.ROWS):
            part = order[at:at + self.ROWS]
            rows = [self.encode(texts[i]) for i in part]
            done = self._run(rows, temperature, [seeds[i] for i in part], limit)
            for i, ids in zip(part, done):
                results[i] = self.tokenizer.decode(ids).strip()
        return results

    def _run(self, rows, temperature, seeds, limit):
        """Extend rows of ids until each has ended; return what was added."""
        starts = [len(row) for row in rows]
        draws = [np.random.default_rng(seed) for seed in seeds]
        live = set(range(len(rows)))
        for _ in range(limit):
            logits = self._logits(rows)
            for i in sorted(live):
                token = pick(logits[i], np.array(rows[i]), temperature, draws[i])
                if token == self.end:
                    live.discard(i)
                else:
                    rows[i].append(token)
            if not live:
                break
        return [row[start:] for row, start in zip(rows, starts)]

    def _logits(self, rows):
        width = -(-max(map(len, rows)) // 16) * 16
        tokens = np.zeros((self.ROWS, width), np.int32)
        lengths = np.ones(self.ROWS, np.int32)
        for i, row in enumerate(rows):
            tokens[i, :len(row)] = row
            lengths[i] = len(row)
        return np.asarray(_last_logits(self.weights, tokens, lengths))


def all_logits(weights, ids):
    """Logits after every token of one text."""
    tokens = jnp.asarray([ids], jnp.int32)
    return np.asarray(model.forward(weights, tokens, jnp.zeros_like(tokens)))[0]


def log_softmax(logits):
    """Log-probabilities of each row."""
    top = logits.max(-1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))
