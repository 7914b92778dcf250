"""The data of all clients as a few arrays on one axis of examples.

Clients have different numbers of examples, and programs need fixed shapes. So the examples of all
clients are stored once, ``[N, ...]``, together with either padded lists of indices
(:class:`ClientData`) or ranges (:class:`ClientRanges`) for each client.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
from jcollab.core.names import Names

PyTree = Any
Array = jax.Array

_clients = functools.partial(jax.tree_util.register_dataclass, meta_fields=["names"])


@functools.partial(_clients, data_fields=["examples", "indices", "mask"])
@dataclasses.dataclass(frozen=True, eq=False)
class ClientData:
    """Examples of all clients and a list of indices for each client.

    Attributes:
        examples: pytree with leaves ``[N, ...]``.
        indices: int32 ``[n, m]``, the indices of each client's examples. Lists are padded to the
            longest by repeating the client's first index.
        mask: bool ``[n, m]``, False where padded.
        names: names of the clients, static; None for clients without names.

    Example:
        >>> indices, mask = np.array([[0, 1], [2, 2]]), np.array([[True, True], [True, False]])
        >>> data = jc.data.ClientData(jnp.arange(3.0), indices, mask)
        >>> data.examples[data.indices].tolist()  # one row for each client, padded
        [[0.0, 1.0], [2.0, 2.0]]
    """

    examples: PyTree
    indices: Array | np.ndarray
    mask: Array | np.ndarray
    names: Names | None = None


@functools.partial(_clients, data_fields=["examples", "start", "size"])
@dataclasses.dataclass(frozen=True, eq=False)
class ClientRanges:
    """Examples of all clients, sorted by client, and a range for each client.

    A range takes 8 bytes per client, however unequal the numbers of examples are.

    Attributes:
        examples: pytree with leaves ``[N, ...]``; the examples of each client are contiguous.
        start: int32 ``[n]``, index of each client's first example.
        size: int32 ``[n]``, number of examples of each client.
        names: names of the clients, static; None for clients without names.

    Example:
        >>> data = jc.data.ClientRanges(jnp.arange(3.0), np.array([0, 2]), np.array([2, 1]))
        >>> batch = jc.data.minibatches(data, batch_size=4).draw(jax.random.key(0), 0)
        >>> batch[1].tolist()  # the second client has one example
        [2.0, 2.0, 2.0, 2.0]
    """

    examples: PyTree
    start: Array | np.ndarray
    size: Array | np.ndarray
    names: Names | None = None


def by_client(
    arrays: PyTree, parts: Sequence[Any], *, names: Sequence[Any] | None = None
) -> ClientData:
    """Builds the data of clients from a partition of examples.

    Args:
        arrays: pytree (for example a Dataset) with leaves ``[N, ...]``.
        parts: one index array for each client, int ``[m_i]`` in 0..N-1, for example from
            :func:`jcollab.data.dirichlet`. Clients may share examples.
        names: names of the clients, ``[n]``; None for clients without names.

    Raises:
        TypeError: if indices are not integers.
        ValueError: if there are no clients, a client has no data, an index is out of range, or
            names do not fit.

    Example:
        >>> data = jc.data.by_client(np.arange(6.0), [[5], [0, 2, 4]], names=["ann", "bob"])
        >>> data.indices.tolist(), list(data.names)
        ([[5, 5, 5], [0, 2, 4]], ['ann', 'bob'])
    """
    total = layout.num_clients(arrays, "arrays")
    if not len(parts):
        raise ValueError("parts must have at least one client, got none")
    names = _names(names, len(parts))
    own = [
        part_of(f"parts[{i}]" + (f" ({names[i]!r})" if names else ""), part, total)
        for i, part in enumerate(parts)
    ]
    sizes = np.array([len(part) for part in own])
    mask = np.arange(sizes.max()) < sizes[:, None]
    # Padding repeats an example of the same client, so that a padded row never is another
    # client's data, even where a mask is not applied.
    index = np.stack([np.resize(part, sizes.max()) for part in own])
    index = np.where(mask, index, index[:, :1])
    arrays = jax.tree.map(jnp.asarray, arrays)
    return ClientData(arrays, jnp.asarray(index, jnp.int32), jnp.asarray(mask), names)


def from_clients(clients: Mapping[Any, PyTree]) -> ClientData:
    """Builds the data of clients from separate arrays for each client.

    Args:
        clients: mapping from the name of each client to a pytree with leaves ``[m_i, ...]``. The
            m_i may differ; structures, other axes and dtypes must be equal.

    Raises:
        TypeError: if ``clients`` is not a mapping, or names are not all strings or all integers.
        ValueError: if there are no clients, a client has no data, or structures, shapes or dtypes
            differ.

    Example:
        >>> data = jc.data.from_clients({"ann": np.arange(2.0), "bob": np.arange(3.0)})
        >>> list(data.names), data.mask.sum(1).tolist()
        (['ann', 'bob'], [2, 3])
    """
    checks.kind(Mapping, clients=clients)
    if not clients:
        raise ValueError("clients must have at least one client, got none")
    first, arrays = next(iter(clients.items()))
    expected = _form(arrays)
    sizes = []
    for name, own in clients.items():
        if _form(own) != expected:
            raise ValueError(
                f"clients[{name!r}] must have the structure, shapes and dtypes of "
                f"clients[{first!r}], {expected}, got {_form(own)}"
            )
        sizes.append(layout.num_clients(own, f"clients[{name!r}]"))
        if not sizes[-1]:
            raise ValueError(f"clients[{name!r}] must have at least one example, got none")
    # concatenated in NumPy: on the device, every combination of sizes would compile a program
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *clients.values())
    parts = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    return by_client(joined, parts, names=list(clients))


def by_owner(arrays: PyTree, owners: Any = None, *, sizes: Any = None) -> ClientRanges:
    """Builds the data of clients as ranges, from the owner of each example or from sizes.

    The arrays are sorted by owner, unless they are sorted already, and stay in host memory as NumPy
    arrays: :func:`jcollab.run` moves all of them to the device, :func:`jcollab.fit` with
    ``offload`` only the examples of the clients sampled in a round.

    Args:
        arrays: pytree with leaves ``[N, ...]``.
        owners: ``[N]``, the client of each example, as a string or an integer. Every distinct value
            is the name of a client; clients are in ascending order of their names.
        sizes: int ``[n]``, instead of owners: the first ``sizes[0]`` examples belong to client 0,
            and so on.

    Raises:
        TypeError: if owners are not all strings or all integers, or sizes are not integers.
        ValueError: if owners do not fit the examples, sizes are not positive or do not sum to N,
            or not exactly one of the two is given.

    Example:
        >>> ranges = jc.data.by_owner(np.arange(5), owners=["b", "a", "b", "a", "b"])
        >>> ranges.start.tolist(), ranges.size.tolist(), list(ranges.names)
        ([0, 2], [2, 3], ['a', 'b'])
    """
    total = layout.num_clients(arrays, "arrays")
    if (owners is None) == (sizes is None):
        raise ValueError("owners or sizes must be given, but not both")
    if sizes is not None:
        checks.integers("sizes", sizes, ("n",), at_least=1)
        sizes = np.asarray(sizes)
        if not sizes.size or sizes.sum() != total:
            raise ValueError(f"sizes must sum to N={total}, got {sizes.sum():g}")
        start = np.cumsum(sizes) - sizes
        return ClientRanges(arrays, start.astype(np.int32), sizes.astype(np.int32))
    owners = checks.identities("owners", owners)
    if owners.shape != (total,) or not total:
        raise ValueError(f"owners must have shape [N={total}], N >= 1, got {list(owners.shape)}")
    if (owners[1:] < owners[:-1]).any():
        # stable: each client's examples stay in the given order
        order = np.argsort(owners, kind="stable")
        owners = owners[order]
        arrays = jax.tree.map(lambda leaf: np.asarray(leaf)[order], arrays)
    values, start, counts = np.unique(owners, return_index=True, return_counts=True)
    return ClientRanges(arrays, start.astype(np.int32), counts.astype(np.int32), Names(values))


def client_arrays(data: ClientData) -> tuple[PyTree, Any]:
    """Returns the examples of every client as ``[n, m, ...]``, and their mask ``[n, m]``.

    Examples are copied to each of their clients, and shorter lists are padded.

    Example:
        >>> data = jc.data.by_client(jnp.arange(3.0), [[0, 1], [2]])
        >>> examples, mask = jc.data.client_arrays(data)
        >>> examples.tolist(), mask.tolist()
        ([[0.0, 1.0], [2.0, 2.0]], [[True, True], [True, False]])
    """
    return jax.tree.map(lambda leaf: leaf[data.indices], data.examples), data.mask


def check_clients(data: Any) -> None:
    """Raises TypeError or ValueError unless ``data`` is the data of clients.

    Types and shapes are checked, also of traced data. Ranges are not: the functions that build the
    data have checked them. More leading axes (for example of seeds) are allowed.
    """
    if isinstance(data, ClientData):
        checks.integers("data.indices", data.indices)
        checks.mask("data.mask", data.mask, data.mask.shape)
        shapes = {"indices": data.indices.shape, "mask": data.mask.shape}
        fits = shapes["indices"] == shapes["mask"] and len(shapes["mask"]) >= 2
    elif isinstance(data, ClientRanges):
        checks.integers("data.start", data.start)
        checks.integers("data.size", data.size)
        shapes = {"start": data.start.shape, "size": data.size.shape}
        fits = shapes["start"] == shapes["size"] and len(shapes["size"]) >= 1
    else:
        raise TypeError(
            "data must be made by by_client, from_clients or by_owner (jcollab.data), got "
            f"{type(data).__name__}"
        )
    if not fits:
        raise ValueError(f"data must have {' and '.join(shapes)} of one shape, got {shapes}")


def as_lists(data: ClientRanges, width: int | None = None) -> ClientData:
    """Converts ranges to lists of indices ``[n, m]``; m is ``width`` if given, else the largest."""
    start, size = np.asarray(data.start), np.asarray(data.size)
    place = np.arange(width or size.max(), dtype=np.int32)
    mask = place < size[:, None]
    return ClientData(data.examples, start[:, None] + np.where(mask, place, 0), mask, data.names)


def part_of(name: str, part: Any, total: int) -> np.ndarray:
    """Returns the indices of one client's examples; raises an error if they are not valid."""
    indices = np.asarray(part)
    if not indices.size:
        raise ValueError(f"{name} must have at least one example, got none")
    checks.integers(name, indices, ("m",), at_least=0, at_most=total - 1)
    return indices


def _names(names: Sequence[Any] | None, n: int) -> Names | None:
    if names is None:
        return None
    if len(names) != n:
        raise ValueError(f"names must be of n={n} clients, got {len(names)}")
    return Names(names)


def _form(arrays: PyTree) -> str:
    leaves = jax.tree_util.tree_leaves_with_path(arrays)
    shapes = [
        f"{jax.tree_util.keystr(path)} {np.asarray(leaf).dtype}"
        f"[{', '.join(['m', *map(str, np.shape(leaf)[1:])])}]"
        for path, leaf in leaves
    ]
    return f"{jax.tree.structure(arrays)} of {'; '.join(shapes)}"
