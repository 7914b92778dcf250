"""Ensembles for several seeds and conditions: common first members, then the later ones at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from experiments.contract import Context


class Condition(NamedTuple):
    """How later members are trained.

    Attributes:
        name: of the method.
        alpha: weight of the agreement.
        pool: name of the unlabelled set.
    """

    name: str
    alpha: float
    pool: str


class Batch(NamedTuple):
    """A labelled batch with unlabelled points, ``[M, b, ...]``."""

    x: jax.Array
    y: jax.Array
    unlabelled: jax.Array


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is trained.

    Attributes:
        start: ``start(key) -> params`` of one member.
        predict: ``predict(params, x) -> logits``.
        x: labelled inputs.
        y: labels.
        pools: unlabelled sets by name.
        members: M.
        rounds: of the first member, and of each later one.
        batch_size: of both batches.
        optimizers: of the first member, and of the later ones.
        options: of :func:`jcollab.dbat`.
        loss: of one member, None for cross-entropy of ``predict``.
    """

    start: Callable[[jax.Array], Any]
    predict: Callable[[Any, jax.Array], jax.Array]
    x: np.ndarray
    y: np.ndarray
    pools: dict[str, np.ndarray]
    members: int
    rounds: tuple[int, int]
    batch_size: int
    optimizers: tuple[optax.GradientTransformation, optax.GradientTransformation]
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    loss: Callable | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was trained.

    Attributes:
        params: by condition, models ``[S, M, ...]``; without conditions, those of the first stage
            as ``"first"``.
        logs: by condition, metrics ``[S, T]`` of the later members; ``"first"`` for the first one.
        finished: False after Ctrl-C.
    """

    params: dict[str, Any]
    logs: dict[str, dict[str, np.ndarray]]
    finished: bool


def cross_entropy(predict: Callable) -> Callable:
    """Of one logit for two classes or of C; a loss of one member that reports its accuracy."""

    def loss(params: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        logits, y = predict(params, batch.x), batch.y
        if logits.shape[-1] == 1:
            value = optax.sigmoid_binary_cross_entropy(logits[:, 0], y)
            right = (logits[:, 0] > 0) == (y == 1)
        else:
            value = optax.softmax_cross_entropy_with_integer_labels(logits, y)
            right = jnp.argmax(logits, -1) == y
        return value.mean(), {"accuracy": right.mean()}

    return loss


def train(
    plan: Plan, conditions: Sequence[Condition], seeds: Sequence[int], context: Context
) -> Outcome:
    """Trains one first member for each seed, then the others for each condition and seed.

    First members do not depend on the condition, so they are trained once.
    """
    loss = plan.loss or cross_entropy(plan.predict)
    names = list(plan.pools)
    pool = np.concatenate([plan.pools[name] for name in names])
    sizes = np.array([len(plan.pools[name]) for name in names])
    starts = np.cumsum(sizes) - sizes
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    arrays = {"x": plan.x, "y": plan.y, "pool": pool}
    arrays = {name: jnp.asarray(value) for name, value in arrays.items()}
    axes = {"x": None, "y": None, "pool": None, "start": 0, "size": 0}

    def sample(data: Any, key: jax.Array, step: jax.Array) -> Batch:
        labelled, unlabelled = jax.random.split(key)
        size = (plan.batch_size,)
        rows = jax.random.randint(labelled, size, 0, len(data["y"]))
        points = data["start"] + jax.random.randint(unlabelled, size, 0, data["size"])
        batch = Batch(data["x"][rows], data["y"][rows], data["pool"][points])
        return jc.replicate(batch, plan.members)

    def build(stage: int) -> Callable[[Any], jc.Algorithm]:
        return lambda alpha: jc.dbat(
            loss,
            plan.predict,
            plan.optimizers[stage],
            alpha=alpha,
            member_rounds=plan.rounds[stage],
            **plan.options,
        )

    def models(key: jax.Array) -> Any:
        return jax.vmap(plan.start)(jax.random.split(key, plan.members))

    def stage(number: int, params: Any, alphas: Any, which: Any, label: str) -> Any:
        """The first member, or the ones after it, from models ``[R, M, ...]``."""
        times = len(alphas) // len(seeds)
        replicas = jnp.tile(jax.vmap(jax.random.fold_in, (0, None))(keys, number), times)
        state = jax.vmap(build(number)(0.0).init)(replicas, params)
        rounds = plan.rounds[number]
        state = state._replace(step=jnp.full(len(alphas), number * rounds, jnp.int32))
        data = arrays | {"start": jnp.asarray(starts[which]), "size": jnp.asarray(sizes[which])}
        return jc.fit(
            build(number),
            state,
            data,
            replicas,
            num_rounds=rounds if number == 0 else plan.members * rounds,
            sample=sample,
            data_axes=axes,
            replicas=True,
            settings=jnp.asarray(alphas, jnp.float32),
            description=label,
            **context.fit_options(stage=label),
        )

    count = len(seeds)
    zeros = np.zeros(count, int)
    first = stage(0, jax.vmap(models)(keys), zeros, zeros, "first members")
    params = {"first": first.state.clients.params}
    logs = {"first": first.log}
    if plan.members == 1 or not conditions or first.stopped != "finished":
        return Outcome(params, logs, first.stopped == "finished")
    tiled = jax.tree.map(
        lambda leaf: jnp.tile(leaf, (len(conditions),) + (1,) * (leaf.ndim - 1)), params["first"]
    )
    alphas = np.repeat([condition.alpha for condition in conditions], count)
    which = np.repeat([names.index(condition.pool) for condition in conditions], count)
    later = stage(1, tiled, alphas, which, "later members")
    for i, condition in enumerate(conditions):
        rows = slice(i * count, (i + 1) * count)
        name = label_of(condition)
        params[name] = jax.tree.map(lambda leaf: leaf[rows], later.state.clients.params)  # noqa: B023
        logs[name] = {metric: values[rows] for metric, values in later.log.items()}
    return Outcome(params, logs, later.stopped == "finished")


def label_of(condition: Condition) -> str:
    """Name of a method with its unlabelled set, where that plays a part."""
    return f"{condition.name} ({condition.pool})" if condition.alpha else condition.name
