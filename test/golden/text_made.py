"""Tokenisers trained for check_text.py, and the GGUF files of them."""

import io
import random
import re
import struct

import sentencepiece
from mkgguf import BOOL, F32, I32, STRING, U8, U32, array, gguf, value
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        trainers)

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)
BLOCK = "\u2581"


def vocabulary_file(model, tokens, kinds, *more):
    return gguf([value("general.architecture", STRING, "none"),
                 value("tokenizer.ggml.model", STRING, model),
                 array("tokenizer.ggml.tokens", STRING, tokens),
                 array("tokenizer.ggml.token_type", I32, kinds), *more])


def train_bpe(texts):
    """Trained on whole lines, so that tokens hold whatever stands together; some of the
    merges are lost, so that some tokens come of whole words alone."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split("\n\n", "merged_with_previous"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = trainers.BpeTrainer(vocab_size=3000, show_progress=False, max_token_length=24,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    import json
    model = json.loads(tokenizer.to_str())["model"]
    rng = random.Random(7)
    vocabulary = model["vocab"]
    merges = [tuple(m) for m in model["merges"]]
    kept = merges[:1500] + [m for m in merges[1500:] if rng.random() > 0.2]
    return vocabulary, kept


def bpe_file(vocabulary, merges, pre, added=(), name="made"):
    """With the AddedTokens `added` behind its own tokens."""
    tokens = sorted(vocabulary, key=vocabulary.get)
    assert [vocabulary[t] for t in tokens] == list(range(len(tokens)))
    return vocabulary_file("gpt2", tokens + [t.content for t in added],
                           [NORMAL] * len(tokens) + kinds_of(added),
                           value("general.name", STRING, name),
                           value("tokenizer.ggml.pre", STRING, pre),
                           array("tokenizer.ggml.merges", STRING, [" ".join(m) for m in merges]))


def train_plain(texts, rules, byte_tokens, lines):
    """BPE over characters: the vocabulary and its merges, some lost, behind an unknown token and
    the bytes'.  With `lines` no token holds a line's end and something else."""
    normalizer, pre_tokenizer = rules
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex("\n+"), "isolated")] * lines + [pre_tokenizer])
    spelled = ["<unk>"] + [f"<0x{b:02X}>" for b in range(256)] * byte_tokens
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=2600, show_progress=False, max_token_length=24, limit_alphabet=150,
        special_tokens=spelled))
    import json
    model = json.loads(tokenizer.to_str())["model"]
    rng = random.Random(7)
    merges = [tuple(m) for m in model["merges"]]
    return model["vocab"], merges[:900] + [m for m in merges[900:] if rng.random() > 0.2]


def plain_file(vocabulary, merges, model, *more, added=(), converted=False):
    """Where it is converted as Sarvam's is: the bytes are normal tokens, and runs of spaces the
    user's, spelled with spaces."""
    tokens = sorted(vocabulary, key=vocabulary.get)
    kinds = [BYTE if re.fullmatch("<0x..>", t) and not converted else NORMAL for t in tokens]
    kinds[0] = UNKNOWN
    for i, t in enumerate(tokens if converted else ()):
        if len(t) > 1 and not t.strip(BLOCK):
            tokens[i], kinds[i] = t.replace(BLOCK, " "), USER
    return vocabulary_file(
        model, tokens + [t.content for t in added], kinds + kinds_of(added),
        value("tokenizer.ggml.unknown_token_id", U32, 0),
        array("tokenizer.ggml.merges", STRING, [" ".join(m) for m in merges]), *more)


def kinds_of(added):
    return [CONTROL if t.special else USER for t in added]


# Some begin others, lie over others, have white space or letters alone, or are not ASCII.
SPECIALS = ["<|a|>", "<|a|><|b|>", "<|b|>", "<|b|><|", "zq", "<\uff5cend\u2581of\uff5c>",
            "e\u0301<"]
USERS = ["<|tool|>", "a|>", "  ", "\n\n\n", "[x]", "\u0439>", "\u4e2d\u4e2d"]


def added_tokens(rstrip=False):
    """The package finds white space twice where one token takes it and another is it."""
    return [AddedToken(t, special=t in SPECIALS, normalized=False, rstrip=rstrip)
            for t in USERS + SPECIALS if not rstrip or not t.isspace()]


def train_wordpiece(texts, lowers, strips):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(True, True, strips, lowers)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    trainer = trainers.WordPieceTrainer(vocab_size=2000, show_progress=False,
                                        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def wordpiece_file(tokenizer, lowers, strips, added=()):
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.get)
    kinds = [NORMAL] * (len(tokens) - len(added)) + kinds_of(added)
    kinds[:4] = CONTROL, UNKNOWN, CONTROL, CONTROL
    spelled = [t if kind != NORMAL else t[2:] if t.startswith("##") else BLOCK + t
               for t, kind in zip(tokens, kinds)]
    keys = [value("tokenizer.ggml.normalizer.lowercase", BOOL, lowers)]
    if strips is not None:
        keys.append(value("tokenizer.ggml.normalizer.strip_accents", BOOL, strips))
    return vocabulary_file("bert", spelled, kinds, *keys)


# What sentencepiece is told; byte_fallback and the like change what text becomes.
UNIGRAMS = [
    {"model_type": "unigram", "normalization_rule_name": "nmt_nfkc", "byte_fallback": False,
     "remove_extra_whitespaces": True},
    {"model_type": "unigram", "normalization_rule_name": "nmt_nfkc_cf", "byte_fallback": True,
     "remove_extra_whitespaces": True},
    {"model_type": "unigram", "normalization_rule_name": "nfkc", "byte_fallback": True,
     "remove_extra_whitespaces": False},
    {"model_type": "unigram", "normalization_rule_name": "identity", "byte_fallback": False,
     "remove_extra_whitespaces": False, "add_dummy_prefix": False},
    {"model_type": "unigram", "normalization_rule_name": "identity", "byte_fallback": True,
     "remove_extra_whitespaces": False, "split_by_whitespace": False},
    {"model_type": "bpe", "normalization_rule_name": "identity", "byte_fallback": True,
     "remove_extra_whitespaces": False},
    {"model_type": "bpe", "normalization_rule_name": "identity", "byte_fallback": False,
     "remove_extra_whitespaces": False, "add_dummy_prefix": False},
]


def train_sentencepiece(texts, **options):
    """The model's bytes, its scores made sums of powers of two: sentencepiece adds them up as
    32-bit floats, which must not round."""
    out = io.BytesIO()
    lines = [line for text in texts for line in text.split("\n") if line]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, vocab_size=1500, num_threads=1,
        character_coverage=0.999, minloglevel=2, hard_vocab_limit=False, **options)
    return rounded(out.getvalue()) if options["model_type"] == "unigram" else out.getvalue()


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, kind, payload):
    return varint(number << 3 | kind) + payload


def text_field(number, payload):
    return field(number, 2, varint(len(payload)) + payload)


def read_varint(data, at):
    n = shift = 0
    while True:
        n |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return n, at


def fields(data):
    """The fields of a protocol buffer: number, kind, value."""
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        if tag & 7 == 0:
            item, at = read_varint(data, at)
        elif tag & 7 == 5:
            item, at = data[at:at + 4], at + 4
        else:
            n, at = read_varint(data, at)
            item, at = data[at:at + n], at + n
        yield tag >> 3, tag & 7, item


def written(number, kind, item):
    if kind == 0:
        return field(number, 0, varint(item))
    return field(number, 5, item) if kind == 5 else text_field(number, item)


def rounded(model):
    out = b""
    for number, kind, item in fields(model):
        if number == 1:
            item = b"".join(
                written(n, k, struct.pack("<f", round(struct.unpack("<f", x)[0] * 64) / 64)
                        if n == 2 else x) for n, k, x in fields(item))
        out += written(number, kind, item)
    return out


def pieces(reference):
    return [reference.id_to_piece(i) for i in range(reference.get_piece_size())]


def sentencepiece_file(model, options):
    tokens, scores, kinds, charsmap = [], [], [], b""
    for number, _, item in fields(model):
        if number == 1:
            piece = {n: x for n, _, x in fields(item)}
            tokens.append(piece[1])
            scores.append(struct.unpack("<f", piece.get(2, bytes(4)))[0])
            kinds.append(piece.get(3, NORMAL))
        elif number == 3:
            charsmap = {n: x for n, _, x in fields(item)}.get(2, b"")
    keys = [array("tokenizer.ggml.scores", F32, scores),
            value("tokenizer.ggml.add_space_prefix", BOOL, options.get("add_dummy_prefix", True)),
            value("tokenizer.ggml.unknown_token_id", U32, kinds.index(UNKNOWN))]
    if options["model_type"] == "bpe":
        return vocabulary_file("llama", tokens, kinds, *keys)
    keys.append(value("tokenizer.ggml.remove_extra_whitespaces", BOOL,
                      options["remove_extra_whitespaces"]))
    if charsmap:
        keys.append(array("tokenizer.ggml.precompiled_charsmap", U8, list(charsmap)))
    return vocabulary_file("t5", tokens, kinds, *keys)


def sentencepiece_model(keys):
    """The protocol buffer that sentencepiece reads (sentencepiece_model.proto)."""
    out = b""
    for token, score, kind in zip(keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.scores"],
                                  keys["tokenizer.ggml.token_type"]):
        out += text_field(1, text_field(1, token) + field(2, 5, struct.pack("<f", score))
                          + field(3, 0, varint(kind)))
    model_type, byte_fallback = field(3, 0, varint(2)), field(35, 0, varint(1))
    out += text_field(2, model_type + byte_fallback)
    prefix, remove_extra, escape = (field(n, 0, varint(v)) for n, v in ((3, 1), (4, 0), (5, 1)))
    return out + text_field(3, text_field(1, b"identity") + prefix + remove_extra + escape)


def train_unigram(texts):
    """Trained and run by `tokenizers`, which adds up its scores as we do."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(BLOCK),
                                                 normalizers.Replace(" ", BLOCK)])
    split = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.pre_tokenizer = split
    tokenizer.train_from_iterator(texts, trainers.UnigramTrainer(
        vocab_size=1500, show_progress=False, unk_token="<unk>", special_tokens=["<unk>"]))
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    import json
    scores = [score for _, score in json.loads(tokenizer.to_str())["model"]["vocab"]]
    tokens = [token for token, _ in vocabulary]
    exact = [struct.unpack("<f", struct.pack("<f", s))[0] for s in scores]
    tokenizer.model = models.Unigram(list(zip(tokens, exact)), 0, False)
    tokenizer.pre_tokenizer = split
    file = vocabulary_file("t5", tokens, [UNKNOWN] + [NORMAL] * (len(tokens) - 1),
                           array("tokenizer.ggml.scores", F32, exact),
                           value("tokenizer.ggml.add_space_prefix", BOOL, True),
                           value("tokenizer.ggml.unknown_token_id", U32, 0))
    return tokenizer, file


def bench_text(rng, n):
    """Prose of many words, a little of it in other scripts, with numbers and code."""
    from text_samples import training_texts
    source = re.sub(r"\s+", " ", __doc__ + open(__file__).read())
    words = source.split(" ") + [w for t in training_texts("bench", 60) for w in t.split(" ")]
    common = "the of and to in is that it for was on are as with his they at be this I".split()
    out, size = [], 0
    while size < n:
        word = rng.choice(common) if rng.random() < 0.45 else rng.choice(words)
        out.append(word + rng.choice([" ", " ", " ", " ", " ", ", ", ". ", "\n"]))
        size += len(out[-1].encode())
    return "".join(out)
