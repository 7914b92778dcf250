"""The client axis: its length, and randomness by client."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks

PyTree = Any


def num_clients(tree: PyTree, name: str | tuple[str, ...] = "tree") -> int:
    """The length n of the client axis, which every leaf must lead with.

    Args:
        tree: a pytree, or several as a tuple.
        name: what errors call it, or each of the several.

    Raises:
        ValueError: naming the leaf that has no client axis, or another length than the first.

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
                raise ValueError(
                    f"{where} must lead with n={n}, the clients of {first}, got {list(shape)}"
                )
    if n is None:
        raise ValueError(f"{name} must have an array, which gives the number of clients, got none")
    return n


def client_keys(key: jax.Array, n: int | jax.Array) -> jax.Array:
    """One random key per client, drawn by identity: ``fold_in(key, i)``.

    A client's draws are the same whatever the number of devices or the chunk it is executed in,
    but for keys of the kinds ``"rbg"`` and ``"unsafe_rbg"``, whose draws JAX lets depend on the
    other clients of a ``vmap``.

    Args:
        key: random key.
        n: number of clients, for i = 0..n-1, or their numbers, int ``[r]``.
    """
    if np.ndim(n) == 0:
        checks.count("n", n)
        n = jnp.arange(n)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(n)


def sample_clients(key: jax.Array, n: int, m: int) -> jax.Array:
    """m of n clients, uniformly without replacement and in random order, int32 ``[m]``.

    For m below a quarter of n, numbers are drawn with replacement and repeated ones passed over,
    which costs ``O(m log m)`` whatever n is.

    Args:
        key: random key.
        n: number of clients.
        m: how many, in 1..n.

    Raises:
        ValueError: if m lies outside 1..n.
    """
    checks.count("n", n)
    checks.count("num_sampled", m, 1, n)
    if n < 4 * m:
        return jax.lax.top_k(jax.random.uniform(key, (n,), jnp.float32), m)[1]
    draws = 2 * m

    def first_ones(numbers: jax.Array) -> jax.Array:
        order = jnp.argsort(numbers, stable=True)
        fresh = jnp.diff(numbers[order], prepend=-1) != 0
        return jnp.zeros(draws, bool).at[order].set(fresh)

    def attempt(carry: tuple) -> tuple:
        tries, numbers, _ = carry
        numbers = jax.random.randint(jax.random.fold_in(key, tries), (draws,), 0, n, jnp.int32)
        return tries + 1, numbers, first_ones(numbers)

    # too few different ones among the draws are rare, and as likely for all sets of clients
    start = (0, jnp.zeros(draws, jnp.int32), jnp.zeros(draws, bool))
    _, numbers, first = jax.lax.while_loop(lambda carry: carry[2].sum() < m, attempt, start)
    places = jnp.nonzero(first, size=m)[0]
    return numbers[places].astype(jnp.int32)
