"""Local training in passes through ONE client's examples, in mini-batches in random order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jcollab import layout
from jcollab.algorithms.local_step import optimizer_update
from jcollab.core import Array, Metrics, PyTree

# Examples in one forward pass over all of a client's data, on a CPU and elsewhere. On a CPU the
# outputs of a layer should fit into the cache.
LOOPED, AT_ONCE = 40, 512


def rows_of(data: Any) -> tuple[PyTree, PyTree, int, int]:
    """Splits the data of a round into per-client rows and a shared part.

    Args:
        data: :class:`jcollab.data.ClientData`, or fields ``x [n, m, ...]`` and ``y [n, m]``.

    Returns:
        Rows of the clients ``[n, ...]``, what all clients share (() if nothing), n and m.

    Raises:
        TypeError: if it is neither.
        ValueError: if x and y differ in their leading axes.
    """
    # ClientData stores all examples once, and clients index into them; x and y are per client.
    if hasattr(data, "indices"):
        return (data.indices, data.mask), data.examples, *data.indices.shape
    if not (hasattr(data, "x") and hasattr(data, "y")):
        raise TypeError(
            f"batch must be ClientData, or have fields x and y, got {type(data).__name__}"
        )
    if jnp.ndim(data.y) != 2 or jnp.shape(data.x)[:2] != jnp.shape(data.y):
        raise ValueError(
            "batch must have x [n, m, ...] and y [n, m], got "
            f"{list(jnp.shape(data.x))} and {list(jnp.shape(data.y))}"
        )
    return (data.x, data.y), (), *data.y.shape


def examples_of(own: PyTree, common: PyTree, places: Array) -> tuple[Array, Array, Array]:
    """Returns examples, labels and a mask ``[b]`` for one client's row and places ``[b]``."""
    if isinstance(common, tuple) and not common:
        x, y = own
        return x[places], y[places], jnp.ones(places.shape, bool)
    indices, mask = own
    rows = indices[places]
    return common.x[rows], common.y[rows], mask[places]


def epochs(
    step_loss: Callable[..., tuple[Array, PyTree, Metrics]],
    optimizer: optax.GradientTransformation,
    size: int,
    batch_size: int | None,
    count: int,
) -> Callable[..., tuple[PyTree, PyTree, PyTree, Metrics]]:
    """Builds the local training of one client.

    Every pass uses the client's examples in a new random order. The last batch of a pass may be
    smaller, and its loss is averaged over its own size. It is padded with other examples of the
    client, which influence batch statistics only.

    Args:
        step_loss: ``step_loss(params, model_state, x, y, key) -> (values [b], model_state,
            metrics [b])``.
        optimizer: local optimizer.
        size: m, the length of a client's row, padding included.
        batch_size: b; None for all examples in one step.
        count: number of passes.

    Returns:
        ``train(params, model_state, opt_state, own, common, key, round_)``, which returns new
        values of the first three, and metrics: means over all examples of all passes, the loss as
        ``"loss"``.
    """
    width = size if batch_size is None else min(batch_size, size)
    steps = -(-size // width)

    def train(
        params: PyTree,
        model_state: PyTree,
        opt_state: PyTree,
        own: PyTree,
        common: PyTree,
        key: Array,
        round_: Array,
    ) -> tuple[PyTree, PyTree, PyTree, Metrics]:
        anchor = params
        there = examples_of(own, common, jnp.arange(size))[2] if common else jnp.ones(size, bool)

        # A random order of the client's k examples, by sorting uniform numbers in [0, 1). Padding
        # gets the rank 2 and comes last. Places k, k + 1, ... repeat the order from its start: the
        # last batch is full, with examples of the client, and ``turn < k`` masks the repeated ones.
        def order(key: Array) -> tuple[Array, Array]:
            rank = jnp.where(there, jax.random.uniform(key, (size,), jnp.float32), 2)
            turn = jnp.arange(steps * width)
            places = jnp.argsort(rank)[turn % jnp.maximum(there.sum(), 1)]
            return places.reshape(steps, width), (turn < there.sum()).reshape(steps, width)

        order_key, loss_key = jax.random.split(key)
        places, counts = jax.vmap(order)(jax.random.split(order_key, count))
        places, counts = (x.reshape(count * steps, width) for x in (places, counts))

        def step(carry: tuple, item: tuple) -> tuple[tuple, Metrics]:
            params, model_state, opt_state = carry
            places, counts, key = item
            x, y, _ = examples_of(own, common, places)
            number = jnp.maximum(counts.sum(), 1)

            @layout.fast_layers
            def mean(params: PyTree) -> tuple[Array, tuple[PyTree, Metrics]]:
                values, carried, metrics = step_loss(params, model_state, x, y, key)
                value = jnp.where(counts, values, 0).sum() / number.astype(values.dtype)
                sums = jax.tree.map(
                    lambda v: jnp.where(counts, v, 0).sum(), {"loss": values, **metrics}
                )
                return value, (carried, sums)

            (value, (carried, sums)), grads = jax.value_and_grad(mean, has_aux=True)(params)
            updates, new_state = optimizer_update(
                optimizer,
                grads,
                opt_state,
                params,
                value=value,
                value_fn=lambda params: mean(params)[0],
                anchor=anchor,
                step=round_,
            )
            new = optax.apply_updates(params, updates), carried, new_state
            # Every client takes the number of steps of the largest one. A batch without any example
            # of its own must change nothing, not even the momentum or step count of the optimizer.
            if common:
                live = counts.any()
                new = optax.tree.where(live, new, carry)
            return new, sums

        keys = jax.random.split(loss_key, count * steps)
        new, sums = jax.lax.scan(step, (params, model_state, opt_state), (places, counts, keys))
        # sums over steps divided by examples: steps with small batches have a small weight
        total = jnp.maximum(count * there.sum(), 1)  # a client may have no examples
        return *new, jax.tree.map(lambda v: v.sum() / total.astype(v.dtype), sums)

    return train


def over_all(fn: Callable[[Array], Array], own: PyTree, common: PyTree, size: int) -> tuple:
    """Evaluates ``fn(x [b, ...]) -> [b, ...]`` on all examples of one client, in several parts.

    Returns:
        Results ``[m, ...]``, labels ``[m]``, and a mask ``[m]``, False for padding.
    """
    parts = -(-size // (LOOPED if layout.loops() else AT_ONCE))
    width = -(-size // parts)
    # equal parts for a loop: the last one repeats the last example, and its results are cut off
    places = jnp.minimum(jnp.arange(parts * width), size - 1).reshape(parts, width)

    def part(places: Array) -> tuple[Array, Array, Array]:
        x, y, counts = examples_of(own, common, places)
        return fn(x), y, counts

    if parts == 1:
        return part(places[0])
    outputs = jax.lax.map(part, places)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:size], outputs)
