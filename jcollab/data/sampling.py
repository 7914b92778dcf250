"""Batches that are drawn from each client's examples, at random or in passes."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
from jcollab.core import LocalRows, round_keys
from jcollab.data.batches import Drawn, from_function, register_batches, rows_of
from jcollab.data.clients import ClientData, ClientRanges, as_lists, check_clients

PyTree = Any
Array = jax.Array


@functools.partial(register_batches, meta_fields=["batch_size"])
@dataclasses.dataclass(frozen=True)
class Minibatches:
    """Uniform draws with replacement; see :func:`minibatches`."""

    data: ClientData | ClientRanges
    batch_size: int
    length: ClassVar[None] = None

    def draw(self, key: Array, step: Array) -> PyTree:
        """Returns one batch of every client, leaves ``[n, b, ...]``."""
        rows = self.rows(None, 1)
        draw_key, _ = round_keys(key, step)
        keys = layout.client_keys(draw_key, len(jax.tree.leaves(rows.own)[0]))
        chosen = jax.vmap(self._choose)(rows.own, keys)
        # Only the indices [n, b] are computed per client. The examples are shared by all clients,
        # so one gather outside of the vmap collects the batches of all of them on the device.
        return jax.tree.map(lambda leaf: leaf[chosen], self.data.examples)

    def local(self, key: Array, step: Array) -> Minibatches:
        """Returns the object itself: sampled clients draw in each of their local steps."""
        return self

    def rows(self, clients: Array | None, num_steps: int) -> LocalRows:
        """Returns the indices and counts of the given clients' examples, and how to draw."""

        def pick(own: PyTree, common: PyTree, key: Array, k: Array) -> PyTree:
            chosen = self._choose(own, jax.random.fold_in(key, k))
            return jax.tree.map(lambda leaf: leaf[chosen], common)

        return LocalRows(_places(self.data, clients), self.data.examples, pick, False)

    def gather(self, clients: np.ndarray) -> Minibatches:
        """Returns a copy with the examples of the given clients only, as NumPy arrays."""
        return dataclasses.replace(self, data=_gather(self.data, clients))

    def _choose(self, own: tuple[Array, Array], key: Array) -> Array:
        where, count = own
        draw = jax.random.randint(key, (self.batch_size,), 0, count, jnp.int32)
        # ``where`` is a list of indices [m] (ClientData) or the start of a range [] (ClientRanges)
        return where[draw] if where.ndim else where + draw


@functools.partial(register_batches, meta_fields=["batch_size", "passes"])
@dataclasses.dataclass(frozen=True)
class Epochs:
    """Passes in random order; see :func:`epochs`. A batch overlaps at most ``passes`` passes."""

    data: ClientData
    batch_size: int
    passes: int
    length: ClassVar[None] = None

    def draw(self, key: Array, step: Array) -> PyTree:
        """Returns the next batch of every client, leaves ``[n, b, ...]``."""
        where, count = _places(self.data, None)

        # Place p of the sequence of all examples ever drawn lies in pass p // count. The order of
        # a pass is computed again in each of its rounds, from the client's key and the index of
        # the pass. No state is needed, and a run can be resumed at any round.
        def choose(where: Array, count: Array, key: Array) -> Array:
            places = step * self.batch_size + jnp.arange(self.batch_size)
            first = places[0] // count

            def order(i: Array) -> Array:
                return _shuffled(where, count, jax.random.fold_in(key, first + i))

            orders = jax.vmap(order)(jnp.arange(self.passes))
            return orders[places // count - first, places % count]

        # the key of the run and not of the round: the order has to last for the whole pass
        chosen = jax.vmap(choose)(where, count, layout.client_keys(key, len(where)))
        return jax.tree.map(lambda leaf: leaf[chosen], self.data.examples)

    def local(self, key: Array, step: Array) -> Epochs:
        """Returns the object itself: the local steps of each round begin a new pass."""
        return self

    def rows(self, clients: Array | None, num_steps: int) -> LocalRows:
        """Returns the indices and counts of the given clients' examples, and how to draw."""

        def pick(own: PyTree, common: PyTree, key: Array, k: Array) -> PyTree:
            where, count = own
            places = (k * self.batch_size + jnp.arange(self.batch_size)) % count
            # ``key`` is the same in all local steps of a round. It is not combined with k, so that
            # the steps go through one order.
            chosen = _shuffled(where, count, key)[places]
            return jax.tree.map(lambda leaf: leaf[chosen], common)

        return LocalRows(_places(self.data, clients), self.data.examples, pick, False)

    def gather(self, clients: np.ndarray) -> Epochs:
        """Returns a copy with the examples of the given clients only, as NumPy arrays."""
        return dataclasses.replace(self, data=_gather(self.data, clients))


def minibatches(data: ClientData | ClientRanges, batch_size: int) -> Minibatches:
    """Returns batches that each client draws from its examples, uniformly with replacement.

    Args:
        data: from :func:`jcollab.data.by_client`, :func:`jcollab.data.from_clients` or
            :func:`jcollab.data.by_owner`.
        batch_size: b, examples in a batch (of a local step, for sampled clients).

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
    """Returns batches from passes through each client's examples, in a new random order per pass.

    Where a pass ends within a batch, the batch continues with the next pass. With sampled clients
    (:func:`jcollab.federated`), every round begins a new pass.

    Args:
        data: from :func:`jcollab.data.by_client` or :func:`jcollab.data.from_clients`. Ranges
            (:func:`jcollab.data.by_owner`) are converted to lists of indices, padded to the length
            of the longest.
        batch_size: b, examples in a batch (of a local step, for sampled clients).

    Raises:
        TypeError: if ``data`` is not the data of clients, or is traced and has ranges.
        ValueError: if batch_size < 1.

    Example:
        >>> data = jc.data.by_client(jnp.arange(6), [[0, 1, 2, 3], [4, 5]])
        >>> batches = jc.data.epochs(data, batch_size=4)
        >>> batch = jax.jit(batches.draw)(jax.random.key(0), 0)
        >>> np.sort(batch).tolist()  # one pass of the first client, two passes of the second
        [[0, 1, 2, 3], [4, 4, 5, 5]]
    """
    check_clients(data)
    checks.count("batch_size", batch_size)
    if isinstance(data, ClientRanges):
        if checks.traced(data.start, data.size):
            raise TypeError("data must be ClientData where it is traced, got ClientRanges")
        data = as_lists(data)
    # A batch that begins at the last example of a pass has b - 1 more, which reach the most passes
    # for the client with the fewest examples. A traced count may be as small as 1.
    smallest = 1 if checks.traced(data.mask) else int(np.min(np.sum(data.mask, -1)))
    return Epochs(data, batch_size, 1 + -(-(batch_size - 1) // smallest))


def arriving(data: ClientData | ClientRanges, schedule: Any, batch_size: int) -> Drawn:
    """Returns batches of only the client that arrives in a round, leaves ``[1, b, ...]``.

    They equal the batches that :func:`minibatches` draws for that client in that round.

    Args:
        data: as for :func:`minibatches`.
        schedule: :class:`jcollab.theory.arrivals.Arrivals`, or indices of clients, int ``[T]``;
            after T rounds, the schedule is repeated.
        batch_size: b, examples in a batch.

    Raises:
        TypeError: if ``data`` is not the data of clients, or the schedule is not integers.
        ValueError: if batch_size < 1, or an index in the schedule is out of range.

    Example:
        >>> data = jc.data.by_client(jnp.arange(4), [[0, 1], [2, 3]])
        >>> batches = jc.data.arriving(data, [0, 1, 1], batch_size=5)
        >>> [int(batches.draw(jax.random.key(0), t).max()) > 1 for t in range(3)]
        [False, True, True]
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
    # fold_in(key, i) is the key of client i in layout.client_keys
    chosen = Minibatches(own, batch_size)._choose(_places(own, i), jax.random.fold_in(key, i))
    return jax.tree.map(lambda leaf: leaf[chosen][None], own.examples)


def _places(data: Any, clients: Array | None) -> tuple[Array, Array]:
    """Returns where the examples of the clients are, and their counts ``[n]``."""
    if hasattr(data, "start"):
        return rows_of((data.start, data.size), clients)
    indices, mask = rows_of((data.indices, data.mask), clients)
    return indices, mask.sum(-1)


def _shuffled(where: Array, count: Array, key: Array) -> Array:
    # Padded places get a rank above all draws from [0, 1), so that they come last in the order.
    rank = jnp.where(
        jnp.arange(len(where)) < count, jax.random.uniform(key, where.shape, jnp.float32), 2
    )
    return where[jnp.argsort(rank)]


def _gather(data: Any, clients: np.ndarray) -> ClientData:
    if hasattr(data, "start"):
        few = ClientRanges((), np.asarray(data.start)[clients], np.asarray(data.size)[clients])
        # rounded up to a power of two: each width is a shape, and each shape is compiled once
        lists = as_lists(few, 1 << int(few.size.max() - 1).bit_length())
        where, mask = np.asarray(lists.indices), np.asarray(lists.mask)
    else:
        where, mask = np.asarray(data.indices)[clients], np.asarray(data.mask)[clients]
    # Only the few rows that are needed leave host memory, where all data may exceed the device.
    examples = jax.tree.map(lambda leaf: np.asarray(leaf)[where.ravel()], data.examples)
    return ClientData(examples, np.arange(where.size, dtype=np.int32).reshape(where.shape), mask)
