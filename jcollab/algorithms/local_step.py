"""What the builders share: the gradient of one client's loss, and means of client metrics."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jcollab.core import Array, Metrics, Objective, PyTree


def gradient_of(objective: Objective) -> Callable[..., tuple[PyTree, PyTree, Metrics]]:
    """``gradient(params, extra, batch, key) -> (grads, extra, metrics)`` for one client.

    Args:
        objective: a loss in its full form, see :func:`jcollab.lift`.

    Returns:
        The function; its metrics hold the loss as ``"loss"`` beside those of the objective.
    """
    differentiate = jax.value_and_grad(objective, has_aux=True)

    def gradient(
        params: PyTree, extra: PyTree, batch: PyTree, key: Array
    ) -> tuple[PyTree, PyTree, Metrics]:
        (value, (extra, metrics)), grads = differentiate(params, extra, batch, key)
        return grads, extra, {"loss": value, **metrics}

    return gradient


def mean_metrics(metrics: Metrics) -> Metrics:
    """Means over the client axis of metrics with leaves ``[n, ...]``."""
    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), metrics)
