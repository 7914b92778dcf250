"""Data of many clients as a few arrays, and batches that are gathered on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import layout

PyTree = Any
Array = jax.Array


class ClientData(NamedTuple):
    """Examples once, and which of them each client holds.

    Attributes:
        examples: pytree with leaves ``[N, ...]``.
        indices: int32 ``[n, m]``, the examples of each client, padded with its first one to the
            largest client's m.
        mask: bool ``[n, m]``, False where padded.
    """

    examples: PyTree
    indices: Array | np.ndarray
    mask: Array | np.ndarray


class ClientRanges(NamedTuple):
    """Examples once, and a range of them for each client: 8 bytes a client, however unequal.

    Attributes:
        examples: pytree with leaves ``[N, ...]``, those of each client side by side.
        start: int32 ``[n]``, where a client's examples begin.
        size: int32 ``[n]``, how many there are.
    """

    examples: PyTree
    start: Array | np.ndarray
    size: Array | np.ndarray


def client_data(examples: PyTree, parts: Sequence[np.ndarray]) -> ClientData:
    """Puts a partition into arrays.

    Args:
        examples: pytree (a Dataset, say) with leaves ``[N, ...]``.
        parts: one index array per client, from :mod:`jcollab.data.partitions` or anywhere else.

    Raises:
        ValueError: if there is no client, one has no data, or an index is out of range.
    """
    total = layout.num_clients(examples, "examples")
    if not len(parts):
        raise ValueError("parts must hold at least one client, got none")
    for i, part in enumerate(parts):
        if not len(part):
            raise ValueError(f"parts: client {i} is left without data")
        if np.min(part) < 0 or np.max(part) >= total:
            raise ValueError(f"parts: client {i} names examples outside 0..{total - 1}")
    width = max(len(part) for part in parts)
    index = np.stack([np.concatenate([p, np.full(width - len(p), p[0])]) for p in parts])
    mask = np.arange(width)[None, :] < np.array([len(p) for p in parts])[:, None]
    examples = jax.tree.map(jnp.asarray, examples)
    return ClientData(examples, jnp.asarray(index, jnp.int32), jnp.asarray(mask))


def client_ranges(examples: PyTree, owners: Any = None, *, sizes: Any = None) -> ClientRanges:
    """Examples by client: those of each user, or so many for each client, in their order.

    Takes NumPy arrays, sorts them by owner unless they are already, and leaves them in host memory:
    :func:`jcollab.run` moves them to the device, :func:`jcollab.training.run_offloaded` only what
    a round needs.

    Args:
        examples: pytree with leaves ``[N, ...]``.
        owners: ``[N]``, who each example belongs to; every distinct value is a client.
        sizes: in place of owners, int ``[n]``: client 0 holds the first examples, and so on.

    Raises:
        ValueError: if owners do not fit the examples, sizes are not positive or do not sum to N,
            or both or none of them are given.

    Example:
        >>> ranges = jc.data.client_ranges(np.arange(5), owners=[0, 0, 1, 1, 1])
        >>> ranges.start.tolist(), ranges.size.tolist()
        ([0, 2], [2, 3])
    """
    total = layout.num_clients(examples, "examples")
    if (owners is None) == (sizes is None):
        raise ValueError("owners or sizes must be given, and not both")
    if sizes is not None:
        sizes = np.asarray(sizes)
        if sizes.ndim != 1 or not len(sizes) or sizes.min() < 1 or sizes.sum() != total:
            got = f"{sizes.min()}.., sum {sizes.sum()}" if sizes.size else "none"
            raise ValueError(f"sizes must be at least 1 each and sum to N={total}, got {got}")
        start = np.cumsum(sizes) - sizes
        return ClientRanges(examples, start.astype(np.int32), sizes.astype(np.int32))
    owners = np.asarray(owners)
    if owners.shape != (total,) or not total:
        raise ValueError(f"owners must have shape [N={total}], N >= 1, got {list(owners.shape)}")
    if (owners[1:] < owners[:-1]).any():
        order = np.argsort(owners, kind="stable")
        owners = owners[order]
        examples = jax.tree.map(lambda leaf: np.asarray(leaf)[order], examples)
    _, start, counts = np.unique(owners, return_index=True, return_counts=True)
    return ClientRanges(examples, start.astype(np.int32), counts.astype(np.int32))


def client_arrays(data: ClientData) -> tuple[PyTree, Any]:
    """All data of every client: the examples as ``[n, m, ...]`` and their mask ``[n, m]``."""
    return jax.tree.map(lambda leaf: leaf[data.indices], data.examples), data.mask
