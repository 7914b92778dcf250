"""The client axis: its length, and random numbers per client."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks

PyTree = Any


def num_clients(tree: PyTree, name: str | tuple[str, ...] = "tree") -> int:
    """Returns the length n of the client axis, which every leaf must lead with.

    Args:
        tree: a pytree, or a tuple of pytrees if ``name`` is a tuple.
        name: name of the pytree in error messages, or a tuple of names.

    Raises:
        ValueError: if a leaf has no client axis, or an axis of another length than the first leaf,
            or if there is no leaf.

    Example:
        >>> jc.layout.num_clients({"w": jnp.zeros((4, 2)), "b": jnp.zeros(4)})
        4
    """
    n = None
    parts = zip(name, tree, strict=True) if isinstance(name, tuple) else [(name, tree)]
    for own_name, part in parts:
        for path, leaf in jax.tree_util.tree_leaves_with_path(part):
            where = own_name + jax.tree_util.keystr(path)
            shape = jnp.shape(leaf)
            if not shape:
                raise ValueError(f"{where} must lead with the client axis [n], got a scalar")
            if n is None:
                n, first = shape[0], where
            if shape[0] != n:
                hint = "; jc.replicate(params, n) stacks one model" if own_name == "params" else ""
                raise ValueError(
                    f"{where} must lead with n={n}, the clients of {first}, got {list(shape)}{hint}"
                )
    if n is None:
        raise ValueError(f"{name} must have at least one array, with a client axis, got none")
    return n


def client_keys(key: jax.Array, n: int | jax.Array) -> jax.Array:
    """Returns one random key per client, ``fold_in(key, i)`` for client i.

    The random numbers of a client do not depend on the number of devices, nor on the chunk in
    which the client is executed. Keys of the kinds ``"rbg"`` and ``"unsafe_rbg"`` are exceptions:
    under ``vmap``, JAX lets their draws depend on the whole batch.

    Args:
        key: random key.
        n: number of clients, for i = 0..n-1, or indices of clients, int ``[r]``.

    Returns:
        Keys ``[n]`` or ``[r]``.

    Example:
        >>> keys = jc.layout.client_keys(jax.random.key(0), 3)
        >>> last = jc.layout.client_keys(jax.random.key(0), jnp.array([2]))
        >>> keys.shape, bool(last[0] == keys[2])
        ((3,), True)
    """
    # fold_in, not split: a round of m sampled clients must give each of them the key that it has
    # in a round of all n, without computing the others.
    if np.ndim(n) == 0:
        checks.count("n", n)
        n = jnp.arange(n)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(n)


def sample_clients(key: jax.Array, n: int, m: int) -> jax.Array:
    """Samples m of n clients uniformly without replacement, in random order.

    If m is at most a quarter of n, indices are drawn with replacement and repeated ones skipped,
    which costs ``O(m log m)`` for any n.

    Args:
        key: random key.
        n: number of clients.
        m: number of sampled clients, in 1..n.

    Returns:
        Indices, int32 ``[m]``, all different.

    Raises:
        ValueError: if m is outside of 1..n.

    Example:
        >>> chosen = jc.layout.sample_clients(jax.random.key(0), 10, 3)
        >>> chosen.shape, len(set(chosen.tolist()))
        ((3,), 3)
    """
    checks.count("n", n)
    checks.count("num_sampled", m, 1, n)
    if n < 4 * m:
        # places of the m largest of n uniform numbers: all different, in random order
        return jax.lax.top_k(jax.random.uniform(key, (n,), jnp.float32), m)[1]
    # Twice as many draws as needed: with m <= n / 4, at least m different ones among them are
    # nearly certain, and shapes stay static.
    draws = 2 * m

    def first_ones(numbers: jax.Array) -> jax.Array:
        # a stable sort puts the earliest draw of each number first, so that the result is in the
        # order of the draws, which is random
        order = jnp.argsort(numbers, stable=True)
        fresh = jnp.diff(numbers[order], prepend=-1) != 0
        return jnp.zeros(draws, bool).at[order].set(fresh)

    def attempt(carry: tuple) -> tuple:
        tries, numbers, _ = carry
        numbers = jax.random.randint(jax.random.fold_in(key, tries), (draws,), 0, n, jnp.int32)
        return tries + 1, numbers, first_ones(numbers)

    # An attempt with too few different numbers is repeated as a whole. Whether it fails depends on
    # the pattern of repetitions only, not on which clients are drawn: the sample stays uniform.
    start = (0, jnp.zeros(draws, jnp.int32), jnp.zeros(draws, bool))
    _, numbers, first = jax.lax.while_loop(lambda carry: carry[2].sum() < m, attempt, start)
    places = jnp.nonzero(first, size=m)[0]
    return numbers[places].astype(jnp.int32)
