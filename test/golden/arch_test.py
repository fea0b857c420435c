"""Compares each architecture's log-probabilities with arch_ref.py's, and sees that files
which contradict themselves are refused; prints TAP.

    arch_test.py LOGITS INVARIANCE REUSE PREFIX [NAME...]

LOGITS is the program of logits.c.  The others are the unit tests of these names: one says
whether a model gives the same bits in every batch, two whether it does with whatever is in
the cache of pages, which windows could spoil.  Weights, keys and values are F32, so
only float32 arithmetic differs: no log-probability of any token may be off by 1e-4, or by
1e-2 where activations are rounded, now and then to the other side of a border.  A
prompt is cut in steps of 40 rows, and longer than the window where a model has one.
"""

import os
import subprocess
import sys
import tempfile

import numpy as np
from arch_models import SIZES, SPECS, TINY, make
from arch_ref import log_softmax, open_model
from gguf import GGUFValueType

LIMIT, ROUNDED = 1e-4, 1e-2
TOKENS, LONG = 90, 1250  # more than a segment of 1024 keys
# What is particular to them are numbers: in every batch they would only take long.
NUMBERS = {"gemma2-27b", "gemma3-27b", "gemma2-unsaid", "gemma3-period", "llama-yarn-own",
           "phi3-longrope-unsaid"}
WITH_LONG = {"mistral", "gemma2", "gemma3-window-list", "gpt-oss"}


def run(logits, path, ids, width):
    with tempfile.NamedTemporaryFile() as out:
        args = [logits, path, "f32", "40", "0", out.name, *map(str, ids)]
        subprocess.run(args, check=True, capture_output=True)
        both = np.fromfile(out.name, "<f4").reshape(len(ids), -1).astype(np.float64)
    return log_softmax(both[:, :-width])


def key(name, value, kind=GGUFValueType.UINT32):
    """Writes a key, or another value for it; None: leaves it out."""

    def change(w):
        w.kv_data[0].pop(name, None)
        if value is not None:
            sub = GGUFValueType.UINT32 if kind == GGUFValueType.ARRAY else None
            if sub and isinstance(value[0], bool):
                sub = GGUFValueType.BOOL
            w.add_key_value(name, value, kind, sub_type=sub)

    return change


def tensor(name, shape):
    """Gives a tensor another shape; None: leaves it out; a new one is added."""

    def change(w):
        w.tensors[0].pop(name, None)
        if shape:
            w.add_tensor(name, np.ones(shape, np.float32))

    return change


def half(name):
    """Gives a tensor another type."""

    def change(w):
        info = w.tensors[0].pop(name)
        w.add_tensor(name, info.tensor.astype(np.float16))

    return change


FLOAT, LIST, TEXT, BOOL = (GGUFValueType.FLOAT32, GGUFValueType.ARRAY, GGUFValueType.STRING,
                           GGUFValueType.BOOL)
WINDOW, PATTERN = "attention.sliding_window", "attention.sliding_window_pattern"
SHARED = "expert_shared_feed_forward_length"
ORIGINAL = "rope.scaling.original_context_length"

# A model, what is wrong with it, and words of the sentence that says so; "": nothing is.
WRONG = [
    ("qwen2", key("general.architecture", "qwen9", TEXT), "architecture 'qwen9' is not supported"),
    ("qwen2", key("qwen2.attention.head_count", 0), "head_count is 0, want 1 to"),
    ("qwen2", key("qwen2.attention.head_count_kv", 0), "head_count_kv is 0, want 1 to"),
    ("qwen2", key("qwen2.attention.head_count_kv", 3), "4 heads cannot share 3"),
    ("qwen2", key("qwen2.attention.head_count_kv", [2, 2, 2], LIST), ""),
    ("qwen2", key("qwen2.attention.head_count_kv", [2, 2], LIST), "lists 2 numbers"),
    ("qwen2", key("qwen2.attention.head_count_kv", [2, 1, 2], LIST), "differs between layers"),
    ("qwen2", key("qwen2.feed_forward_length", [80] * 4, LIST), "lists 4 numbers"),
    ("qwen2", key("qwen2.rope.dimension_count", 26), "rope dimension 26"),
    ("qwen2", key("qwen2.expert_count", 4), "experts are not supported there"),
    ("qwen2", key("qwen2." + WINDOW, 64), "windows are not supported there"),
    ("qwen2", key("qwen2." + WINDOW, SIZES["context"]), ""),
    ("qwen2", tensor("blk.1.attn_k.bias", None), "tensor blk.1.attn_k.bias is missing"),
    ("qwen2", tensor("blk.1.attn_k.bias", [47]),
     "blk.1.attn_k.bias has shape 47x1x1x1, want 48x1"),
    ("qwen2", tensor("blk.1.attn_q_norm.weight", [24]),
     "blk.1.attn_q_norm.weight is not supported in a qwen2 model"),
    ("qwen2-yarn", key("qwen2." + ORIGINAL, None), "which YaRN wants"),
    ("qwen2-yarn", key("qwen2." + ORIGINAL, 0), "is 0, want 2 to"),
    ("qwen2-yarn", key("qwen2.rope.freq_base", 1.0, FLOAT), "which YaRN cannot stretch"),
    ("qwen2-yarn", key("qwen2.rope.scaling.yarn_beta_fast", 0.5, FLOAT), "fast turns are 0.5"),
    ("qwen2-yarn", key("qwen2.rope.scaling.type", "ntk", TEXT), "rope scaling 'ntk'"),
    ("qwen2-yarn", key("qwen2.rope.scaling.yarn_ext_factor", 1.0, FLOAT), ""),
    ("qwen2-yarn", key("qwen2.rope.scaling.yarn_ext_factor", 0.5, FLOAT), "is 0.5, want 1 to 1"),
    ("qwen3", tensor("blk.2.attn_q_norm.weight", [96]),
     "blk.2.attn_q_norm.weight has shape 96x1x1x1, want 24x1"),
    ("mistral", key("llama." + WINDOW, 0), "sliding_window is 0, want 1 or more"),
    ("gemma2", key("gemma2." + WINDOW, 0), "sliding_window is 0, want 1 or more"),
    ("gemma2", key("gemma2." + PATTERN, 0), "sliding_window_pattern is 0, want 1 or more"),
    ("gemma2", key("gemma2.final_logit_softcapping", 0.0, FLOAT), "want 0.001 to"),
    ("gemma2", tensor("blk.0.post_ffw_norm.weight", None), "post_ffw_norm.weight is missing"),
    ("gemma3", key("gemma3." + WINDOW, 0), ""),
    ("gpt-oss", key("gpt-oss." + WINDOW, None), "sliding_window is missing"),
    ("gpt-oss", key("gpt-oss." + WINDOW, 0), "sliding_window is 0, want 1 or more"),
    ("gpt-oss", key("gpt-oss.expert_gating_func", 3), ""),
    ("gemma3", key("gemma3." + PATTERN, [True] * 6, LIST), "lists 6 layers, want the model's 7"),
    ("gemma3", key("gemma3." + PATTERN, [1] * 7, LIST), "a list of u32, want bool"),
    ("gemma3", key("gemma3.rope.freq_base_swa", 0.0, FLOAT), "want 1 to"),
    ("phi3", tensor("blk.0.attn_qkv.weight", [191, 64]),
     "blk.0.attn_qkv.weight has shape 64x191x1x1, want 64x192"),
    ("phi3", tensor("blk.0.ffn_up.weight", [80, 64]), "64x80x1x1, want 64x160"),
    ("phi3-longrope-long", tensor("rope_factors_short.weight", None),
     "rope_factors_short.weight is missing"),
    ("phi3-longrope-long", key("phi3." + ORIGINAL, None), "which the rope's factors want"),
    ("phi3-longrope-long", tensor("rope_factors_long.weight", [11]), "11x1x1x1, want 12x1"),
    ("llama", key("llama.rope.scaling.type", "longrope", TEXT), "rope_factors_long.weight is miss"),
    ("granite", key("granite.logit_scale", None), "logit_scale is missing"),
    ("granite", key("granite.residual_scale", -1.0, FLOAT), "residual_scale is -1, want"),
    ("granite", key("granite.rope.scaling.finetuned", True, BOOL), ""),
    ("granite", key("granite.rope.scaling.finetuned", False, BOOL), "without positions"),
    ("llama", key("llama.rope.scaling.finetuned", False, BOOL), ""),
    ("olmo2", tensor("blk.0.attn_norm.weight", [64]), "not supported in a olmo2 model"),
    ("starcoder2", tensor("output_norm.bias", None), "output_norm.bias is missing"),
    ("mixtral", key("llama.expert_used_count", 7), "is 7, want 1 to the 6 experts"),
    ("mixtral", key("llama.expert_used_count", 65), "is 65, want 0 to 64"),
    ("mixtral", key("llama.expert_used_count", None), "is 0, want 1 to the 6 experts"),
    ("mixtral", key("llama.expert_count", 1025), "is 1025, want 0 to 1024"),
    ("mixtral", key("llama.expert_count", 5),
     "ffn_gate_inp.weight has shape 64x6x1x1, want 64x5"),
    ("mixtral", key("llama.expert_count", 0), "ffn_gate.weight is missing"),
    ("mixtral", key("llama.expert_gating_func", 2), "expert_gating_func is 2"),
    ("mixtral", tensor("blk.0.ffn_up_exps.weight", [5, 40, 64]),
     "ffn_up_exps.weight has shape 64x40x5x1, want 64x40x6"),
    ("mixtral", tensor("blk.0.ffn_up.weight", [40, 64]), "ffn_up.weight is not supported"),
    ("mixtral-apart", tensor("blk.1.ffn_up.0.weight", None), "blk.1.ffn_up_exps.weight is missing"),
    ("mixtral-apart", tensor("blk.1.ffn_up.5.weight", None), "blk.1.ffn_up.5.weight is missing"),
    ("mixtral-apart", tensor("blk.1.ffn_up.6.weight", [40, 64]), "ffn_up.6.weight is not"),
    ("mixtral-apart", tensor("blk.1.ffn_up.02.weight", [40, 64]), "ffn_up.02.weight is not"),
    ("mixtral-apart", tensor("blk.1.ffn_up.3.weight", [40, 63]),
     "blk.1.ffn_up.3.weight has shape 63x40x1x1, want 64x40"),
    ("mixtral-apart", half("blk.1.ffn_up.3.weight"),
     "blk.1.ffn_up.3.weight has type F16, want F32 as blk.1.ffn_up.2.weight"),
    ("mixtral-apart", tensor("blk.1.ffn_up_exps.weight", [6, 40, 64]), "ffn_up.0.weight is not"),
    ("granitemoe", key("granitemoe." + SHARED, 56), "ffn_gate_shexp.weight is missing"),
    ("granitemoe-shared", key("granitemoe." + SHARED, None), "ffn_gate_shexp.weight is not"),
    ("granitemoe-shared", key("granitemoe." + SHARED, 0), "ffn_gate_shexp.weight is not"),
    ("granitemoe-shared", key("granitemoe." + SHARED, 55), "64x56x1x1, want 64x55"),
    ("qwen2moe", key("qwen2moe.expert_count", 0), "expert_count is missing or 0"),
    ("qwen2moe", key("qwen2moe." + SHARED, 57), "64x56x1x1, want 64x57"),
    ("qwen2moe", key("qwen2moe." + SHARED, None), "64x56x1x1, want 64x80"),
    ("qwen2moe", key("qwen2moe.expert_feed_forward_length", None), "64x40x6x1, want 64x26x6"),
    ("qwen2moe", key("qwen2moe.expert_gating_func", 3), "expert_gating_func is 3"),
    ("qwen3moe", key("qwen3moe.expert_feed_forward_length", 0), "is 0, want 1 to"),
    ("qwen3moe", key("qwen3moe.expert_feed_forward_length", None), "64x40x6x1, want 64x26x6"),
    ("qwen3moe", key("qwen3moe.expert_weights_norm", 1), "has type u32, want bool"),
    ("gpt-oss", tensor("blk.0.attn_sinks.weight", [5]), "5x1x1x1, want 4x1"),
    ("gpt-oss", tensor("blk.0.ffn_up_exps.bias", [5, 40]), "40x5x1x1, want 40x6"),
]


def refused(logits, path, words):
    args = [logits, path, "f32", "1", "0", "/dev/null", "1"]
    done = subprocess.run(args, capture_output=True, text=True)
    said = done.stderr.strip()
    return (done.returncode == 1 and words in said) if words else done.returncode == 0, said


def refusals(tap, logits, path, make_model, wrong):
    """Each of wrong, (name, change, words), is refused with these words, or fine with none."""
    for name, change, words in wrong:
        make_model(name, path, change)
        good, said = refused(logits, path, words)
        tap.check(good, f"{name}: {words or 'fine'}", "" if good else said)


class Tap:
    n = failed = 0

    def check(self, good, name, note):
        self.n += 1
        self.failed += not good
        print("ok" if good else "not ok", self.n, "-", name, "#", note, flush=True)

    def run(self, args, name):
        done = subprocess.run(args, capture_output=True, text=True)
        note = done.stdout + done.stderr if done.returncode else ""
        self.check(done.returncode == 0, name, note)


def compare(tap, logits, path, name):
    make(name, path)
    model = open_model(path)
    for tokens in (TOKENS, LONG) if name in WITH_LONG else (TOKENS,):
        ids = np.random.default_rng(7).integers(0, SIZES["vocab"], tokens)
        got, want = run(logits, path, ids, model.width), model.logprobs(ids)
        worst = np.abs(got - want).max()
        limit = ROUNDED if model.rounds else LIMIT
        tap.check(worst < limit, f"{name}, {tokens} tokens", f"{worst:.1e}, limit {limit:.0e}")


def main():
    logits, invariance, reuse, prefix, *names = sys.argv[1:]
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.gguf")
        for name in names or SPECS:
            compare(tap, logits, path, name)
            if name in NUMBERS:
                continue
            tap.run([invariance, path], f"{name}, the same bits in every batch")
            tap.run([prefix, path], f"{name}, the same when its beginning was in the cache")
        if not names:
            make("gpt-oss", path, sizes=TINY)
            tap.run([reuse, path], "gpt-oss, the same with pages of the cache")
        refusals(tap, logits, path, make, [] if names else WRONG)
    print(f"1..{tap.n}")
    return tap.failed > 0


if __name__ == "__main__":
    sys.exit(main())
