"""Independent runs side by side in one program, for seeds and hyperparameters."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks
from jcollab.core import Array, PyTree


@dataclasses.dataclass(frozen=True)
class Replicas:
    """An option of :func:`jcollab.fit` for S runs side by side.

    Every leaf of ``state``, and ``key``, lead with an axis ``[S]``. The runs share one program and
    are split over the devices, see :func:`jcollab.layout.per_replica`.

    Attributes:
        settings: hyperparameters with leaves ``[S]``. Then ``algorithm`` is a function of the
            settings of one run, ``algorithm(settings) -> Algorithm``. None if all runs use the same
            algorithm.
        data_axes: axes of ``batches.data`` as for ``jax.vmap``: 0 for a leaf that leads with
            ``[S]``, None for a shared one. None shares all data.

    Example:
        >>> loss = lambda params, batch, key: jnp.sum((params - batch) ** 2)
        >>> build = lambda rate: jc.centralized(loss, optax.sgd(rate))
        >>> rates = jnp.array([0.0, 0.25])
        >>> states = jax.vmap(lambda rate: build(rate).init(jnp.zeros((1, 1))))(rates)
        >>> result = jc.fit(build, states, jc.data.stacked(jnp.ones((2, 1, 1))),
        ...                 jax.random.split(jax.random.key(0), 2), num_rounds=2, listeners=(),
        ...                 replicas=jc.training.Replicas(settings=rates))
        >>> result.log["loss"].tolist()
        [[1.0, 1.0], [1.0, 0.25]]
    """

    settings: PyTree = None
    data_axes: Any = None

    def axes(self, batches: Any) -> Any:
        """Returns the axes of batches, as for ``jax.vmap``."""
        if self.data_axes is None or isinstance(self.data_axes, int):
            return self.data_axes
        return dataclasses.replace(batches, data=self.data_axes)


def cross(settings: PyTree, seeds: np.ndarray) -> tuple[PyTree, np.ndarray, Array]:
    """Combines every setting with every seed; settings vary slowest.

    Args:
        settings: leaves ``[K, ...]``, or None.
        seeds: int ``[S]``, all different and in 0..2^32 - 1.

    Returns:
        Settings with leaves ``[K S, ...]`` in the precision of JAX, seeds ``[K S]``, and the keys
        ``jax.random.key(seed)``.
    """
    leaves = jax.tree.leaves(settings)
    checks.seeds("seeds", seeds)
    count = len(leaves[0]) if leaves else 1

    def repeat(leaf: Any) -> np.ndarray:
        values = np.asarray(leaf)
        values = values.astype(jax.dtypes.canonicalize_dtype(values.dtype))
        return np.repeat(values, len(seeds), axis=0)

    every_seed = np.tile(seeds, count)
    keys = jax.vmap(jax.random.key)(jnp.asarray(every_seed))
    return jax.tree.map(repeat, settings), every_seed, keys
