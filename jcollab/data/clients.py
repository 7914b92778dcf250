"""Data of many clients as a few arrays."""

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
    """Examples once, and which of them belong to each client.

    Attributes:
        examples: pytree with leaves ``[N, ...]``.
        indices: int32 ``[n, m]``, the examples of each client, padded with its first one to the
            largest client's m.
        mask: bool ``[n, m]``, False where padded.
        names: of the clients, static; None where they have none.
    """

    examples: PyTree
    indices: Array | np.ndarray
    mask: Array | np.ndarray
    names: Names | None = None


@functools.partial(_clients, data_fields=["examples", "start", "size"])
@dataclasses.dataclass(frozen=True, eq=False)
class ClientRanges:
    """Examples once, and a range of them for each client: 8 bytes a client, however unequal.

    Attributes:
        examples: pytree with leaves ``[N, ...]``, those of each client side by side.
        start: int32 ``[n]``, where a client's examples begin.
        size: int32 ``[n]``, how many there are.
        names: of the clients, static; None where they have none.
    """

    examples: PyTree
    start: Array | np.ndarray
    size: Array | np.ndarray
    names: Names | None = None


def by_client(
    arrays: PyTree, parts: Sequence[Any], *, names: Sequence[Any] | None = None
) -> ClientData:
    """The data of clients from a partition.

    Args:
        arrays: pytree (for example a Dataset) with leaves ``[N, ...]``.
        parts: one index array for each client, int ``[m_i]`` in 0..N-1, from
            :mod:`jcollab.data.partitions` or anywhere else. Clients may share examples.
        names: of the clients, ``[n]``.

    Raises:
        TypeError: if indices are not integers.
        ValueError: if there is no client, one has no data, an index is out of range, or names do
            not fit.

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
        _part(f"parts[{i}]" + (f" ({names[i]!r})" if names else ""), part, total)
        for i, part in enumerate(parts)
    ]
    sizes = np.array([len(part) for part in own])
    mask = np.arange(sizes.max()) < sizes[:, None]
    index = np.stack([np.resize(part, sizes.max()) for part in own])
    index = np.where(mask, index, index[:, :1])
    arrays = jax.tree.map(jnp.asarray, arrays)
    return ClientData(arrays, jnp.asarray(index, jnp.int32), jnp.asarray(mask), names)


def from_clients(clients: Mapping[Any, PyTree]) -> ClientData:
    """The data of clients, each with arrays of its own; their names are kept.

    Args:
        clients: by name, pytrees of one structure with leaves ``[m_i, ...]``. The m_i may differ,
            other axes and dtypes may not.

    Raises:
        TypeError: if ``clients`` is no mapping, or names are neither all texts nor all integers.
        ValueError: if there is no client, one has no data, or structures, shapes or dtypes differ.

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
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *clients.values())
    parts = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    return by_client(joined, parts, names=list(clients))


def by_owner(arrays: PyTree, owners: Any = None, *, sizes: Any = None) -> ClientRanges:
    """The data of clients as ranges: those of each owner, or so many for each client, in order.

    Takes NumPy arrays, sorts them by owner unless they are already, and leaves them in host memory:
    :func:`jcollab.run` moves them to the device, :func:`jcollab.fit` with ``offload`` only what a
    round needs.

    Args:
        arrays: pytree with leaves ``[N, ...]``.
        owners: ``[N]``, who each example belongs to; every distinct value is a client, and its
            name.
        sizes: in place of owners, int ``[n]``: client 0 has the first examples, and so on.

    Raises:
        TypeError: if owners are neither texts nor integers, or sizes are not integers.
        ValueError: if owners do not fit the examples, sizes are not positive or do not sum to N,
            or both or none of them are given.

    Example:
        >>> ranges = jc.data.by_owner(np.arange(5), owners=["b", "a", "b", "a", "b"])
        >>> ranges.start.tolist(), ranges.size.tolist(), list(ranges.names)
        ([0, 2], [2, 3], ['a', 'b'])
    """
    total = layout.num_clients(arrays, "arrays")
    if (owners is None) == (sizes is None):
        raise ValueError("owners or sizes must be given, and not both")
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
        order = np.argsort(owners, kind="stable")
        owners = owners[order]
        arrays = jax.tree.map(lambda leaf: np.asarray(leaf)[order], arrays)
    values, start, counts = np.unique(owners, return_index=True, return_counts=True)
    return ClientRanges(arrays, start.astype(np.int32), counts.astype(np.int32), Names(values))


def client_arrays(data: ClientData) -> tuple[PyTree, Any]:
    """All data of every client: the examples as ``[n, m, ...]`` and their mask ``[n, m]``."""
    return jax.tree.map(lambda leaf: leaf[data.indices], data.examples), data.mask


def check_clients(data: Any) -> None:
    """TypeError or ValueError unless it is the data of clients; leading axes (seeds) may be more.

    Types and shapes are checked, also where the data are traced; the functions that make the data
    have checked ranges.
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
    """The same data with an index for each example, ``[n, m]``; m is ``width`` if it is given."""
    start, size = np.asarray(data.start), np.asarray(data.size)
    place = np.arange(width or size.max(), dtype=np.int32)
    mask = place < size[:, None]
    return ClientData(data.examples, start[:, None] + np.where(mask, place, 0), mask, data.names)


def _part(name: str, part: Any, total: int) -> np.ndarray:
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
