"""Seeded random encoders for the tests, in F32, with a vocabulary of WordPiece.  Names of
keys and tensors are the gguf package's.

    encoder_models.py NAME OUT.gguf
"""

import sys
import zlib

import gguf
import numpy as np
from gguf import MODEL_TENSOR as M
from gguf import TENSOR_NAMES
from gguf import PoolingType

SIZES = {"width": 64, "ffn": 80, "heads": 4, "layers": 3, "context": 1300}
# What types in blocks of 256 fit.
WIDE = {**SIZES, "width": 256, "ffn": 512}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "the a cat dog sat on mat red ball two and who was what where moon sun tree".split()
LETTERS = [chr(c) for c in range(ord("a"), ord("z") + 1)]
# A word's beginning has U+2581 before it; other pieces go on.
TOKENS = SPECIAL + ["\u2581" + word for word in [*WORDS, *LETTERS[1:], "."]] + LETTERS

ATTENTION = {M.ATTN_Q: "qw", M.ATTN_K: "qw", M.ATTN_V: "qw"}
BERT = {**ATTENTION, M.ATTN_OUT: "wq", M.FFN_UP: "fw", M.FFN_DOWN: "wf"}
NOMIC = {M.ATTN_QKV: "3w", M.ATTN_OUT: "wq", M.FFN_GATE: "fw", M.FFN_UP: "fw", M.FFN_DOWN: "wf"}
NORMS = [M.ATTN_OUT_NORM, M.LAYER_OUT_NORM]
ARCHES = {"bert": BERT, "nomic-bert": NOMIC}

# Architecture, sizes and how the file says to pool.
SPECS = {
    "bert": ("bert", SIZES, PoolingType.MEAN),
    "bert-cls": ("bert", SIZES, PoolingType.CLS),
    "bert-last": ("bert", SIZES, PoolingType.LAST),
    "bert-none": ("bert", SIZES, None),
    "bert-odd": ("bert", {**SIZES, "width": 60, "ffn": 77, "heads": 5}, None),
    "bert-wide": ("bert", WIDE, PoolingType.MEAN),
    "nomic-bert": ("nomic-bert", SIZES, PoolingType.MEAN),
    "nomic-bert-wide": ("nomic-bert", WIDE, PoolingType.MEAN),
}


def random(rng, shape, norm):
    """Norms around 1; matrices keep about the size of what they are given, and more."""
    x = rng.standard_normal(shape, np.float32)
    return 1 + x / 4 if norm else x * np.float32(1.5 / np.sqrt(shape[-1]))


def keys(w, arch, sizes, pooling):
    w.add_context_length(sizes["context"])
    w.add_embedding_length(sizes["width"])
    w.add_feed_forward_length(sizes["ffn"])
    w.add_block_count(sizes["layers"])
    w.add_head_count(sizes["heads"])
    w.add_layer_norm_eps(1e-5)
    w.add_causal_attention(False)
    if pooling is not None:
        w.add_pooling_type(pooling)
    if arch == "nomic-bert":
        w.add_rope_freq_base(1000.0)


def vocabulary(w):
    w.add_tokenizer_model("bert")
    w.add_token_list(TOKENS)
    w.add_token_types([gguf.TokenType.CONTROL] * len(SPECIAL)
                      + [gguf.TokenType.NORMAL] * (len(TOKENS) - len(SPECIAL)))
    w.add_token_type_count(2)
    w.add_unk_token_id(1)
    w.add_bos_token_id(2)
    w.add_sep_token_id(3)
    w.add_pad_token_id(0)


def make(name, path, change=None):
    """change: called with the writer before it writes."""
    arch, sizes, pooling = SPECS[name]
    width, ffn = sizes["width"], sizes["ffn"]
    size = {"w": width, "q": width, "3": 3 * width, "f": ffn}
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    w = gguf.GGUFWriter(path, arch)
    keys(w, arch, sizes, pooling)
    vocabulary(w)

    def add(tensor, shape, bias, **bid):
        called = TENSOR_NAMES[tensor].format(**bid)
        w.add_tensor(called + ".weight", random(rng, shape, tensor.name.endswith("NORM")))
        if bias:
            w.add_tensor(called + ".bias", random(rng, shape[:1], False) / 2)

    add(M.TOKEN_EMBD, [len(TOKENS), width], False)
    add(M.TOKEN_TYPES, [2, width], False)
    add(M.TOKEN_EMBD_NORM, [width], True)
    if arch == "bert":
        add(M.POS_EMBD, [sizes["context"], width], False)
    for i in range(sizes["layers"]):
        for tensor, shape in ARCHES[arch].items():
            add(tensor, [size[s] for s in shape], arch == "bert", bid=i)
        for tensor in NORMS:
            add(tensor, [width], True, bid=i)
    if change:
        change(w)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def encode(text):
    """Ids of words that are tokens, between [CLS] and [SEP]."""
    words = ["\u2581" + word for word in text.split()]
    return [TOKENS.index(token) for token in ["[CLS]", *words, "[SEP]"]]


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in SPECS:
        sys.exit("usage: encoder_models.py " + "|".join(SPECS) + " OUT.gguf")
    make(sys.argv[1], sys.argv[2])
