"""Evaluation of every client on examples of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
from jcollab.core import (
    Array,
    Metrics,
    Predict,
    PyTree,
    State,
    is_right,
    lift_predict,
    model_state_of,
    program,
)
from jcollab.data import ClientData, ClientRanges
from jcollab.data.clients import check_clients
from jcollab.metrics.states import models_of

Measure = Callable[[Any, Any], Array]
DECILES = np.linspace(0, 1, 11)
HISTOGRAM = tuple(np.linspace(0, 1, 11).tolist())
BLOCK_COST = 8  # a block of examples costs as much as so many examples more, to read a model


def by_client(
    predict: Predict,
    data: ClientData | ClientRanges,
    *,
    measure: Measure = is_right,
    name: str = "accuracy",
    higher_is_better: bool = True,
    edges: Sequence[float] | None = HISTOGRAM,
    batch_size: int = 128,
) -> Callable:
    """Builds an evaluation of the model of every client on the client's own examples.

    The value of client i is the mean of ``measure`` over its m_i examples. All clients use the
    server's model, or each its own one if the state has n models.

    Args:
        predict: ``predict(params, x) -> [b, ...]`` of one model. For a model with state (batch
            statistics), ``jc.stateful(predict)`` of ``predict(params, model_state, x)``.
        data: examples ``(x, y)`` of n clients, for example the test part of
            :func:`jcollab.data.split`.
        measure: ``measure(predictions, y) -> [b]``, one value for each example. The default takes
            logits ``[b, C]`` and returns 1 where the label has the largest one, else 0.
        name: what is measured, part of the names of the results.
        higher_is_better: whether the worst client has the lowest value.
        edges: edges of the histogram, increasing, ``[k + 1]``; None for no histogram. Values
            outside of the edges count in the first or the last bin.
        batch_size: largest number of examples per call of ``predict``, which bounds the memory.

    Returns:
        ``evaluate(state) -> dict`` with, for the name "accuracy", ``mean_accuracy`` over clients,
        ``weighted_accuracy`` (by m_i: the mean over all examples), ``worst_accuracy``,
        ``accuracy_deciles`` ``[11]`` over clients from the lowest to the highest,
        ``accuracy_histogram`` ``[k]``, numbers of clients, and ``client_accuracy`` ``[n]``. Instead
        of a state, ``evaluate`` also accepts stacked models ``[n, ...]`` or ``[1, ...]``.

    Raises:
        TypeError: if ``predict`` or ``measure`` is not callable, or ``data`` is not the data of
            clients with examples ``(x, y)``.
        ValueError: if edges do not increase, or batch_size < 1; when the evaluation is called, if
            the number of models is neither 1 nor n, a label is out of range, or ``measure`` does
            not return one value for each example.

    Example:
        >>> x, y = np.array([[-1.0], [1.0], [2.0]]), np.array([0, 1, 0])
        >>> test = jc.data.by_owner((x, y), owners=["ann", "bob", "bob"])
        >>> predict = lambda params, x: jnp.concatenate([-x, x], axis=1) * params
        >>> evaluate = jc.metrics.by_client(predict, test)
        >>> result = evaluate(jnp.array([1.0]))  # one model for all clients
        >>> result["client_accuracy"].tolist(), result["worst_accuracy"].item()
        ([1.0, 0.5], 0.5)
    """
    lift_predict(predict)
    checks.functions(measure=measure)
    checks.kind(str, name=name)
    checks.count("batch_size", batch_size)
    check_clients(data)
    if not isinstance(data.examples, tuple) or len(data.examples) != 2:
        raise TypeError(f"data must have examples (x, y), got {type(data.examples).__name__}")
    x, y = jax.tree.map(jnp.asarray, tuple(data.examples))
    if measure is is_right:
        checks.labels("y", data.examples[1], (len(y),))
    bins = None if edges is None else _edges(edges)
    starts, rows, sizes = _own_rows(data)
    tables = {False: _blocks(starts, rows, sizes, batch_size)}
    tables[True] = _flat(rows, sizes, batch_size)  # for a model that all clients share
    n = len(sizes)

    def evaluate(state: State | PyTree) -> Metrics:
        models = models_of(state)
        carried = model_state_of(state) if isinstance(state, State) else ()
        count = layout.num_clients(models, "models")
        if count not in (1, n):
            raise ValueError(f"models must be 1 or those of n={n} clients, got {count}")
        shared = count == 1 and _length(carried) in (0, 1)
        key = ("by_client", n, shared, name, higher_is_better, bins, measure)

        def build(get: Callable[[], Predict]) -> Callable:
            return _program(get, measure, name, n, shared, higher_is_better, bins)

        metrics, classes = program(predict, key, build)(
            (models, carried), x, y, tables[shared], jnp.asarray(sizes)
        )
        if measure is is_right:
            checks.labels("y", data.examples[1], (len(y),), classes.shape[-1])
        return metrics

    return evaluate


def _program(
    get: Callable[[], Predict],
    measure: Measure,
    name: str,
    n: int,
    shared: bool,
    higher_is_better: bool,
    bins: tuple[float, ...] | None,
) -> Callable:
    """Builds ``run(models, x, y, table, sizes) -> (metrics, zeros [..., C])``.

    The shape of the zeros shows C, which is known only when the model is traced.
    """

    def run(
        models: PyTree, x: Array, y: Array, table: tuple, sizes: Array
    ) -> tuple[Metrics, Array]:
        look = lift_predict(get())

        def model(client: Array) -> PyTree:
            return jax.tree.map(lambda leaf: leaf[client if len(leaf) > 1 else 0], models)

        def block(client: Array, rows: Array, valid: Array) -> tuple[Array, Array]:
            params, model_state = model(client)
            predictions = look(params, model_state, x[rows])
            values = measure(predictions, y[rows])
            if jnp.shape(values) != rows.shape:
                raise ValueError(
                    f"measure must return one value for each of the b={len(rows)} examples, got "
                    f"shape {list(jnp.shape(values))}"
                )
            return jnp.where(valid, values, 0), jnp.zeros(predictions.shape[-1:])

        clients, rows, valid, owners = table
        each = layout.per_client(block, bytes_each=_bytes(models, x, rows.shape[1]))
        values, classes = each(clients, rows, valid)
        totals = jax.ops.segment_sum(values.reshape(-1), owners.reshape(-1), n)
        own = totals / sizes
        metrics = {
            f"mean_{name}": own.mean(),
            f"weighted_{name}": totals.sum() / sizes.sum(),
            f"worst_{name}": own.min() if higher_is_better else own.max(),
            f"{name}_deciles": jnp.quantile(own, DECILES.astype(own.dtype)),
            f"client_{name}": own,
        }
        if bins:
            inner = jnp.asarray(bins[1:-1], own.dtype)
            place = jnp.searchsorted(inner, own, side="right")
            metrics[f"{name}_histogram"] = jnp.bincount(place, length=len(bins) - 1)
        return metrics, classes[0]

    return jax.jit(run, compiler_options=layout.compiler_options())


def _bytes(models: PyTree, x: Array, rows: int) -> int:
    """Returns the memory of a block: its model and its examples."""
    leaves = jax.tree.leaves(models)
    own = sum(leaf.nbytes // len(leaf) for leaf in leaves)
    return own + rows * x.nbytes // max(len(x), 1)


def _own_rows(data: ClientData | ClientRanges) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the rows of all clients one after the other, where each begins, and their numbers."""
    if isinstance(data, ClientData):
        mask = np.asarray(data.mask)
        rows, sizes = np.asarray(data.indices)[mask], mask.sum(1)
    else:
        sizes = np.asarray(data.size)
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows = np.repeat(np.asarray(data.start), sizes) + within
    return np.cumsum(sizes) - sizes, rows, sizes


def _blocks(starts: np.ndarray, rows: np.ndarray, sizes: np.ndarray, most: int) -> tuple:
    """Splits the rows of every client into blocks of one length, the last one filled up."""
    lengths = [2**k for k in range(most.bit_length()) if 2**k < most] + [most]
    costs = [(-(-sizes // b)).sum() * (b + BLOCK_COST) for b in lengths]
    b = lengths[int(np.argmin(costs))]
    count = -(-sizes // b)
    owners = np.repeat(np.arange(len(sizes)), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    place = (within * b)[:, None] + np.arange(b)
    valid = place < sizes[owners][:, None]
    place = np.where(valid, place, 0) + starts[owners][:, None]
    return _arrays(owners, rows[place], valid, np.broadcast_to(owners[:, None], place.shape))


def _flat(rows: np.ndarray, sizes: np.ndarray, most: int) -> tuple:
    """Splits the rows of all clients, which share a model, into blocks; the last is filled up."""
    b = min(most, len(rows))
    count = -(-len(rows) // b)
    place = np.arange(count * b).reshape(count, b)
    valid = place < len(rows)
    place = np.where(valid, place, 0)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    return _arrays(np.zeros(count, int), rows[place], valid, owners[place])


def _arrays(client: np.ndarray, rows: np.ndarray, valid: np.ndarray, owners: np.ndarray) -> tuple:
    whole = (jnp.asarray(array, jnp.int32) for array in (client, rows))
    return (*whole, jnp.asarray(valid), jnp.asarray(owners, jnp.int32))


def _edges(edges: Sequence[float]) -> tuple[float, ...]:
    values = np.asarray(edges, float)
    if values.ndim != 1 or len(values) < 2 or not (np.diff(values) > 0).all():
        raise ValueError(f"edges must be increasing numbers [k + 1], k >= 1, got {edges}")
    return tuple(values.tolist())


def _length(tree: PyTree) -> int:
    leaves = jax.tree.leaves(tree)
    return len(leaves[0]) if leaves else 0
