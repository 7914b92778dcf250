"""Ensembles for several seeds and conditions: common first members, then the later ones at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Context
from experiments.training import Replicas, train_replicas


class Condition(NamedTuple):
    """How later members are trained."""

    name: str  # of the method
    alpha: float = 0.0  # weight of the agreement
    pool: str = "unlabeled"  # name of the unlabeled set

    def __str__(self) -> str:
        """The method with its unlabeled set, where that plays a part."""
        return f"{self.name} ({self.pool})" if self.alpha else self.name


def cross_entropy(predict: Callable) -> Callable:
    """Of one logit for two classes or of C; a loss of one member that reports its accuracy."""

    def loss(params: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        logits, y = predict(params, batch["x"]), batch["y"]
        if logits.shape[-1] == 1:
            value = optax.sigmoid_binary_cross_entropy(logits[:, 0], y)
            right = (logits[:, 0] > 0) == (y == 1)
        else:
            value = optax.softmax_cross_entropy_with_integer_labels(logits, y)
            right = jnp.argmax(logits, -1) == y
        return value.mean(), {"accuracy": right.mean()}

    return loss


def train(
    context: Context,
    config: Any,
    model: Any,
    labeled: jc.data.Dataset,
    pools: dict[str, np.ndarray],
    conditions: Sequence[Condition],
    *,
    optimizers: Sequence[optax.GradientTransformation],
    members: int = 2,
    loss: Callable | None = None,
    **options: Any,
) -> tuple[Replicas, Replicas | None]:
    """Trains one first member for each seed, then the others for each condition and seed.

    First members do not depend on the condition, so they are trained once. The second result, whose
    settings are the conditions, is None without conditions and after Ctrl-C. Pairs of rounds and of
    optimizers are those of the first member and of each later one, the loss is cross-entropy if
    None, and options go to :func:`jcollab.dbat`.
    """
    rounds = np.broadcast_to(config.rounds, 2).tolist()
    seeds = config.seed + np.arange(config.num_seeds)
    loss = loss or cross_entropy(model.apply)
    names, sizes = list(pools), np.array([len(pool) for pool in pools.values()])
    starts = np.cumsum(sizes) - sizes
    arrays = {"x": labeled.x, "y": labeled.y, "pool": np.concatenate(list(pools.values()))}

    def sample(data: Any, key: jax.Array, step: jax.Array) -> dict[str, jax.Array]:
        own, other = jax.random.split(key)
        rows = jax.random.randint(own, (config.batch_size,), 0, len(data["y"]))
        points = data["start"] + jax.random.randint(other, (config.batch_size,), 0, data["size"])
        batch = {"x": data["x"][rows], "y": data["y"][rows], "unlabelled": data["pool"][points]}
        return jc.replicate(batch, members)

    def build(stage: int, setting: Any) -> jc.Algorithm:
        own = {"alpha": setting["alpha"], "member_rounds": rounds[stage]}
        return jc.dbat(loss, model.apply, optimizers[stage], **own, **options)

    def draw(algorithm: jc.Algorithm, key: jax.Array) -> jc.State:
        each = jax.vmap(lambda key: model.init(key, labeled.x[:1]))
        return algorithm.init(key, each(jax.random.split(key, members)))

    def train_stage(stage: int, start: Any, conditions: Sequence[Condition]) -> Replicas:
        which = np.repeat([names.index(condition.pool) for condition in conditions], len(seeds))
        return train_replicas(
            context,
            functools.partial(build, stage),
            start,
            jax.tree.map(jnp.asarray, arrays | {"start": starts[which], "size": sizes[which]}),
            rounds=(1, members)[stage] * rounds[stage],
            seeds=seeds,
            settings={"alpha": [condition.alpha for condition in conditions]},
            sample=sample,
            data_axes={"x": None, "y": None, "pool": None, "start": 0, "size": 0},
            fold=stage,
            tags={"stage": ("first members", "later members")[stage]},
        )

    first = train_stage(0, draw, [Condition("first", 0.0, names[0])])
    if not conditions or not first.finished:
        return first, None
    init = functools.partial(build(1, {"alpha": 0.0}).init, jax.random.key(0))
    state = jax.vmap(init)(jc.params_of(first.state()))
    state = state._replace(step=jnp.full_like(state.step, rounds[1]))
    copies = len(conditions)
    state = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * copies), state)
    later = train_stage(1, state, conditions)
    return first, later if later.finished else None
