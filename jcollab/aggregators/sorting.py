"""Order statistics of many arrays in every coordinate, computed by a pruned sorting network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jcollab.core import Array

# Up to this many rows a network is one fused expression; for more, each layer is computed in turn.
FUSED_UP_TO = 8
# A network of N rows has O(N log^2 N) comparators, and the time to compile it grows with them.
NETWORK_UP_TO = 256
BLOCK = 4096  # coordinates at a time, so that rows stay in the cache

Comparator = tuple[int, int]


def order_statistics(rows: Sequence[Array], ranks: Sequence[int]) -> list[Array]:
    """Computes the r-th smallest of the rows in every coordinate, for each r in ``ranks``.

    Args:
        rows: N arrays of one shape without NaN.
        ranks: ranks in 0..N-1.

    Source: Batcher's merge exchange, in Knuth, The Art of Computer Programming 3, 5.2.2 M.
    """
    if len(rows) > NETWORK_UP_TO:
        ranked = jnp.sort(jnp.stack(rows), axis=0)
        return [ranked[r] for r in ranks]
    # A sort along an axis moves every coordinate separately. A network compares whole rows: each
    # comparator is one minimum and one maximum of [d], which are limited by memory bandwidth alone.
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
            # Without the barrier the compiler would inline, and recompute, every earlier layer.
            values = jax.lax.optimization_barrier(values)
    return [values[r] for r in ranks]


def by_blocks(fn: Callable[[Sequence[Array]], Array], rows: Array) -> Array:
    """Applies ``fn`` to the N rows of ``[N, d]``, a block of coordinates at a time.

    ``fn`` maps a list of N arrays to one array of the same shape, coordinate by coordinate.
    """
    count, width = rows.shape
    if count <= FUSED_UP_TO or width <= BLOCK:
        return fn(list(rows))

    def block(i: Array, out: Array) -> Array:
        # The last block overlaps the one before: coordinates in both get the same result twice.
        start = jnp.minimum(i * BLOCK, width - BLOCK)
        part = jax.lax.dynamic_slice(rows, (0, start), (count, BLOCK))
        return jax.lax.dynamic_update_slice(out, fn(list(part)), (start,))

    return jax.lax.fori_loop(0, -(-width // BLOCK), block, jnp.zeros(width, rows.dtype))


def _merge_exchange(n: int) -> list[list[Comparator]]:
    """Returns layers of comparators (i, j) with i < j that sort n rows in ascending order."""
    # Batcher's merge exchange works for any n, not only for powers of two. Names follow Knuth:
    # row i meets row i + d if (i & p) == r. Comparators of a layer share no row.
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
    """Returns the comparators that the ranks depend on, and which of their outputs is needed."""
    # From the last layer back: a comparator is kept if a later one, or a rank, reads its output.
    # A median needs about three quarters of the minima and maxima of a full sort.
    needed, kept = set(ranks), []
    for layer in reversed(layers):
        used = [((i, j), i in needed, j in needed) for i, j in layer if {i, j} & needed]
        needed |= {row for pair, _, _ in used for row in pair}
        if used:
            kept.append(used)
    return kept[::-1]
