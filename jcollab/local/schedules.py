"""Learning rates over time, as optax schedules."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jcollab import checks

Array = jax.Array


def warmup_step_decay(
    base: Any,
    steps_per_epoch: Any,
    warmup_epochs: Any = 5,
    milestones: Any = (150, 180),
    factor: Any = 0.1,
) -> optax.Schedule:
    """A linear start, then a constant that is cut at milestones.

    ``lr = base min(e / warmup_epochs, 1) factor^#{milestones <= e}`` with the fractional epoch
    ``e = step / steps_per_epoch``; the first step has learning rate 0.

    All numbers may be traced, for sweeps.

    Args:
        base: learning rate after the start, > 0.
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
    checks.finite(at_least=0, milestones=milestones, arrays=True)
    if not checks.traced(milestones) and list(milestones) != sorted(milestones):
        raise ValueError(f"milestones must be ascending and at least 0, got {milestones}")
    checks.finite(above=0, factor=factor)
    # compared as whole steps: a rounded quotient could miss a milestone by one step. The margin
    # keeps 0.1 * 30 from becoming step 4
    xp, margin = (jnp, 1e-6) if checks.traced(milestones, steps_per_epoch) else (np, 1e-9)
    cuts = xp.ceil(xp.asarray(milestones, float) * steps_per_epoch * (1 - margin))
    warmup_steps = warmup_epochs * steps_per_epoch

    def schedule(step: Array | int) -> Array:
        step = jnp.asarray(step, float)  # of an int32, JAX would make a float32 under x64, too
        start = jnp.where(warmup_steps > 0, step / jnp.maximum(warmup_steps, 1e-6), 1.0)
        reached = (step[..., None] >= cuts).sum(-1)
        return base * jnp.minimum(start, 1.0) * jnp.asarray(factor, float) ** reached

    return schedule
