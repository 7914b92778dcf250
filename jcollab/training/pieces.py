"""Pieces of a run on the devices, compiled once for each algorithm and length."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from jcollab import layout
from jcollab.core import Algorithm, Array, Batches, Metrics, PyTree, State, program, run, scan
from jcollab.training.replicas import Replicas

REPORT_MEMORY_FROM = 1 << 30  # bytes: runs that need more log how much they need
Advance = Callable[[State, Batches, int], tuple[State, dict[str, np.ndarray]]]
Start = Callable[[State, Batches, int], tuple[State, Metrics]]


def on_devices(
    algorithm: Algorithm | Callable[[PyTree], Algorithm], key: Array, replicas: Replicas | None
) -> Advance:
    """Builds ``advance(state, batches, length) -> (state, log)``, which donates the state.

    It raises MemoryError before it starts if its program needs more memory than is free.
    """
    start = starting(algorithm, key, replicas)

    def advance(state: State, batches: Batches, length: int) -> tuple[State, dict[str, np.ndarray]]:
        state, log = start(state, batches, length)
        return state, jax.device_get(log)

    return advance


def starting(
    algorithm: Algorithm | Callable[[PyTree], Algorithm], key: Array, replicas: Replicas | None
) -> Start:
    """Builds :func:`on_devices` without the wait: it returns while the devices still compute."""
    programs: dict[Any, Any] = {}
    settings = replicas.settings if replicas else None
    # The program closes over ``sides``, and lives as long as the algorithm: arrays of settings must
    # not be in it. They are an argument, so that other settings use the same program.
    sides = replicas and dataclasses.replace(replicas, settings=None)
    known = isinstance(algorithm, Algorithm)
    function = algorithm.update if isinstance(algorithm, Algorithm) else algorithm
    sampled = isinstance(algorithm, Algorithm) and algorithm.cohort is not None

    def build(get: Callable[[], Callable]) -> Any:
        def advance(
            state: State, batches: Batches, key: Array, settings: PyTree, length: int
        ) -> tuple[State, Metrics]:
            def go(state: State, batches: Batches, key: Array, own: PyTree) -> tuple:
                if known:
                    return scan(get(), sampled, state, batches, key, length)
                return run(get()(own), state, batches, key, num_rounds=length)

            if sides is None:
                return go(state, batches, key, None)
            axes = (0, sides.axes(batches), 0, None if settings is None else 0)
            return layout.per_replica(go, axes)(state, batches, key, settings)

        # donated: two states at once may not fit into memory
        options = layout.compiler_options()
        return jax.jit(advance, static_argnums=4, donate_argnums=0, compiler_options=options)

    # as text, since a tree of axes (a dictionary) cannot be hashed
    shown = jax.tree.flatten(sides and sides.data_axes, is_leaf=lambda leaf: leaf is None)
    compiled = program(function, ("piece", known, sampled, sides is None, str(shown)), build)

    def start(state: State, batches: Batches, length: int) -> tuple[State, Metrics]:
        # Compiled ahead of time, to know the memory before the first round. Such a program accepts
        # one placement and one form only, unlike jit, so there is one for each.
        form = (length, _placement(state), _form(batches))
        if form not in programs:
            programs[form] = compiled.lower(state, batches, key, settings, length).compile()
            need = layout.check_memory(programs[form], _size((state, batches)))
            if need and need >= REPORT_MEMORY_FROM and len(programs) == 1:
                logging.getLogger(__name__).info("needs about %.1f GiB of memory", need / 2**30)
        return programs[form](state, batches, key, settings)

    return start


def compile_evaluation(fn: Callable[[State], Metrics], state: State) -> Callable[[State], Metrics]:
    """Compiles an evaluation of one run for all replicas.

    Arrays that ``fn`` closes over, such as test data, become arguments of the program. As
    constants, they would be in memory twice, and XLA would fold operations on them.
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
