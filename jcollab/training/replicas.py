"""Independent runs side by side in one program: seeds, and hyper-parameters times seeds."""

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
    """Runs side by side in :func:`jcollab.fit`: ``state`` and ``key`` lead with an axis ``[S]``.

    They share one program and are spread over the devices, see :func:`jcollab.layout.per_replica`.

    Attributes:
        settings: hyper-parameters with leaves ``[S]``, where ``algorithm`` is a function of those
            of one run, ``algorithm(settings) -> Algorithm``; None where all runs use one algorithm.
        data_axes: axes of ``batches.data`` as for ``jax.vmap``, 0 for a leaf that leads with
            ``[S]`` and None for a shared one; None shares all of it.
    """

    settings: PyTree = None
    data_axes: Any = None

    def axes(self, batches: Any) -> Any:
        """Axes of the batches, as for ``jax.vmap``."""
        if self.data_axes is None or isinstance(self.data_axes, int):
            return self.data_axes
        return dataclasses.replace(batches, data=self.data_axes)


def cross(settings: PyTree, seeds: np.ndarray) -> tuple[PyTree, np.ndarray, Array]:
    """Every setting with every seed, settings varying slowest.

    Args:
        settings: leaves ``[K, ...]``; None for one setting without any.
        seeds: int ``[S]``, all different and in 0..2^32 - 1.

    Returns:
        Settings with leaves ``[K S, ...]`` in the precision that JAX computes in, seeds ``[K S]``,
        and the keys ``jax.random.key(seed)``.
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
