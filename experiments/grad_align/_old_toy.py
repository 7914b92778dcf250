"""Gaussian classes, one for each client, with some wrong labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.grad_align.kinds import Clusters

Dataset = jc.data.Dataset


def make(config: Clusters, seed: int) -> tuple[Dataset, Dataset]:
    """Training data of all clients, ``x [n, m, d]``, and clean test data ``[N, d]``.

    The means are normal with standard deviation ``separation``, inputs normal around them with 1.
    Client i holds class i; a fraction ``noise`` of its labels is redrawn from all classes.
    """
    rng = np.random.default_rng(seed)
    n, m, d = config.classes, config.examples, config.dimension
    means = config.separation * rng.normal(size=(n, d))
    x = means[:, None] + rng.normal(size=(n, m, d))
    own = np.repeat(np.arange(n)[:, None], m, axis=1)
    wrong = rng.random((n, m)) < config.noise
    y = np.where(wrong, rng.integers(0, n, (n, m)), own)
    test_y = rng.integers(0, n, config.test_examples)
    test_x = means[test_y] + rng.normal(size=(config.test_examples, d))
    return _dataset(x, y), _dataset(test_x, test_y)


def model(config: Clusters) -> Any:
    """The tanh network."""
    return jc.models.MLP(config.classes, (config.hidden,), jnp.tanh)


def stacked(sets: Sequence[Dataset]) -> Dataset:
    """Data sets of one size with a leading axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *sets)


def _dataset(x: np.ndarray, y: np.ndarray) -> Dataset:
    return Dataset(x.astype(np.float32), y.astype(np.int32))
