"""Compares a D-PSGD step of 16 clients with ResNet-20 (GroupNorm) with plain vmapped flax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import jcollab as jc
from benchmarks.fedavg import sgemm_peak
from benchmarks.timing import interleaved
from jcollab.models import torch_layers

CLIENTS, BATCH = 16, 32
FLOP = 3 * 2 * 40.8e6  # per example, forward and backward


def measure() -> list[dict[str, Any]]:
    """Measures the seconds of a step, the fraction of the peak and the ratio to vmapped flax."""
    model = jc.models.ResNet20(10)
    x = jax.random.normal(jax.random.key(0), (CLIENTS, BATCH, 32, 32, 3))
    batch = jc.data.Dataset(x, jnp.zeros((CLIENTS, BATCH), jnp.int32))
    params = jc.replicate(model.init(jax.random.key(1), x[0, :1]), CLIENTS)
    loss = jc.objectives.classification(model.apply)
    topology = jc.topology.ring(CLIENTS)
    algorithm = jc.decentralized(loss, optax.sgd(0.1, momentum=0.9), jc.gossip(topology))
    state = algorithm.init(params)
    mesh = jc.layout.mesh()
    with jc.layout.use(mesh):
        placed = jc.layout.place(state, mesh)
        split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("clients"))
        spread = jax.device_put(batch, split)
        step = jax.jit(algorithm.update).lower(placed, spread, jax.random.key(3)).compile()
    plain = _vmapped(model, loss, topology)
    velocity = jax.tree.map(jnp.zeros_like, params)
    seconds = interleaved(
        {
            "jcollab": lambda: step(placed, spread, jax.random.key(3)),
            "vmap": lambda: plain(params, velocity, batch),
        },
        repeats=2,
    )
    ours = seconds["jcollab"]
    return [
        {
            "case": f"ResNet-20, {CLIENTS} clients, batch {BATCH}",
            "step [s]": ours,
            "share of sgemm peak": CLIENTS * BATCH * FLOP / ours / sgemm_peak(),
            "vmapped flax / jcollab": seconds["vmap"] / ours,
        }
    ]


def _vmapped(model: Any, loss: Any, topology: Any) -> Callable[..., Any]:
    matrix = jnp.asarray(jc.topology.mixing_matrix(topology), jnp.float32)

    @jax.jit
    def step(params: Any, velocity: Any, batch: Any) -> Any:
        def gradient(params: Any, batch: Any) -> Any:
            return jax.grad(lambda p: loss(p, batch, jax.random.key(0))[0])(params)

        grads = jax.vmap(gradient)(params, batch)
        velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, grads)
        half = jax.tree.map(lambda p, v: p - 0.1 * v, params, velocity)
        return jax.tree.map(lambda p: jnp.einsum("ij,j...->i...", matrix, p), half), velocity

    def flax_conv(features: int, kernel: Any, stride: int, **options: Any) -> nn.Module:
        return nn.Conv(features, kernel, (stride, stride), **options, name=None)

    def run(*arrays: Any) -> Any:
        with mock.patch.object(torch_layers, "Conv", flax_conv):
            return step(*arrays)

    return run
