"""Order statistics of many arrays, coordinate by coordinate, by a pruned sorting network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jcollab.core import Array

# up to this many rows a network is one fused expression; beyond, each layer is computed in turn
FUSED_UP_TO = 8
# a network's size grows faster than the number of rows, and with it the time to compile it
NETWORK_UP_TO = 256
BLOCK = 4096  # coordinates at a time, so that rows stay in the cache

Comparator = tuple[int, int]


def order_statistics(rows: Sequence[Array], ranks: Sequence[int]) -> list[Array]:
    """The r-th smallest of the rows in every coordinate, for each r in ``ranks``.

    Args:
        rows: N arrays of one shape without NaN.
        ranks: ranks in 0..N-1.

    Source: Batcher's merge exchange, in Knuth, The Art of Computer Programming 3, 5.2.2 M.
    """
    if len(rows) > NETWORK_UP_TO:
        ranked = jnp.sort(jnp.stack(rows), axis=0)
        return [ranked[r] for r in ranks]
    # A sort along an axis moves every coordinate by itself. A network compares whole rows: each
    # comparator is one minimum and one maximum of [d], which run at the speed of memory.
    values: dict[int, Array] = dict(enumerate(rows))
    for layer in _prune(_merge_exchange(len(rows)), ranks):
        fresh = {}
        for (i, j), low, high in layer:  # outputs that no rank depends on are not computed
            if low:
                fresh[i] = jnp.minimum(values[i], values[j])
            if high:
                fresh[j] = jnp.maximum(values[i], values[j])
        for (i, j), _, _ in layer:
            del values[i], values[j]
        values |= fresh
        if len(rows) > FUSED_UP_TO:
            # without it the compiler would inline, and compute again, every earlier layer
            values = jax.lax.optimization_barrier(values)
    return [values[r] for r in ranks]


def by_blocks(fn: Callable[[Sequence[Array]], Array], rows: Array) -> Array:
    """``fn`` of the rows of ``[N, d]``, each ``[d]``, a block of coordinates at a time.

    ``fn`` maps a list of N arrays to one of their shape, coordinate by coordinate.
    """
    count, width = rows.shape
    if count <= FUSED_UP_TO or width <= BLOCK:
        return fn(list(rows))

    def block(i: Array, out: Array) -> Array:
        start = jnp.minimum(i * BLOCK, width - BLOCK)  # the last block overlaps the one before
        part = jax.lax.dynamic_slice(rows, (0, start), (count, BLOCK))
        return jax.lax.dynamic_update_slice(out, fn(list(part)), (start,))

    return jax.lax.fori_loop(0, -(-width // BLOCK), block, jnp.zeros(width, rows.dtype))


def _merge_exchange(n: int) -> list[list[Comparator]]:
    """Layers of comparators (i, j) with i < j that sort n rows in ascending order."""
    layers, top = [], 1 << max(n - 1, 1).bit_length() - 1
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            layers.append([(i, i + d) for i in range(n - d) if i & p == r])
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return layers


def _prune(
    layers: list[list[Comparator]], ranks: Sequence[int]
) -> list[list[tuple[Comparator, bool, bool]]]:
    """The comparators that the ranks depend on, and which of their two outputs is needed."""
    # From the last layer back: a comparator counts if a later one, or a rank, reads its output.
    needed, kept = set(ranks), []
    for layer in reversed(layers):
        used = [((i, j), i in needed, j in needed) for i, j in layer if {i, j} & needed]
        needed |= {row for pair, _, _ in used for row in pair}
        if used:
            kept.append(used)
    return kept[::-1]
