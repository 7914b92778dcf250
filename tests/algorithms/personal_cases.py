"""Clients with quadratics of their own, for personal models."""

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc

KEY = jax.random.key(0)
N, D, T = 5, 3, 4


def quadratic(params, batch, key):
    return 0.5 * jnp.sum(batch["h"] * (params - batch["c"]) ** 2), {"norm": jnp.sum(params**2)}


def problem(seed=0):
    rng = np.random.default_rng(seed)
    params = rng.normal(size=(N, D))
    batches = {"h": rng.uniform(0.5, 1.5, size=(T, N, D)), "c": rng.normal(size=(T, N, D))}
    return params, batches


def train(algorithm, params, batches):
    state = algorithm.init(jnp.asarray(params))
    return jc.run(algorithm, state, jc.data.stacked(jax.tree.map(jnp.asarray, batches)), KEY)
