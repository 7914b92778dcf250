"""W8: training of Glow."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from benchmarks.workloads import Workload, continued


def glow(
    side: int,
    channels: int,
    levels: int,
    steps: int,
    width: int,
    batch: int,
    rate: float,
    updates: int,
) -> Workload:
    """Builds steps of Adam on the likelihood of images."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(size=(batch, side, side, channels)), jnp.float32)
    flow = jc.flows.glow(levels=levels, steps=steps, width=width, convolution="lu")
    algorithm = jc.centralized(jc.flows.likelihood(flow), optax.adam(rate))
    state = algorithm.init(jc.replicate(flow.init(jax.random.key(0), x), 1))
    data = jc.data.Dataset(x[None], jnp.zeros((1, batch), jnp.int32))
    return Workload(continued(algorithm, state, data, updates))
