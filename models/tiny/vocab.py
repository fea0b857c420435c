"""The tiny model's tokenizer: byte-level BPE of 2048 tokens, digits one by one."""

import re

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import corpus
from model import VOCAB

SPECIAL = [corpus.BOS, corpus.START, corpus.END]
_SPECIAL_PATTERN = re.compile("|".join(re.escape(s) for s in SPECIAL))
_SAMPLE = 60_000


def _texts(seed):
    source = corpus.documents(seed)
    for _ in range(_SAMPLE):
        yield from _SPECIAL_PATTERN.split(corpus.render(next(source)))


def train(seed):
    """Learn the merges from a sample of the corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(_texts(seed), trainer)
    if tokenizer.get_vocab_size() != VOCAB:
        raise SystemExit(f"the corpus yields only {tokenizer.get_vocab_size()} tokens")
    return tokenizer


def load(path):
    """Read a tokenizer that `train` made."""
    return Tokenizer.from_file(str(path))
