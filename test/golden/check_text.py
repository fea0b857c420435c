#!/usr/bin/env python3
"""Compares the tokenisers with the packages `tokenizers` and `sentencepiece`; prints TAP.

    check_text.py ENCODE_FILE DATA_DIR [PATTERN | bench]

Tokenisers are trained here, one of each kind; where DATA_DIR has published vocabularies
those are compared as well.  Every random text must give the same ids, and the ids the
same text.  Skipped where the packages are absent.
"""

import fnmatch
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / "build-venv" / "bin" / "python"
TEXTS = 3000
TEXTS_WITH_ADDED = 600

try:
    import sentencepiece
    import tokenizers
except ImportError:
    if VENV.exists() and Path(sys.prefix) != VENV.parent.parent:
        os.execv(VENV, [str(VENV), *sys.argv])
    print("1..0 # SKIP tokenizers and sentencepiece are not installed (scripts/setup)")
    sys.exit(0)

import text_made
from mkgguf import BOOL, STRING, value
from text_rules import NFC, PLAIN, RULES, SPELLED, WHOLE_WORDS
from text_samples import known, random_texts, training_texts
from tokenizers import Tokenizer, models


class Gguf:
    """The keys of a GGUF file."""

    FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
               12: "d"}

    def __init__(self, data):
        self.data, self.at, self.keys = data, 8, {}
        _, count = self.number("Q"), self.number("Q")
        for _ in range(count):
            key = self.string().decode()
            self.keys[key] = self.value(self.number("I"))

    def number(self, fmt):
        value, = struct.unpack_from("<" + fmt, self.data, self.at)
        self.at += struct.calcsize("<" + fmt)
        return value

    def string(self):
        n = self.number("Q")
        self.at += n
        return self.data[self.at - n:self.at]

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            item, n = self.number("I"), self.number("Q")
            return [self.value(item) for _ in range(n)]
        return self.number(self.FORMATS[kind])


class Tap:
    def __init__(self, program, only):
        self.program, self.only = program, only
        self.n = self.failed = 0

    def encode(self, path, texts, options):
        data = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
        out = subprocess.run([self.program, path, *options], input=data, stdout=subprocess.PIPE,
                             check=True).stdout
        for line in out.decode().split("\n")[:-1]:
            ids, text = line.split("|")
            yield [int(x) for x in ids.split()], bytes.fromhex(text).decode()

    def compare(self, name, file, words, encode, decode, unknown=None, options=(),
                count=TEXTS):
        """encode gives the ids of many texts, decode (if any) the text of ids; packages show a
        sign for an unknown token, and Realm nothing."""
        if not fnmatch.fnmatch(name, self.only):
            return
        texts = list(random_texts(name, words, count))
        with tempfile.NamedTemporaryFile(suffix=".gguf") as copy:
            copy.write(file)
            copy.flush()
            got = list(self.encode(copy.name, texts, options))
        wrong = abs(len(got) - len(texts))
        for text, (ids, back), want in zip(texts, got, encode(texts)):
            good = ids == want and (
                not decode or unknown in ids or back == decode(ids, text))
            wrong += not good
            if not good and wrong <= 5:
                print(f"# {text!r}\n#   got  {ids}\n#   want {want}\n#   text {back!r}")
        self.n += 1
        self.failed += wrong > 0
        ids = sum(len(ids) for ids, _ in got)
        print(f"{'not ok' if wrong else 'ok'} {self.n} - {name} # {len(texts)} texts, {ids} ids, "
              f"{wrong} texts differ", flush=True)


def batches(tokenizer):
    def encode(texts):
        for i in range(0, len(texts), 500):
            for e in tokenizer.encode_batch(texts[i:i + 500], add_special_tokens=False):
                yield e.ids
    return encode


def of_pieces(tokenizer):
    return lambda ids, text: tokenizer.decode(ids, skip_special_tokens=False)


def composed(ids, text):
    return NFC.normalize_str(text)


def plain_words(keys):
    kinds = keys["tokenizer.ggml.token_type"]
    words = [t.decode() for t, kind in zip(keys["tokenizer.ggml.tokens"], kinds)
             if kind == 1 and t.isascii()]
    return words


def bpe(vocabulary, merges, pre, unknown=None):
    normalizer, pre_tokenizer = RULES[pre]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token=unknown,
                                     ignore_merges=pre in WHOLE_WORDS))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    return tokenizer


def published_bpe(tap, path, pre):
    """The vocabulary of a file, cut into words as the pre-tokeniser `pre` does."""
    data = path.read_bytes()
    keys = Gguf(data).keys

    def entry(value):
        key = b"tokenizer.ggml.pre"
        return struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(value)) + value

    changed = data.replace(entry(keys["tokenizer.ggml.pre"]), entry(pre.encode()))
    vocabulary = {t.decode(): i for i, t in enumerate(keys["tokenizer.ggml.tokens"])}
    merges = [tuple(m.decode().split(" ")) for m in keys["tokenizer.ggml.merges"]]
    unknown = keys.get("tokenizer.ggml.unknown_token_id")
    spelled = None if unknown is None else keys["tokenizer.ggml.tokens"][unknown].decode()
    tokenizer = bpe(vocabulary, merges, pre, spelled)
    decode = of_pieces(tokenizer)
    if RULES[pre][0] is NFC:
        decode = composed
    tap.compare(f"{path.stem} as {pre}", changed, plain_words(keys), batches(tokenizer), decode,
                unknown)


def published_spm(tap, path):
    data = path.read_bytes()
    keys = Gguf(data).keys
    reference = sentencepiece.SentencePieceProcessor(
        model_proto=text_made.sentencepiece_model(keys))
    tap.compare(path.stem, data, plain_words(keys), reference.encode,
                lambda ids, text: reference.decode(ids))


def published(tap, folder):
    if not folder.is_dir():
        print("# no published vocabularies: set REALM_TEST_DATA")
        return
    published_spm(tap, folder / "ggml-vocab-llama-spm.gguf")
    for name, pre in (("gpt-2", "gpt-2"), ("starcoder", "starcoder"), ("starcoder", "qwen2"),
                      ("gpt-2", "llama-bpe"), ("gpt-2", "gpt-4o"), ("gpt-2", "deepseek-v3")):
        published_bpe(tap, folder / f"ggml-vocab-{name}.gguf", pre)


def trained_bpe(tap):
    """One vocabulary whose tokens reach over whatever a pre-tokeniser cuts at, so that a cut
    in another place shows."""
    numbers = 200 * [" ".join(SPELLED["superbpe"])]
    vocabulary, merges = text_made.train_bpe(list(training_texts("bpe")) + numbers)
    words = [w for w in vocabulary if w.isascii() and len(w) > 2]
    for pre in RULES:
        tokenizer = bpe(vocabulary, merges, pre)
        decode = of_pieces(tokenizer)
        if RULES[pre][0] is NFC:
            decode = composed
        tap.compare(f"trained BPE as {pre}", text_made.bpe_file(vocabulary, merges, pre),
                    words + 40 * SPELLED.get(pre, []), batches(tokenizer), decode)


def plain_bpe(vocabulary, merges, rules, byte_tokens):
    normalizer, pre_tokenizer = rules
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>",
                                     byte_fallback=byte_tokens, fuse_unk=byte_tokens))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.decoder = tokenizers.decoders.Sequence([
        tokenizers.decoders.Replace("\u2581", " "), tokenizers.decoders.ByteFallback(),
        tokenizers.decoders.Fuse()])
    return tokenizer


def trained_plain(tap):
    """Of Gemma's kind one whose tokens keep to a line, which is how they are, and one whose
    tokens do not; and one as another converter writes it."""
    texts = list(training_texts("plain"))
    for lines, converted in ((True, False), (False, False), (True, True)):
        vocabulary, merges = text_made.train_plain(texts, PLAIN["gemma4"], True, lines)
        tokenizer = plain_bpe(vocabulary, merges, PLAIN["gemma4"], True)
        words = [w for w in vocabulary if w.isascii() and len(w) > 2 and w[0] != "<"]
        pre = [value("tokenizer.ggml.pre", STRING, "sarvam-moe")] * converted
        file = text_made.plain_file(vocabulary, merges, "gpt2" if converted else "gemma4", *pre,
                                    converted=converted)
        tap.compare(f"trained BPE as {'sarvam-moe' if converted else 'gemma4'}, "
                    f"lines alone {lines}", file, words + ["\n" * 40, " " * 40],
                    batches(tokenizer), of_pieces(tokenizer))
    vocabulary, merges = text_made.train_plain(texts, PLAIN["whitespace"], False, False)
    words = [w for w in vocabulary if w.isascii() and len(w) > 2 and w[0] != "<"]
    for model, lowers in (("whitespace", True), ("gpt2", False)):
        rules = PLAIN["whitespace"] if lowers else (None, PLAIN["whitespace"][1])
        tokenizer = plain_bpe(vocabulary, merges, rules, False)
        file = text_made.plain_file(vocabulary, merges, model,
                                    value("tokenizer.ggml.pre", STRING, "whitespace"),
                                    value("tokenizer.ggml.normalizer.lowercase", BOOL, lowers))
        tap.compare(f"trained BPE as whitespace, lowercase {lowers}", file,
                    words + [w.upper() for w in words], batches(tokenizer), None)


def trained_wordpiece(tap):
    for lowers, strips in ((True, None), (False, None), (True, False), (False, True)):
        tokenizer = text_made.train_wordpiece(list(training_texts("wordpiece")), lowers, strips)
        words = [w for w in tokenizer.get_vocab() if w.isascii() and w[0] != "["]
        unknown = tokenizer.token_to_id("[UNK]")
        tap.compare(f"trained WordPiece, lowercase {lowers}, strip accents {strips}",
                    text_made.wordpiece_file(tokenizer, lowers, strips), words, batches(tokenizer),
                    of_pieces(tokenizer), unknown)


def trained_unigram(tap):
    texts = list(training_texts("unigram"))
    for options in text_made.UNIGRAMS:
        model = text_made.train_sentencepiece(texts, **options)
        reference = sentencepiece.SentencePieceProcessor(model_proto=model)
        name = ", ".join(f"{k} {v}" for k, v in options.items())
        words = [w for w in text_made.pieces(reference) if w.isascii()]
        tap.compare(f"trained by sentencepiece: {name}",
                    text_made.sentencepiece_file(model, options), words, reference.encode,
                    lambda ids, text, r=reference: r.decode(ids), reference.unk_id())
    tokenizer, file = text_made.train_unigram(texts)
    words = [w for w in tokenizer.get_vocab() if w.isascii() and w != "<unk>"]
    tap.compare("trained Unigram", file, words, batches(tokenizer), of_pieces(tokenizer), 0)


def shown(tokenizer):
    """Control tokens stand for no text."""
    return lambda ids, text: tokenizer.decode(ids, skip_special_tokens=True)


def with_added(tap, name, added, make, file, words, decodes=True):
    """Texts with special tokens in them: once spelled by the caller, once by anyone, for whom
    control tokens are text like any other.  make(tokens) is the reference that has those."""
    users, texts = sum(not t.special for t in added), [t.content for t in added]
    broken = [t[:-1] for t in texts if len(t) > 2] + [t[1:] for t in texts if len(t) > 2]
    words = 6 * texts + broken + random.Random(name).sample(words, 40)
    for allowed in (True, False):
        tokenizer = make(None if allowed else users)
        tap.compare(f"{name}, special tokens {'allowed' if allowed else 'not allowed'}", file,
                    words, batches(tokenizer), shown(tokenizer) if decodes else None,
                    options=["--special"] if allowed else [], count=TEXTS_WITH_ADDED)


def added_to_bpe(tap):
    """A GGUF file says of no token that it takes the white space beside it; Phi-3's do, by the
    model's name."""
    vocabulary, merges = text_made.train_bpe(list(training_texts("bpe")))
    words = [w for w in vocabulary if w.isascii() and len(w) > 2]
    for pre, model in (("gpt-2", "made"), ("gpt-2", "Phi-3 made"), ("qwen2", "made"),
                       ("llama-bpe", "made"), ("deepseek-v3", "made")):
        added = text_made.added_tokens(rstrip=model != "made")

        def make(n, pre=pre, added=added):
            tokenizer = bpe(vocabulary, merges, pre)
            tokenizer.add_tokens(added[:n])
            return tokenizer
        with_added(tap, f"{model}: BPE as {pre}", added, make,
                   text_made.bpe_file(vocabulary, merges, pre, added, model), words)


def added_to_plain(tap):
    """Spaces are no added token here: the file cannot say whether U+2581 was meant."""
    vocabulary, merges = text_made.train_plain(list(training_texts("plain")), PLAIN["gemma4"],
                                               True, True)
    words = [w for w in vocabulary if w.isascii() and len(w) > 2 and w[0] != "<"]
    added = [t for t in text_made.added_tokens() if t.content.strip(" ")]

    def make(n):
        tokenizer = plain_bpe(vocabulary, merges, PLAIN["gemma4"], True)
        tokenizer.add_tokens(added[:n])
        return tokenizer
    with_added(tap, "BPE as gemma4", added, make,
               text_made.plain_file(vocabulary, merges, "gemma4", added=added), words)


def added_to_wordpiece(tap):
    """Ids alone: the package's text has other spaces about added tokens."""
    trained = text_made.train_wordpiece(list(training_texts("wordpiece")), True, None)
    words = [w for w in trained.get_vocab() if w.isascii() and w[0] != "["]
    added = text_made.added_tokens()

    def make(n):
        tokenizer = Tokenizer.from_str(trained.to_str())
        tokenizer.add_tokens(added[:n])
        return tokenizer
    with_added(tap, "WordPiece", added, make,
               text_made.wordpiece_file(make(None), True, None, added), words, decodes=False)


def bench(program, folder):
    """MB/s of both over the same text, one thread each, in turns."""
    path = folder / "ggml-vocab-gpt-2.gguf"
    keys = Gguf(path.read_bytes()).keys
    vocabulary = {t.decode(): i for i, t in enumerate(keys["tokenizer.ggml.tokens"])}
    merges = [tuple(m.decode().split(" ")) for m in keys["tokenizer.ggml.merges"]]
    text = text_made.bench_text(random.Random(1), 4 << 20)
    size = len(text.encode())
    pieces = [text[i:i + (64 << 10)] for i in range(0, len(text), 64 << 10)]
    for pre in ("gpt-2", "llama-bpe", "qwen2", "gpt-4o", "deepseek-v3"):
        tokenizer = bpe(vocabulary, merges, pre)
        with tempfile.NamedTemporaryFile(suffix=".gguf") as copy:
            copy.write(text_made.bpe_file(vocabulary, merges, pre))
            copy.flush()
            out = subprocess.run([program, copy.name, "--time"], input="".join(pieces).encode(),
                                 stdout=subprocess.PIPE, check=True).stdout
        best = 0
        for _ in range(3):
            start = time.process_time()
            for piece in pieces:
                tokenizer.encode(piece, add_special_tokens=False)
            best = max(best, size / 1e6 / (time.process_time() - start))
        print(f"{pre}: {float(out):.1f} MB/s, tokenizers {best:.1f} MB/s")


def main():
    program = sys.argv[1]
    folder = Path(os.environ.get("REALM_TEST_DATA", sys.argv[2])) / "vocab"
    only = sys.argv[3] if len(sys.argv) > 3 else "*"
    if only == "bench":
        os.environ["RAYON_NUM_THREADS"] = "1"
        bench(program, folder)
        return
    print(f"# left out: {known()[1]} characters that the libraries' versions of Unicode differ in")
    tap = Tap(program, only)
    published(tap, folder)
    trained_bpe(tap)
    trained_plain(tap)
    trained_wordpiece(tap)
    trained_unigram(tap)
    added_to_bpe(tap)
    added_to_plain(tap)
    added_to_wordpiece(tap)
    print(f"1..{tap.n}")
    sys.exit(tap.failed > 0)


if __name__ == "__main__":
    main()
