"""Batches: the data of clients, and how a round draws from it, as one object.

Each object is a pytree whose arrays are leaves and whose numbers are static and compared by value,
so that an object that is built anew compiles nothing anew. :func:`jcollab.run` asks it for the
batch of a round: ``draw`` for algorithms of all clients, ``local`` for those that touch only
sampled clients.
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
from jcollab.data.clients import ClientData, ClientRanges, as_lists, check_clients

PyTree = Any
Array = jax.Array

_batches = functools.partial(jax.tree_util.register_dataclass, data_fields=["data"])


@functools.partial(_batches, meta_fields=["batch_size"])
@dataclasses.dataclass(frozen=True)
class Minibatches:
    """Uniform draws, see :func:`minibatches`."""

    data: ClientData | ClientRanges
    batch_size: int
    length: ClassVar[None] = None

    def draw(self, key: Array, step: Array) -> PyTree:
        """One batch of every client, leaves ``[n, b, ...]``."""
        rows = self.rows(None, 1)
        draw_key, _ = round_keys(key, step)
        keys = layout.client_keys(draw_key, len(jax.tree.leaves(rows.own)[0]))
        chosen = jax.vmap(self._choose)(rows.own, keys)
        return jax.tree.map(lambda leaf: leaf[chosen], self.data.examples)

    def local(self, key: Array, step: Array) -> Minibatches:
        """Sampled clients draw in their local steps."""
        return self

    def rows(self, clients: Array | None, num_steps: int) -> LocalRows:
        """Places and numbers of examples of these clients."""

        def pick(own: PyTree, common: PyTree, key: Array, k: Array) -> PyTree:
            chosen = self._choose(own, jax.random.fold_in(key, k))
            return jax.tree.map(lambda leaf: leaf[chosen], common)

        return LocalRows(_places(self.data, clients), self.data.examples, pick, False)

    def gather(self, clients: np.ndarray) -> Minibatches:
        """Examples of these clients alone, in NumPy."""
        return dataclasses.replace(self, data=_gather(self.data, clients))

    def _choose(self, own: tuple[Array, Array], key: Array) -> Array:
        where, count = own
        draw = jax.random.randint(key, (self.batch_size,), 0, count, jnp.int32)
        return where[draw] if where.ndim else where + draw


@functools.partial(_batches, meta_fields=["batch_size", "passes"])
@dataclasses.dataclass(frozen=True)
class Epochs:
    """Passes in random order, see :func:`epochs`; a batch meets at most ``passes`` of them."""

    data: ClientData
    batch_size: int
    passes: int
    length: ClassVar[None] = None

    def draw(self, key: Array, step: Array) -> PyTree:
        """The next batch of every client, leaves ``[n, b, ...]``."""
        where, count = _places(self.data, None)

        def choose(where: Array, count: Array, key: Array) -> Array:
            places = step * self.batch_size + jnp.arange(self.batch_size)
            first = places[0] // count

            def order(i: Array) -> Array:
                return _shuffled(where, count, jax.random.fold_in(key, first + i))

            orders = jax.vmap(order)(jnp.arange(self.passes))
            return orders[places // count - first, places % count]

        chosen = jax.vmap(choose)(where, count, layout.client_keys(key, len(where)))
        return jax.tree.map(lambda leaf: leaf[chosen], self.data.examples)

    def local(self, key: Array, step: Array) -> Epochs:
        """The local steps of a round go through a client's examples, in an order of the round."""
        return self

    def rows(self, clients: Array | None, num_steps: int) -> LocalRows:
        """Places and numbers of examples of these clients."""

        def pick(own: PyTree, common: PyTree, key: Array, k: Array) -> PyTree:
            where, count = own
            places = (k * self.batch_size + jnp.arange(self.batch_size)) % count
            # the order depends on the key of the round alone, not on the local step
            chosen = _shuffled(where, count, key)[places]
            return jax.tree.map(lambda leaf: leaf[chosen], common)

        return LocalRows(_places(self.data, clients), self.data.examples, pick, False)

    def gather(self, clients: np.ndarray) -> Epochs:
        """Examples of these clients alone, in NumPy."""
        return dataclasses.replace(self, data=_gather(self.data, clients))


@functools.partial(_batches, meta_fields=[])
@dataclasses.dataclass(frozen=True)
class FullBatch:
    """The same batch in every round and local step, see :func:`full_batch`."""

    data: PyTree
    length: ClassVar[None] = None

    def draw(self, key: Array, step: Array) -> PyTree:
        """All data."""
        return self.data

    def local(self, key: Array, step: Array) -> FullBatch:
        """Every local step uses all data."""
        return self

    def rows(self, clients: Array | None, num_steps: int) -> LocalRows:
        """The data of these clients."""
        own = _of(self.data, clients)
        return LocalRows(own, (), lambda row, common, key, k: row, True)

    def gather(self, clients: np.ndarray) -> FullBatch:
        """The data of these clients alone."""
        return FullBatch(_of(self.data, clients))


@functools.partial(_batches, meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Given:
    """One batch for each local step of a round: leaves ``[n, H, ...]``."""

    data: PyTree

    def rows(self, clients: Array | None, num_steps: int) -> LocalRows:
        """The batches of these clients."""
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.data):
            if jnp.ndim(leaf) < 2 or leaf.shape[1] != num_steps:
                raise ValueError(
                    f"batch{jax.tree_util.keystr(path)} must have shape [n, H={num_steps}, ...], a "
                    f"batch for each local step, got {list(jnp.shape(leaf))}"
                )

        def pick(row: PyTree, common: PyTree, key: Array, k: Array) -> PyTree:
            return jax.tree.map(lambda leaf: leaf[k], row)

        return LocalRows(_of(self.data, clients), (), pick, False)

    def gather(self, clients: np.ndarray) -> Given:
        """The batches of these clients alone."""
        return Given(_of(self.data, clients))


@functools.partial(_batches, meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Stacked:
    """Batches of every round, see :func:`stacked`."""

    data: PyTree

    @property
    def length(self) -> int:
        """T, the number of rounds."""
        return len(jax.tree.leaves(self.data)[0])

    def draw(self, key: Array, step: Array) -> PyTree:
        """The batch of the round, leaves ``[n, ...]``."""
        if not checks.traced(step):  # arrays in host memory stay there
            return jax.tree.map(lambda leaf: leaf[int(step)], self.data)
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[step], self.data)

    def local(self, key: Array, step: Array) -> Given:
        """One batch for each local step of the round, leaves ``[n, H, ...]``."""
        return Given(self.draw(key, step))


@functools.partial(_batches, meta_fields=["function", "options"])
@dataclasses.dataclass(frozen=True)
class Drawn:
    """Batches from a function, see :func:`from_function`."""

    data: PyTree
    function: Callable[..., PyTree]
    options: tuple[tuple[str, Any], ...] = ()
    length: ClassVar[None] = None

    def draw(self, key: Array, step: Array) -> PyTree:
        """What the function returns, leaves ``[n, ...]``."""
        draw_key, _ = round_keys(key, step)
        return _call(self.function, self.options, self.data, draw_key, step)

    def local(self, key: Array, step: Array) -> Given:
        """One batch for each local step of the round, leaves ``[n, H, ...]``."""
        return Given(self.draw(key, step))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _call(function: Callable, options: tuple, data: PyTree, key: Array, step: Array) -> PyTree:
    return function(data, key, step, **dict(options))


def minibatches(data: ClientData | ClientRanges, batch_size: int) -> Minibatches:
    """Batches that each client draws from its own examples, uniformly with replacement.

    Args:
        data: from :func:`jcollab.data.by_client`, :func:`jcollab.data.from_clients` or
            :func:`jcollab.data.by_owner`.
        batch_size: b, examples in a batch; for sampled clients, in a batch of a local step.

    Raises:
        TypeError: if ``data`` is not the data of clients.
        ValueError: if batch_size < 1.

    Example:
        >>> data = jc.data.by_client(jnp.arange(6.0), [[0, 1], [2, 3, 4, 5]])
        >>> jc.data.minibatches(data, 8).draw(jax.random.key(0), 0).shape
        (2, 8)
    """
    check_clients(data)
    checks.count("batch_size", batch_size)
    return Minibatches(data, batch_size)


def epochs(data: ClientData | ClientRanges, batch_size: int) -> Epochs:
    """Batches from passes through each client's own examples, in an order drawn for each pass.

    A batch goes on into the next pass where a pass ends. With sampled clients
    (:func:`jcollab.federated`), every round begins a new pass.

    Args:
        data: from :func:`jcollab.data.by_client` or :func:`jcollab.data.from_clients`. Ranges
            (:func:`jcollab.data.by_owner`) become lists, as long as that of the largest client.
        batch_size: b, examples in a batch (of a local step).

    Raises:
        TypeError: if ``data`` is not the data of clients, or is traced and has ranges.
        ValueError: if batch_size < 1.
    """
    check_clients(data)
    checks.count("batch_size", batch_size)
    if isinstance(data, ClientRanges):
        if checks.traced(data.start, data.size):
            raise TypeError("data must be ClientData where it is traced, got ClientRanges")
        data = as_lists(data)
    smallest = 1 if checks.traced(data.mask) else int(np.min(np.sum(data.mask, -1)))
    return Epochs(data, batch_size, 1 + -(-(batch_size - 1) // smallest))


def full_batch(data: PyTree) -> FullBatch:
    """The same batch in every round, and in every local step of it.

    Args:
        data: pytree with leaves ``[n, ...]``, passed on as it is.

    Raises:
        ValueError: if a leaf has no client axis.
    """
    return FullBatch(data)


def stacked(data: PyTree) -> Stacked:
    """Batches that exist already, one for each round.

    Args:
        data: pytree with leaves ``[T, n, ...]``; with H local steps, ``[T, n, H, ...]``.

    Raises:
        ValueError: if leaves do not lead with ``[T, n]``, or with different T.
    """
    lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(data)}
    if len(lengths) != 1 or lengths == {()}:
        raise ValueError(
            f"data must have leaves [T, n, ...] with one T, got leading axes {lengths}"
        )
    return Stacked(data)


def from_function(function: Callable[..., PyTree], data: PyTree = (), **options: Any) -> Drawn:
    """Batches from a function of the data, a random key of the round, and the round.

    Args:
        function: ``function(data, key, step, **options) -> batch`` with leaves ``[n, ...]``
            (``[n, H, ...]`` for H local steps of sampled clients). It is compiled into the run,
            once for each function and options.
        data: any pytree of arrays.
        **options: static arguments, which are compared by value.

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


def arriving(data: ClientData | ClientRanges, schedule: Any, batch_size: int) -> Drawn:
    """Batches of the client that arrives in a round alone, leaves ``[1, b, ...]``.

    They are those that :func:`minibatches` draws for that client.

    Args:
        data: as for :func:`minibatches`.
        schedule: :class:`jcollab.theory.arrivals.Arrivals`, or numbers of clients, int ``[T]``;
            rounds beyond the last start again.
        batch_size: b, examples of an arrival.

    Raises:
        TypeError: if ``data`` is not the data of clients, or the schedule has no integers.
        ValueError: if batch_size < 1, or the schedule names clients that are missing.
    """
    check_clients(data)
    checks.count("batch_size", batch_size)
    clients = getattr(schedule, "client", schedule)
    n = len(data.indices if isinstance(data, ClientData) else data.start)
    checks.integers("schedule", clients, ("T",), at_least=-1, at_most=n - 1)
    clients = jnp.asarray(clients)
    return from_function(_arriving, (data, clients), batch_size=batch_size)


def _arriving(data: tuple[Any, Array], key: Array, step: Array, batch_size: int) -> PyTree:
    own, clients = data
    i = clients[step % len(clients)]
    chosen = Minibatches(own, batch_size)._choose(_places(own, i), jax.random.fold_in(key, i))
    return jax.tree.map(lambda leaf: leaf[chosen][None], own.examples)


def as_local(batch: PyTree) -> Any:
    """What sampled clients take batches from: such an object, or arrays ``[n, H, ...]``."""
    return batch if hasattr(batch, "rows") else Given(batch)


def check_clients_of(local: Any, n: int, num_steps: int) -> None:
    """ValueError unless batches for sampled clients are those of n clients."""
    own = jax.eval_shape(lambda: local.rows(None, num_steps).own)
    if jax.tree.leaves(own):
        got = layout.num_clients(own, "batches")
        if got != n:
            raise ValueError(f"batches must be of the n={n} clients of the state, got n={got}")


def _places(data: Any, clients: Array | None) -> tuple[Array, Array]:
    """Where the examples of clients are, and how many."""
    if hasattr(data, "start"):
        return _of((data.start, data.size), clients)
    indices, mask = _of((data.indices, data.mask), clients)
    return indices, mask.sum(-1)


def _shuffled(where: Array, count: Array, key: Array) -> Array:
    rank = jnp.where(
        jnp.arange(len(where)) < count, jax.random.uniform(key, where.shape, jnp.float32), 2
    )
    return where[jnp.argsort(rank)]


def _gather(data: Any, clients: np.ndarray) -> ClientData:
    if hasattr(data, "start"):
        few = ClientRanges((), np.asarray(data.start)[clients], np.asarray(data.size)[clients])
        # few widths, so that few are compiled for
        lists = as_lists(few, 1 << int(few.size.max() - 1).bit_length())
        where, mask = np.asarray(lists.indices), np.asarray(lists.mask)
    else:
        where, mask = np.asarray(data.indices)[clients], np.asarray(data.mask)[clients]
    examples = jax.tree.map(lambda leaf: np.asarray(leaf)[where.ravel()], data.examples)
    return ClientData(examples, np.arange(where.size, dtype=np.int32).reshape(where.shape), mask)


def _of(data: PyTree, clients: Any) -> PyTree:
    return data if clients is None else jax.tree.map(lambda leaf: leaf[clients], data)
