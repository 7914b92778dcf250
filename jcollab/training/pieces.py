"""A piece of a run on the devices, compiled once for each length."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from jcollab import layout
from jcollab.core import Algorithm, Array, Batches, Metrics, PyTree, State, run
from jcollab.training.replicas import Replicas

REPORT_MEMORY_FROM = 1 << 30  # bytes of memory from which on the need of a run is logged
Advance = Callable[[State, Batches, int], tuple[State, dict[str, np.ndarray]]]


def on_devices(
    algorithm: Algorithm | Callable[[PyTree], Algorithm], key: Array, replicas: Replicas | None
) -> Advance:
    """``advance(state, batches, length) -> (state, log)``, which takes the state's buffers.

    A piece raises MemoryError if its program needs more memory than is free, before it starts.
    """
    programs: dict[Any, Any] = {}
    settings = replicas.settings if replicas else None

    def advance(state: State, batches: Batches, key: Array, length: int) -> tuple[State, Metrics]:
        def go(state: State, batches: Batches, key: Array, own: PyTree) -> tuple[State, Metrics]:
            built = algorithm if isinstance(algorithm, Algorithm) else algorithm(own)
            return run(built, state, batches, key, num_rounds=length)

        if replicas is None:
            return go(state, batches, key, None)
        axes = (0, replicas.axes(batches), 0, None if settings is None else 0)
        return layout.per_replica(go, axes)(state, batches, key, settings)

    compiled = jax.jit(advance, static_argnums=3, donate_argnums=0)

    def piece(state: State, batches: Batches, length: int) -> tuple[State, dict[str, np.ndarray]]:
        form = (length, _placement(state), _form(batches))
        if form not in programs:
            programs[form] = compiled.lower(state, batches, key, length).compile()
            need = layout.check_memory(programs[form], _size((state, batches)))
            if need and need >= REPORT_MEMORY_FROM and len(programs) == 1:
                logging.getLogger(__name__).info("needs about %.1f GiB of memory", need / 2**30)
        state, log = programs[form](state, batches, key)
        return state, jax.device_get(log)

    return piece


def compile_evaluation(fn: Callable[[State], Metrics], state: State) -> Callable[[State], Metrics]:
    """``fn`` of one run for all replicas.

    It is compiled with the arrays that it closes over as arguments, not as constants.
    """
    closed, shapes = jax.make_jaxpr(layout.per_replica(fn), return_shape=True)(state)

    @jax.jit
    def call(constants: list[Array], state: State) -> Metrics:
        results = jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, constants))(*jax.tree.leaves(state))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return lambda state: call(closed.consts, state)


def _placement(state: State) -> tuple:
    return tuple(leaf.sharding for leaf in jax.tree.leaves(state))


def _form(tree: PyTree) -> tuple:
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)


def _size(tree: PyTree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree) if hasattr(leaf, "nbytes"))
