"""The flow of an experiment: trained once for each output folder, measured, and looked at."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Context, Row
from experiments.flow_perturbations.data import Dataset, Images
from experiments.flow_perturbations.kinds import FlowSettings
from jcollab import flows

Array = jax.Array
CLIP = 100.0  # global norm of gradients, which are those of nats per image
PART = 100  # images that are encoded at a time


def make(config: FlowSettings, images: Images) -> flows.Flow:
    """The flow of a configuration."""
    return flows.glow(
        levels=config.flow_levels,
        steps=config.flow_steps,
        width=config.flow_width,
        convolution=config.flow_convolution,
        decoding=config.decoding,
        grey_levels=images.grey_levels,
        remat=config.flow_steps > 12,
    )


def trained(config: FlowSettings, images: Images, context: Context) -> Any:
    """Parameters of the trained flow, from the output folder where it has been trained before.

    None after Ctrl-C.
    """
    flow = make(config, images)
    first = jnp.asarray(images.flow[: 4 * config.flow_batch_size])
    start = flow.init(jax.random.key(config.seed), first)
    file = context.out / f"flow-{_digest(config, images)}.npz"
    if file.exists():
        kept = np.load(file)
        leaves, tree = jax.tree.flatten(start)
        return jax.tree.unflatten(tree, [jnp.asarray(kept[str(i)]) for i in range(len(leaves))])
    moves = config.flow_crop_flip

    def move(x: Array, key: Array) -> Array:
        return jc.data.crop_and_flip(x, key, moves)

    loss = flows.likelihood(flow, jitter=move if moves else None)
    params = minimised(
        loss,
        optimizer_of(config),
        start,
        images.flow,
        config.flow_rounds,
        config.flow_batch_size,
        config.seed,
        context,
        "flow",
    )
    if params is not None:
        leaves = jax.tree.leaves(params)
        np.savez(file, **{str(i): np.asarray(leaf) for i, leaf in enumerate(leaves)})  # type: ignore[arg-type]
    return params


def optimizer_of(config: FlowSettings) -> optax.GradientTransformation:
    """The flow's optimiser."""
    largest, rounds = config.flow_learning_rate, config.flow_rounds
    warmup = min(config.flow_warmup, rounds // 10)
    if config.flow_optimizer == "adamax":
        decay = optax.add_decayed_weights(config.flow_weight_decay)
        return optax.chain(decay, optax.adamax(optax.linear_schedule(0.0, largest, max(1, warmup))))
    rate = optax.warmup_cosine_decay_schedule(0.0, largest, warmup, rounds, largest / 50)
    return optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(rate))


def minimised(
    loss: Any,
    optimizer: optax.GradientTransformation,
    start: Any,
    x: np.ndarray,
    rounds: int,
    batch_size: int,
    seed: int,
    context: Context,
    name: str,
) -> Any:
    """Parameters of a model of images without labels; None after Ctrl-C."""
    algorithm = jc.centralized(loss, optimizer)
    examples = Dataset(jnp.asarray(x), np.zeros(len(x), np.int32))
    result = jc.fit(
        algorithm,
        algorithm.init(jax.random.key(seed), jc.replicate(start, 1)),
        jc.data.client_data(examples, [np.arange(len(x))]),
        jax.random.key(seed),
        num_rounds=rounds,
        sample=jc.data.minibatches(batch_size),
        description=name,
        **context.fit_options(stage=name),
    )
    return result.state.shared.params if result.stopped == "finished" else None


def measure(config: FlowSettings, images: Images, params: Any) -> Row:
    """Bits per dimension of training and of held-out images, and how well decoding undoes encoding.

    ``bits_untrained`` are those of held-out images in a flow that has only seen its first batch.
    """
    flow = make(config, images)
    bits = jax.jit(lambda p, x, noise: flows.bits_per_dimension(flow, p, x, noise).sum())

    def mean(p: Any, x: np.ndarray) -> float:
        total = 0.0
        for i in range(0, len(x), PART):
            part = jnp.asarray(x[i : i + PART])
            key = jax.random.fold_in(jax.random.key(config.seed), i)
            total += float(bits(p, part, flow.noise(key, part)))  # type: ignore[misc]
        return total / len(x)

    first = jnp.asarray(images.flow[: 4 * config.flow_batch_size])
    start = flow.init(jax.random.key(config.seed), first)
    held = images.test.x[: config.held_out]
    row: Row = {
        "kind": "flow",
        "bits_train": mean(params, images.flow[: config.held_out]),
        "bits_held_out": mean(params, held),
        "bits_untrained": mean(start, held),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
    }
    if config.decoding == "corrected":
        part = jnp.asarray(held[:PART])
        noise = flow.noise(jax.random.key(config.seed), part)  # type: ignore[misc]
        decoded = flow.decode(params, flow.encode(params, part, noise)[0], noise)
        row["round_trip"] = float(jnp.abs(decoded - part).max())
    return row


def _digest(config: FlowSettings, images: Images) -> str:
    """Names what the flow's parameters depend on."""
    names = [f.name for f in dataclasses.fields(FlowSettings)]
    unused = ("held_out", "temperature", "decoding", "fraction")
    settings = {name: getattr(config, name) for name in names if name not in unused}
    total = hashlib.sha256(repr(sorted(settings.items())).encode())
    total.update(np.ascontiguousarray(images.flow).tobytes())
    return total.hexdigest()[:12]
