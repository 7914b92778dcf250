"""W3: D-PSGD of small networks on a ring."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from benchmarks.workloads import Workload


def ring(
    clients: int, features: int, hidden: int, classes: int, batch: int, rounds: int, rate: float
) -> Workload:
    """Builds rounds of D-PSGD of an MLP with one hidden layer."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((clients, batch, features), np.float32))
    y = jnp.asarray(rng.integers(0, classes, (clients, batch)))
    model, key = jc.models.MLP(classes, (hidden,)), jax.random.key(0)

    # the other programs do not compute the accuracy either
    def loss(params: Any, batch: jc.data.Dataset, key: Any) -> Any:
        logits = model.apply(params, batch.x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.y).mean()

    algorithm = jc.decentralized(loss, optax.sgd(rate), jc.gossip(jc.topology.ring(clients)))
    state = algorithm.init(jc.replicate(model.init(key, x[0]), clients))
    batches = jc.data.full_batch(jc.data.Dataset(x, y))

    def run() -> Any:
        last = jc.run(algorithm, state, batches, key, num_rounds=rounds)
        return jax.block_until_ready(last)

    return Workload(run)
