"""Where the sampled clients of a round take the batches of their local steps from.

A source reads what :func:`jcollab.federated` gets as ``batch``, in two steps: ``rows`` gathers what
the sampled clients own, so that nothing else is touched, and ``pick`` makes the batch of one local
step of ONE client from its row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcollab.core import Array, PyTree


class Source(NamedTuple):
    """How batches are found.

    Attributes:
        rows: ``rows(data, clients, num_steps) -> (rows [m, ...], common)`` for the sampled clients,
            int ``[m]``, or None where all n take part in their order; what is common has no client
            axis.
        pick: ``pick(row, common, key, k) -> batch`` of local step k, for ONE client.
        repeats: whether all local steps of a round see the same batch.
        gather: ``gather(data, clients) -> data`` of these clients alone, in NumPy, for data in host
            memory.
    """

    rows: Callable[[PyTree, Array | None, int], tuple[PyTree, PyTree]]
    pick: Callable[[PyTree, PyTree, Array, Array], PyTree]
    repeats: bool
    gather: Callable[[PyTree, np.ndarray], PyTree]


def stacked() -> Source:
    """One batch for each local step: data leaves are ``[n, H, ...]``."""

    def rows(data: PyTree, clients: Array | None, num_steps: int) -> tuple[PyTree, PyTree]:
        for path, leaf in jax.tree_util.tree_leaves_with_path(data):
            if jnp.ndim(leaf) < 2 or leaf.shape[1] != num_steps:
                raise ValueError(
                    f"batch{jax.tree_util.keystr(path)} must have shape [n, H={num_steps}, ...], a "
                    f"batch for each local step, got {list(jnp.shape(leaf))}"
                )
        return _of(data, clients), ()

    return Source(rows, lambda row, common, key, k: jax.tree.map(lambda x: x[k], row), False, _of)


def repeated() -> Source:
    """The same batch in every local step (full-batch steps, say): data leaves are ``[n, ...]``."""
    return Source(
        lambda data, clients, num_steps: (_of(data, clients), ()),
        lambda row, common, key, k: row,
        True,
        _of,
    )


def local_batches(batch_size: int, *, replace: bool = True) -> Source:
    """Batches that each client draws from its own examples.

    Args:
        batch_size: b, examples in a local step.
        replace: whether a client draws uniformly with replacement; otherwise its local steps go
            through its examples in a random order, anew in every round and over and over
            (:class:`jcollab.data.ClientData` only).

    Returns:
        A source for :class:`jcollab.data.ClientData` and :class:`jcollab.data.ClientRanges`.

    Raises:
        ValueError: if batch_size < 1; when it is used, for ranges without replacement.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")

    def rows(data: Any, clients: Array | None, num_steps: int) -> tuple[PyTree, PyTree]:
        if hasattr(data, "start"):
            if not replace:
                raise ValueError("replace must be True for ClientRanges, got False")
            return _of((data.start, data.size), clients), data.examples
        indices, mask = _of((data.indices, data.mask), clients)
        return (indices, mask.sum(1)), data.examples

    def pick(row: Any, common: Any, key: Array, k: Array) -> PyTree:
        where, count = row
        if not replace:
            # the order depends on the round's key alone, not on the step
            rank = jnp.where(
                jnp.arange(len(where)) < count, jax.random.uniform(key, where.shape), 2
            )
            places = (k * batch_size + jnp.arange(batch_size)) % count
            chosen = where[jnp.argsort(rank)[places]]
        else:
            draw = jax.random.randint(jax.random.fold_in(key, k), (batch_size,), 0, count)
            chosen = where[draw] if where.ndim else where + draw
        return jax.tree.map(lambda leaf: leaf[chosen], common)

    return Source(rows, pick, False, _gather)


class _ClientRows(NamedTuple):
    """Data of a few clients, in the form of :class:`jcollab.data.ClientData`."""

    examples: PyTree
    indices: np.ndarray
    mask: np.ndarray


def _gather(data: Any, clients: np.ndarray) -> _ClientRows:
    if hasattr(data, "start"):
        start, count = np.asarray(data.start)[clients], np.asarray(data.size)[clients]
        width = 1 << int(count.max() - 1).bit_length()  # few widths, so that few are compiled for
        mask = np.arange(width) < count[:, None]
        where = start[:, None] + np.where(mask, np.arange(width), 0)
    else:
        where, mask = np.asarray(data.indices)[clients], np.asarray(data.mask)[clients]
    examples = jax.tree.map(lambda leaf: np.asarray(leaf)[where.ravel()], data.examples)
    return _ClientRows(examples, np.arange(where.size, dtype=np.int32).reshape(where.shape), mask)


def _of(data: PyTree, clients: Any) -> PyTree:
    return data if clients is None else jax.tree.map(lambda leaf: leaf[clients], data)
