"""Turns a llama2.c checkpoint and its tokenizer into a GGUF file (F32, SPM).

The layout is that of llama2.c's export (version 0): seven int32 (dim, hidden,
layers, heads, kv heads, vocabulary, context), then float32 tensors, all layers
of one kind together.  Its rotary pairs are adjacent, as a llama GGUF has them.
"""

import struct
import sys

import gguf
import numpy as np

BOS, EOS, FIRST_BYTE = 1, 2, 3


class Floats:
    def __init__(self, data):
        self.data = np.frombuffer(data, "<f4")
        self.at = 0

    def take(self, *shape):
        n = int(np.prod(shape))
        self.at += n
        return self.data[self.at - n : self.at].reshape(shape)


def read_tokens(data, vocab):
    at, tokens, scores = 4, [], []
    for _ in range(vocab):
        score, n = struct.unpack_from("<fi", data, at)
        tokens.append(data[at + 8 : at + 8 + n])
        scores.append(score)
        at += 8 + n
    return tokens, scores


def write_tokenizer(writer, path, vocab):
    tokens, scores = read_tokens(open(path, "rb").read(), vocab)
    tokens = [t.replace(b" ", "\u2581".encode()) for t in tokens]
    kinds = [gguf.TokenType.NORMAL] * vocab
    for i in range(256):
        tokens[FIRST_BYTE + i] = b"<0x%02X>" % i
        kinds[FIRST_BYTE + i] = gguf.TokenType.BYTE
    special = {0: b"<unk>", BOS: b"<s>", EOS: b"</s>"}
    for i, text in special.items():
        tokens[i] = text
        kinds[i] = gguf.TokenType.CONTROL if i else gguf.TokenType.UNKNOWN
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)


def convert(checkpoint, tokenizer, out):
    data = open(checkpoint, "rb").read()
    dim, hidden, layers, heads, kv_heads, vocab, context = struct.unpack_from("<7i", data)
    own_output, vocab = vocab < 0, abs(vocab)
    kv_dim = dim // heads * kv_heads
    f = Floats(data[28:])
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_name("stories260K")
    writer.add_context_length(context)
    writer.add_embedding_length(dim)
    writer.add_feed_forward_length(hidden)
    writer.add_block_count(layers)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocab)
    write_tokenizer(writer, tokenizer, vocab)
    writer.add_tensor("token_embd.weight", f.take(vocab, dim))
    parts = [
        ("attn_norm", (dim,)),
        ("attn_q", (dim, dim)),
        ("attn_k", (kv_dim, dim)),
        ("attn_v", (kv_dim, dim)),
        ("attn_output", (dim, dim)),
        ("ffn_norm", (dim,)),
        ("ffn_gate", (hidden, dim)),
        ("ffn_down", (dim, hidden)),
        ("ffn_up", (hidden, dim)),
    ]
    for name, shape in parts:
        for i, w in enumerate(f.take(layers, *shape)):
            writer.add_tensor(f"blk.{i}.{name}.weight", w)
    writer.add_tensor("output_norm.weight", f.take(dim))
    if own_output:
        f.take(context, dim // heads)  # tables of cosines and sines
        writer.add_tensor("output.weight", f.take(vocab, dim))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: llama2c_to_gguf.py CHECKPOINT.bin TOKENIZER.bin OUT.gguf")
    convert(*sys.argv[1:])
