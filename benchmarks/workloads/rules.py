"""W4: robust rules for one receiver."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from benchmarks.workloads import Workload
from jcollab import aggregators

RULES = {
    "median": lambda: aggregators.coordinate_median(),
    "trimmed_mean": lambda trim: aggregators.trimmed_mean(trim),
    "krum": lambda byzantine: aggregators.krum(byzantine),
    "geometric_median": lambda steps: aggregators.geometric_median(steps),
    "centered_clip": lambda radius, steps: aggregators.centered_clip(radius, steps),
}


def rule(rule: str, models: int, size: int, dtype: str = "float32", **options: Any) -> Workload:
    """Builds the aggregation of the models of all clients."""
    built = RULES[rule](**options)
    x = np.random.default_rng(0).standard_normal((models, size), np.float32)
    own, received = jnp.asarray(x[0], dtype), jnp.asarray(x[1:], dtype)
    weights = jnp.full(models - 1, 1 / models, dtype)
    context = jc.core.Receiver(jax.random.key(0), 0, 0, jnp.arange(1, models))
    aggregate = jax.jit(
        lambda own, received, state: built.update(own, received, weights, state, context),
        compiler_options=jc.layout.compiler_options() or None,
    )
    state = built.init(own)

    def run() -> Any:
        nonlocal state
        result, state = aggregate(own, received, state)
        return jax.block_until_ready(result)

    return Workload(run, bytes=received.nbytes)
