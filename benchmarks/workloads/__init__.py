"""The workloads W1 to W8 as programs of this library, see :mod:`benchmarks.cases`.

Each function takes the sizes of a case, ``dtype`` and ``chunk``, and returns a :class:`Workload`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import jcollab as jc

PyTree = Any


class Workload(NamedTuple):
    """A program and the work that it cannot avoid.

    Attributes:
        run: computes the case once and waits for the result.
        flop: floating-point operations of one call, 0 if unknown.
        bytes: bytes that one call must at least read and write.
    """

    run: Callable[[], Any]
    flop: float = 0
    bytes: float = 0


def repeated(update: Callable, state: PyTree, data: PyTree) -> Callable[[], Any]:
    """Builds a function that continues ``state, _ = update(state, data, key)``, in place.

    The client axis is split over all devices of the process if they divide it.
    """
    key, options = jax.random.key(1), jc.layout.compiler_options()
    compiled = jax.jit(update, donate_argnums=0, compiler_options=options or None)
    mesh = jc.layout.mesh()
    if mesh.size > 1 and jc.layout.num_clients(data, "data") % mesh.size == 0:
        split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("clients"))
        state, data = jc.layout.place(state, mesh), jax.device_put(data, split)
        with jc.layout.use(mesh):
            compiled = compiled.lower(state, data, key).compile()

    def run() -> Any:
        nonlocal state
        state, _ = compiled(state, data, key)
        return jax.block_until_ready(state)

    return run


def continued(
    algorithm: jc.Algorithm, state: jc.State, data: PyTree, rounds: int
) -> Callable[[], Any]:
    """Builds a function that continues a run with the same batch in every round, in place."""
    batches, key = jc.data.full_batch(data), jax.random.key(1)

    def run() -> Any:
        nonlocal state
        state, log = jc.run(algorithm, state, batches, key, num_rounds=rounds, donate=True)
        return jax.block_until_ready(log)

    return run


def training(loss: Callable, params: PyTree, batch: PyTree, num_steps: int) -> dict[str, float]:
    """Counts the work of ``num_steps`` steps of SGD: ``flop`` and ``bytes``.

    A step reads and writes the parameters, and reads the batch.
    """
    key = jax.random.key(0)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(jc.core.lift(loss)(p, (), batch, key)[0])))
    flop = gradient.lower(params).cost_analysis()["flops"]
    moved = 2 * size(params) + size(batch)
    return {"flop": num_steps * flop, "bytes": num_steps * moved}


def size(tree: PyTree) -> int:
    """Returns the bytes of a pytree of arrays."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def in_dtype(loss: Callable, dtype: str) -> Callable:
    """Returns the loss, computed in ``dtype`` with parameters in float32."""
    return loss if dtype == "float32" else jc.objectives.computed_in(jnp.dtype(dtype), loss)
