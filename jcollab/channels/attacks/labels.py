"""An attack on the data: byzantine clients train on wrong labels."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
from jcollab.core import Array, Batches, LocalRows, PyTree
from jcollab.topology import byzantine_mask


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["batches", "byzantine"],
    meta_fields=["num_classes"],
)
@dataclasses.dataclass(frozen=True)
class FlippedLabels:
    """Batches with wrong labels at byzantine clients, built by :func:`flip_labels`.

    Attributes:
        batches: the batches with the true labels.
        byzantine: bool ``[n]``.
        num_classes: C, the number of classes.
    """

    batches: Any
    byzantine: Array | np.ndarray
    num_classes: int

    @property
    def length(self) -> int | None:
        """T, the number of rounds; None if there is no end."""
        return getattr(self.batches, "length", None)

    def draw(self, key: Array, step: Array) -> PyTree:
        """Returns the batch of the round, leaves ``[n, ...]``."""
        batch = self.batches.draw(key, step)
        n, mask = layout.num_clients(batch, "batches"), jnp.asarray(self.byzantine)
        if len(mask) != n:
            raise ValueError(f"byzantine must be a mask of the n={n} clients, got [{len(mask)}]")
        return self._flip(batch, mask)

    def local(self, key: Array, step: Array) -> FlippedLabels:
        """Returns the batches of the same round for sampled clients."""
        return dataclasses.replace(self, batches=self.batches.local(key, step))

    def rows(self, clients: Array | None, num_steps: int) -> LocalRows:
        """Returns the rows that these clients need, with their part of the byzantine mask."""
        rows = self.batches.rows(clients, num_steps)
        mask = self.byzantine if clients is None else self.byzantine[clients]

        def pick(own: tuple[PyTree, Array], common: PyTree, key: Array, k: Array) -> PyTree:
            return self._flip(rows.pick(own[0], common, key, k), own[1])

        return rows._replace(own=(rows.own, mask), pick=pick)

    def gather(self, clients: Any) -> FlippedLabels:
        """Returns the batches of these clients alone."""
        return dataclasses.replace(
            self, batches=self.batches.gather(clients), byzantine=self.byzantine[clients]
        )

    def _flip(self, batch: Any, mask: Array) -> Any:
        checks.labels("y", batch.y, batch.y.shape, self.num_classes)
        # The mask leads with the client axis, or is a scalar where `rows` picks for one client.
        mask = mask.reshape(*mask.shape, *(1,) * (batch.y.ndim - mask.ndim))
        return batch._replace(y=jnp.where(mask, self.num_classes - 1 - batch.y, batch.y))


def flip_labels(batches: Batches, byzantine: Any, num_classes: int) -> FlippedLabels:
    """Flips the labels of byzantine clients, ``y -> C - 1 - y``, which is an attack on the data.

    Args:
        batches: from :mod:`jcollab.data`, whose batches have a field ``y`` of integers.
        byzantine: bool ``[n]``.
        num_classes: C >= 1.

    Returns:
        Batches to use instead of ``batches``.

    Raises:
        TypeError: if ``byzantine`` is not a mask; when used, if labels are not integers.
        ValueError: if no client is honest, or num_classes < 1; when used, if the length of the mask
            is not n.

    Example:
        >>> data = jc.data.by_client(jc.data.Dataset(np.zeros(2), np.array([0, 1])), [[0], [1]])
        >>> wrong = jc.channels.attacks.flip_labels(jc.data.minibatches(data, 3), [False, True], 10)
        >>> jax.jit(wrong.draw)(jax.random.key(0), 0).y.tolist()
        [[0, 0, 0], [8, 8, 8]]
    """
    checks.count("num_classes", num_classes)
    checks.mask("byzantine", byzantine, ("n",))
    return FlippedLabels(batches, byzantine_mask(byzantine, len(byzantine)), num_classes)
