"""Learning rates over time, as optax schedules."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from jcollab import checks

Array = jax.Array


def warmup_step_decay(
    base: float | Array,
    steps_per_epoch: int,
    warmup_epochs: float = 5,
    milestones: Sequence[float] = (150, 180),
    factor: float = 0.1,
) -> optax.Schedule:
    """A linear start, then a constant that is cut at milestones.

    ``lr = base min(e / warmup_epochs, 1) factor^#{milestones <= e}`` with the fractional epoch
    ``e = step / steps_per_epoch``; the first step has learning rate 0.

    Args:
        base: learning rate after the start, > 0. A JAX array is not checked, so that learning
            rates can be swept by vmap.
        steps_per_epoch: updates of a client per epoch.
        warmup_epochs: length of the linear start; 0 for none.
        milestones: epochs at which the learning rate is multiplied by factor, in ascending order.
        factor: of one cut, > 0.

    Returns:
        ``schedule(step) -> lr``; steps count from 0.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> schedule = jc.local.schedules.warmup_step_decay(1.0, steps_per_epoch=10)
        >>> [round(float(schedule(epoch * 10)), 3) for epoch in (0, 1, 5, 150, 180)]
        [0.0, 0.2, 1.0, 0.1, 0.01]

    Source: Vogels et al. 2021, arXiv 2110.04175, whose values are the defaults.
    """
    checks.finite(above=0, base=base)
    checks.number("steps_per_epoch", steps_per_epoch, at_least=1)
    checks.finite(at_least=0, warmup_epochs=warmup_epochs)
    if not all(0 <= a < math.inf for a in milestones) or list(milestones) != sorted(milestones):
        raise ValueError(f"milestones must be ascending and at least 0, got {milestones}")
    checks.finite(above=0, factor=factor)
    # compared as whole steps: a rounded quotient could miss a milestone by one step. Rounding
    # keeps 0.1 * 30 from becoming step 4
    cuts = [math.ceil(round(milestone * steps_per_epoch, 6)) for milestone in milestones]
    warmup_steps = warmup_epochs * steps_per_epoch

    def schedule(step: Array | int) -> Array:
        step = jnp.asarray(step)
        start = jnp.minimum(step / warmup_steps, 1.0) if warmup_steps else 1.0
        reached = sum((step >= cut).astype(int) for cut in cuts)
        return base * start * jnp.asarray(factor) ** reached

    return schedule
