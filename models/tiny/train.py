"""Trains the tiny model; stops and goes on at any step.

The loss is taken half the time on logits as the sampler's repetition penalty leaves
them, so that an answer which repeats the question's words survives the penalty.
"""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import model
import vocab
from batches import Packer

SEED = 20_260
SHORT, LONG = (8, 256), (4, 1024)
PEAK, WARM_UP, DECAY_FROM = 1.5e-3, 150, 0.4
BETA1, BETA2, DECAY, CLIP = 0.9, 0.97, 0.05, 1.0
PENALTY = 1.2


def loss_of(params, batch):
    """Weighted cross-entropy; the odd rows see penalised logits."""
    logits = model.forward(params, batch.tokens, batch.starts)
    odd = (jnp.arange(logits.shape[0]) % 2)[:, None, None] == 1
    factor = jnp.where(batch.seen & odd, PENALTY, 1.0)
    logits = jnp.where(logits > 0, logits / factor, logits * factor)
    chosen = jnp.take_along_axis(logits, batch.targets[..., None], -1)[..., 0]
    losses = jax.nn.logsumexp(logits, axis=-1) - chosen
    return jnp.sum(losses * batch.weights) / jnp.sum(batch.weights)


def rate_at(step, steps):
    """Warm up, hold, then fall in a straight line to nothing."""
    left = (steps - step) / (steps * (1 - DECAY_FROM))
    return PEAK * min(1.0, (step + 1) / WARM_UP, left)


@partial(jax.jit, donate_argnums=0)
def update(state, batch, rate):
    """One AdamW step; norms are not decayed."""
    params, first, second, step = state
    loss, grads = jax.value_and_grad(loss_of)(params, batch)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in grads.values()))
    scale = jnp.minimum(1.0, CLIP / (norm + 1e-6))
    step = step + 1
    for name, grad in grads.items():
        grad = grad * scale
        first[name] = BETA1 * first[name] + (1 - BETA1) * grad
        second[name] = BETA2 * second[name] + (1 - BETA2) * grad * grad
        move = first[name] / (1 - BETA1 ** step)
        move /= jnp.sqrt(second[name] / (1 - BETA2 ** step)) + 1e-8
        fade = DECAY if params[name].ndim > 1 else 0.0
        params[name] = params[name] - rate * (move + fade * params[name])
    return (params, first, second, step), loss


def fresh_state():
    """Parameters, the two moments, and the step."""
    params = model.init(SEED)
    zeros = jax.tree.map(jnp.zeros_like, params)
    return params, zeros, jax.tree.map(jnp.zeros_like, params), jnp.int32(0)


def save(path, state):
    """Write a checkpoint in one move."""
    params, first, second, step = state
    groups = {"p": params, "m": first, "v": second}
    arrays = {f"{g}:{n}": np.asarray(a) for g, tree in groups.items() for n, a in tree.items()}
    part = path.with_suffix(".part.npz")
    np.savez(part, step=int(step), **arrays)
    part.replace(path)


def restore(path):
    """Read a checkpoint back."""
    with np.load(path) as data:
        trees = [{n[2:]: jnp.asarray(data[n]) for n in data.files if n.startswith(g)}
                 for g in ("p:", "m:", "v:")]
        return (*trees, jnp.int32(int(data["step"])))


def _batches(tokenizer, start, short_steps, steps):
    """The batches of the remaining steps, one made ahead while the last is trained on."""
    packers = [Packer(tokenizer, *SHORT), Packer(tokenizer, *LONG)]

    def make(step):
        return packers[step >= short_steps].batch(SEED * 1_000_000 + step)

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(make, start)
        for step in range(start, steps):
            batch, ahead = ahead.result(), pool.submit(make, step + 1)
            yield step, batch


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/tiny"), help="checkpoints go here")
    parser.add_argument("--steps", type=int, default=4120, help="all steps")
    parser.add_argument("--long-steps", type=int, default=180, help="the last of them at 4 x 1024")
    parser.add_argument("--save-every", type=int, default=100)
    return parser.parse_args()


def main():
    """Train, or go on training, to the last step."""
    args = _arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    tokens_path, checkpoint = args.work / "tokenizer.json", args.work / "checkpoint.npz"
    if not tokens_path.exists():
        vocab.train(SEED).save(str(tokens_path))
    state = restore(checkpoint) if checkpoint.exists() else fresh_state()
    start, began, losses = int(state[3]), time.monotonic(), []
    sizes = sum(p.size for p in state[0].values())
    print(f"{sizes} parameters, step {start} of {args.steps}, {args.long_steps} long", flush=True)
    source = _batches(vocab.load(tokens_path), start, args.steps - args.long_steps, args.steps)
    for step, batch in source:
        state, loss = update(state, batch, rate_at(step, args.steps))
        losses.append(float(loss))
        if (step + 1) % 25 == 0 or step + 1 == args.steps:
            rate, spent = rate_at(step, args.steps), time.monotonic() - began
            print(f"step {step + 1} loss {np.mean(losses):.4f} rate {rate:.2e} "
                  f"seconds {spent:.0f}", flush=True)
            losses = []
        if (step + 1) % args.save_every == 0 or step + 1 == args.steps:
            save(checkpoint, state)


if __name__ == "__main__":
    sys.exit(main())
