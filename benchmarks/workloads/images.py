"""W1 and W2, rounds of federated averaging; W7, deep networks alone and in gossip."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax

import jcollab as jc
from benchmarks.workloads import Workload, continued, in_dtype, repeated, training

NETWORKS = {
    "CNN": lambda width: jc.models.CNN(10),
    "MLP": lambda width: jc.models.MLP(10, (64,)),
    "VGG11": lambda width: jc.models.VGG11(10, width=width),
    "ResNet20": lambda width: jc.models.ResNet20(10),
    "ResNet18": lambda width: jc.models.ResNet18(10, width=width),
}


def federated(
    model: str,
    clients: int,
    steps: int,
    batch: int,
    rate: float,
    width: int = 64,
    side: int = 28,
    channels: int = 1,
    dtype: str = "float32",
    chunk: int | None = None,
) -> Workload:
    """Builds a round of federated averaging with images."""
    module, data = NETWORKS[model](width), images((clients, steps, batch), side, channels)
    params = module.init(jax.random.key(0), data.x[0, 0])
    loss = in_dtype(jc.objectives.classification(module.apply), dtype)
    algorithm = jc.federated(
        loss, optax.sgd(rate), local_steps=steps, num_clients=clients, chunk=chunk
    )
    first = jax.tree.map(lambda leaf: leaf[0, 0], data)
    work = training(loss, params, first, clients * steps)
    run = repeated(algorithm.update, algorithm.init(params), data)
    return Workload(run, **work)


def network(network: str, width: int, batch: int, steps: int, rate: float) -> Workload:
    """Builds steps of SGD of one client with images of 32 x 32."""
    module, data = NETWORKS[network](width), images((1, batch), 32, 3)
    variables = module.init(jax.random.key(0), data.x[0])
    loss, params, model_state = loss_of(module, variables)
    algorithm = jc.centralized(loss, optax.sgd(rate))
    state = algorithm.init(jc.replicate(params, 1), jc.replicate(model_state, 1))
    return Workload(continued(algorithm, state, data, steps))


def gossip(network: str, width: int, batch: int, clients: int, rate: float) -> Workload:
    """Builds a round of D-PSGD on a ring with images of 32 x 32."""
    module, data = NETWORKS[network](width), images((clients, batch), 32, 3)
    params = module.init(jax.random.key(0), data.x[0])
    loss = jc.objectives.classification(module.apply)
    algorithm = jc.decentralized(loss, optax.sgd(rate), jc.gossip(jc.topology.ring(clients)))
    state = algorithm.init(jc.replicate(params, clients))
    return Workload(repeated(algorithm.update, state, data))


def loss_of(module: Any, variables: Any) -> tuple[Any, Any, Any]:
    """Returns the loss, the parameters and the batch statistics of a model."""
    if "batch_stats" not in variables:
        return jc.objectives.classification(module.apply), variables, ()
    predict, train = jc.models.with_statistics(module)
    loss = jc.objectives.classification(predict, train=train)
    return loss, variables["params"], variables["batch_stats"]


def images(shape: tuple[int, ...], side: int, channels: int) -> Any:
    """Draws images ``[*shape, side, side, channels]`` and labels."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((*shape, side, side, channels), np.float32)
    return jax.tree.map(jax.numpy.asarray, jc.data.Dataset(x, rng.integers(0, 10, shape, np.int32)))
