"""Least squares whose gradients may come late."""

import jax
import jax.numpy as jnp
import numpy as np

N, D, T = 4, 3, 24
KEY = jax.random.key(0)
START = np.random.default_rng(0).normal(size=D)


def loss(params, batch, key):
    return 0.5 * jnp.mean((batch["a"] @ params - batch["y"]) ** 2)


def data(rounds=T, n=N, b=2, extra=()):
    rng = np.random.default_rng(1)
    shape = (rounds, n, *extra, b)
    return {"a": rng.normal(size=(*shape, D)), "y": rng.normal(size=shape)}
