"""Learning rate schedules for optax."""

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
    """Builds a schedule with linear warmup, then a constant that is reduced at milestones.

    ``lr = base min(e / warmup_epochs, 1) factor^#{milestones <= e}`` with the fractional epoch
    ``e = step / steps_per_epoch``; the first step has learning rate 0. All arguments may be traced,
    for sweeps.

    Args:
        base: learning rate after warmup, > 0.
        steps_per_epoch: updates of a client per epoch, at least 1.
        warmup_epochs: length of the warmup; 0 for no warmup.
        milestones: epochs at which the learning rate is multiplied by factor, in ascending order.
        factor: factor of one reduction, > 0.

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
    # Milestones are compared as whole steps: a rounded quotient could miss one by a step. The
    # margin keeps the ceiling of products such as 0.1 * 30, which are slightly more than 3.
    xp, margin = (jnp, 1e-6) if checks.traced(milestones, steps_per_epoch) else (np, 1e-9)
    cuts = xp.ceil(xp.asarray(milestones, float) * steps_per_epoch * (1 - margin))
    warmup_steps = warmup_epochs * steps_per_epoch

    def schedule(step: Array | int) -> Array:
        step = jnp.asarray(step, float)  # int32 would be promoted to float32 even under x64
        start = jnp.where(warmup_steps > 0, step / jnp.maximum(warmup_steps, 1e-6), 1.0)
        reached = (step[..., None] >= cuts).sum(-1)
        return base * jnp.minimum(start, 1.0) * jnp.asarray(factor, float) ** reached

    return schedule
