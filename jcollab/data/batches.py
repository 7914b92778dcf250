"""Batches: one object for the data of all clients and the way in which a round draws from it.

Each object is a pytree. Its arrays are leaves; its numbers and functions are static and compared by
value, so an object that is built again does not cause a new compilation. :func:`jcollab.run` calls
``draw`` for algorithms in which every client computes in every round, and ``local`` for algorithms
in which only sampled clients do.

This module contains batches from arrays or from a function;
:mod:`jcollab.data.sampling` contains batches that are drawn from each client's examples.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
from jcollab.core import LocalRows, round_keys

PyTree = Any
Array = jax.Array

register_batches = functools.partial(jax.tree_util.register_dataclass, data_fields=["data"])


@functools.partial(register_batches, meta_fields=[])
@dataclasses.dataclass(frozen=True)
class FullBatch:
    """The same batch in every round and local step; see :func:`full_batch`."""

    data: PyTree
    length: ClassVar[None] = None

    def draw(self, key: Array, step: Array) -> PyTree:
        """Returns all data."""
        return self.data

    def local(self, key: Array, step: Array) -> FullBatch:
        """Returns the object itself: every local step uses all data."""
        return self

    def rows(self, clients: Array | None, num_steps: int) -> LocalRows:
        """Returns the data of the given clients as the batch of every local step."""
        own = rows_of(self.data, clients)
        return LocalRows(own, (), lambda row, common, key, k: row, True)

    def gather(self, clients: np.ndarray) -> FullBatch:
        """Returns a copy with the data of the given clients only."""
        return FullBatch(rows_of(self.data, clients))


@functools.partial(register_batches, meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Given:
    """One batch for each local step of a round, leaves ``[n, H, ...]``."""

    data: PyTree

    def rows(self, clients: Array | None, num_steps: int) -> LocalRows:
        """Returns the batches of the given clients, one for each local step."""
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.data):
            if jnp.ndim(leaf) < 2 or leaf.shape[1] != num_steps:
                raise ValueError(
                    f"batch{jax.tree_util.keystr(path)} must have shape [n, H={num_steps}, ...], "
                    f"one batch for each local step, got {list(jnp.shape(leaf))}"
                )

        def pick(row: PyTree, common: PyTree, key: Array, k: Array) -> PyTree:
            return jax.tree.map(lambda leaf: leaf[k], row)

        return LocalRows(rows_of(self.data, clients), (), pick, False)

    def gather(self, clients: np.ndarray) -> Given:
        """Returns a copy with the batches of the given clients only."""
        return Given(rows_of(self.data, clients))


@functools.partial(register_batches, meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Stacked:
    """One batch for each round; see :func:`stacked`."""

    data: PyTree

    @property
    def length(self) -> int:
        """The number of rounds T."""
        return len(jax.tree.leaves(self.data)[0])

    def draw(self, key: Array, step: Array) -> PyTree:
        """Returns the batch of the round, leaves ``[n, ...]``."""
        # With a known round, NumPy arrays are indexed in host memory: converting them first would
        # move the batches of all T rounds to the device.
        if not checks.traced(step):
            return jax.tree.map(lambda leaf: leaf[int(step)], self.data)
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[step], self.data)

    def local(self, key: Array, step: Array) -> Given:
        """One batch for each local step of the round, leaves ``[n, H, ...]``."""
        return Given(self.draw(key, step))


@functools.partial(register_batches, meta_fields=["function", "options"])
@dataclasses.dataclass(frozen=True)
class Drawn:
    """Batches that a function computes; see :func:`from_function`."""

    data: PyTree
    function: Callable[..., PyTree]
    options: tuple[tuple[str, Any], ...] = ()
    length: ClassVar[None] = None

    def draw(self, key: Array, step: Array) -> PyTree:
        """Returns the batch that the function computes, leaves ``[n, ...]``."""
        draw_key, _ = round_keys(key, step)
        return _call(self.function, self.options, self.data, draw_key, step)

    def local(self, key: Array, step: Array) -> Given:
        """One batch for each local step of the round, leaves ``[n, H, ...]``."""
        return Given(self.draw(key, step))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _call(function: Callable, options: tuple, data: PyTree, key: Array, step: Array) -> PyTree:
    # static: equal functions and options share one compiled program
    return function(data, key, step, **dict(options))


def full_batch(data: PyTree) -> FullBatch:
    """Returns the same batch in every round, and in every local step of a round.

    Args:
        data: pytree with leaves ``[n, ...]``, which is not copied or changed.

    Example:
        >>> batches = jc.data.full_batch({"x": jnp.ones((3, 5, 2))})  # 5 examples of 3 clients
        >>> batches.draw(jax.random.key(0), 7)["x"].shape
        (3, 5, 2)
    """
    return FullBatch(data)


def stacked(data: PyTree) -> Stacked:
    """Returns batches from arrays that contain one batch for each round.

    Args:
        data: pytree with leaves ``[T, n, ...]``; with H local steps of sampled clients,
            ``[T, n, H, ...]``.

    Raises:
        ValueError: if the leaves have no leading axis, or leading axes of different sizes.

    Example:
        >>> batches = jc.data.stacked(jnp.arange(6).reshape(3, 2))  # 3 rounds, 2 clients
        >>> batches.length, batches.draw(jax.random.key(0), 1).tolist()
        (3, [2, 3])
    """
    lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(data)}
    if len(lengths) != 1 or lengths == {()}:
        raise ValueError(
            f"data must have leaves [T, n, ...] with one T, got leading axes {lengths}"
        )
    return Stacked(data)


def from_function(function: Callable[..., PyTree], data: PyTree = (), **options: Any) -> Drawn:
    """Returns batches that a function computes in every round.

    Args:
        function: ``function(data, key, step, **options) -> batch`` with leaves ``[n, ...]``
            (``[n, H, ...]`` for H local steps of sampled clients), the random key of the round,
            and the index of the round. It is compiled into the run, once for each function and
            set of options.
        data: any pytree of arrays.
        **options: static arguments; they are compared by value.

    Raises:
        TypeError: if ``function`` is not callable, or an option is not hashable.

    Example:
        >>> noise = lambda data, key, step, n: jax.random.normal(key, (n, 2))
        >>> jc.data.from_function(noise, n=4).draw(jax.random.key(0), 0).shape
        (4, 2)
    """
    checks.functions(function=function)
    for name, value in options.items():
        if not isinstance(value, Hashable):
            kind = type(value).__name__
            raise TypeError(f"{name} must be hashable, since options are static, got {kind}")
    return Drawn(data, function, tuple(sorted(options.items())))


def as_local(batch: PyTree) -> Any:
    """Returns batches for sampled clients from a batches object or from arrays ``[n, H, ...]``."""
    return batch if hasattr(batch, "rows") else Given(batch)


def check_clients_of(local: Any, n: int, num_steps: int) -> None:
    """Raises ValueError unless batches for sampled clients have n clients."""
    # shapes alone: nothing is computed
    own = jax.eval_shape(lambda: local.rows(None, num_steps).own)
    if jax.tree.leaves(own):
        got = layout.num_clients(own, "batches")
        if got != n:
            raise ValueError(f"batches must be of the n={n} clients of the state, got n={got}")


def rows_of(data: PyTree, clients: Any) -> PyTree:
    """Returns the rows of the given clients, of all of them for None."""
    return data if clients is None else jax.tree.map(lambda leaf: leaf[clients], data)
