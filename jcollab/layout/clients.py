"""The client axis: its length, and randomness by client."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any


def num_clients(tree: PyTree, name: str = "tree") -> int:
    """The length n of the client axis, which every leaf must lead with.

    Raises:
        ValueError: naming the leaf that has no client axis, or another length than the first.
    """
    n = None
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        where = name + jax.tree_util.keystr(path)
        shape = jnp.shape(leaf)
        if not shape:
            raise ValueError(f"{where} is a scalar; every leaf must lead with the client axis [n]")
        if n is None:
            n, first = shape[0], where
        if shape[0] != n:
            raise ValueError(
                f"{where} has a client axis of length {shape[0]}, but that of {first} is {n}"
            )
    if n is None:
        raise ValueError(f"{name} holds no array, so the number of clients is not known")
    return n


def client_keys(key: jax.Array, n: int | jax.Array) -> jax.Array:
    """One random key per client, drawn by identity: ``fold_in(key, i)``.

    A client's draws are the same whatever the number of devices or the chunk it is executed in.

    Args:
        key: random key.
        n: number of clients, for i = 0..n-1, or their numbers, int ``[r]``.
    """
    numbers = jnp.arange(n) if isinstance(n, int) else n
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(numbers)
