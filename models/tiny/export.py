"""Writes a checkpoint of the tiny model as GGUF, in F32 or Q8_0.

The matrices need no permutation: the model is trained with RoPE over neighbouring
pairs. There is no `output.weight`: the output matrix is the embedding.
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np

import corpus
import model
import vocab

TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
DESCRIPTION = "A very small chat model, trained from nothing on text the Realm project wrote."


def read_weights(path):
    """The parameters of a checkpoint as float32 arrays."""
    with np.load(path) as data:
        return {n[2:]: data[n] for n in data.files if n.startswith("p:")}


def _write_shape(writer):
    writer.add_name("Realm Tiny")
    writer.add_description(DESCRIPTION)
    writer.add_license("apache-2.0")
    writer.add_context_length(model.CONTEXT)
    writer.add_embedding_length(model.WIDTH)
    writer.add_block_count(model.LAYERS)
    writer.add_feed_forward_length(model.FFN)
    writer.add_head_count(model.HEADS)
    writer.add_head_count_kv(model.KV_HEADS)
    writer.add_key_length(model.HEAD)
    writer.add_value_length(model.HEAD)
    writer.add_rope_dimension_count(model.HEAD)
    writer.add_rope_freq_base(model.THETA)
    writer.add_layer_norm_rms_eps(model.EPS)
    writer.add_vocab_size(model.VOCAB)


def _write_tokenizer(writer, path):
    """Tokens, merges and the chat template; special tokens are control tokens."""
    bpe = json.loads(path.read_text())["model"]
    tokens = sorted(bpe["vocab"], key=bpe["vocab"].get)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    merges = [m if isinstance(m, str) else " ".join(m) for m in bpe["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("starcoder")
    writer.add_token_list(tokens)
    writer.add_token_types([control if t in vocab.SPECIAL else normal for t in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokens.index(corpus.BOS))
    writer.add_eos_token_id(tokens.index(corpus.END))
    writer.add_pad_token_id(tokens.index(corpus.BOS))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(TEMPLATE)


def write_gguf(out, weights, tokenizer_path, kind):
    """Write one GGUF file; norms stay F32."""
    quant = gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(str(out), "llama")
    _write_shape(writer)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32 if kind == "F32"
                         else gguf.LlamaFileType.MOSTLY_Q8_0)
    _write_tokenizer(writer, tokenizer_path)
    for name, value in weights.items():
        value = np.ascontiguousarray(value, np.float32)
        if value.ndim > 1 and kind != "F32":
            value = gguf.quants.quantize(value, quant)
            writer.add_tensor(f"{name}.weight", value, raw_dtype=quant)
        else:
            writer.add_tensor(f"{name}.weight", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    """Export a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--work", type=Path, default=Path("build/tiny"), help="checkpoint's folder")
    parser.add_argument("--type", choices=["F32", "Q8_0"], default="Q8_0")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    weights = read_weights(args.work / "checkpoint.npz")
    write_gguf(args.out, weights, args.work / "tokenizer.json", args.type)
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
