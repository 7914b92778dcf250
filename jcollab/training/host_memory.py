"""Runs with clients in host memory; only the rows of sampled clients are on the device."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import layout
from jcollab.core import (
    Array,
    Batches,
    Cohort,
    CohortRound,
    LocalBatches,
    Metrics,
    PyTree,
    State,
    program,
    round_keys,
)
from jcollab.data.batches import Drawn, check_clients_of


def check_offload(algorithm: Any) -> None:
    """Raises ValueError unless the rounds of the algorithm touch only sampled clients."""
    cohort = getattr(algorithm, "cohort", None)
    if cohort is None or cohort.round is None:
        raise ValueError(
            "offload needs an algorithm whose rounds touch only sampled clients (federated; "
            "with_metrics and ditto need the state of all), got one that touches all of them"
        )


def to_host(state: State) -> State:
    """Converts ``clients`` of a state to writable NumPy arrays; NumPy arrays are not copied.

    Raises:
        ValueError: if a NumPy array cannot be written to.
    """

    def move(leaf: Any) -> np.ndarray:
        if not isinstance(leaf, np.ndarray):
            return np.array(leaf)
        if not leaf.flags.writeable:
            raise ValueError(
                "state.clients must be writable, since rounds change NumPy arrays in place, got a "
                f"read-only array of shape {list(leaf.shape)}"
            )
        return leaf

    shared, step = jax.tree.map(jnp.asarray, (state.shared, state.step))
    return State(jax.tree.map(move, state.clients), shared, step)


def in_host_memory(
    cohort: Cohort, key: Array
) -> Callable[[State, Batches, int], tuple[State, dict[str, np.ndarray]]]:
    """Builds ``advance(state, batches, length) -> (state, log)``, which changes ``state.clients``.

    Device memory depends on m only. While the device computes a round, the host gathers the rows
    and examples of the next round.
    """

    assert cohort.round is not None
    choose = program(cohort.choose, "choose", _choosing)
    one_round = program(cohort.round, "round", _one_round)
    given, fetched = None, None

    def in_host(batches: Batches) -> Any:
        """Returns the batches with their arrays in host memory, where they are moved once."""
        nonlocal given, fetched
        if batches is not given:
            # arrays of a user's function stay on the device: the function may compute with them
            given, fetched = batches, batches if isinstance(batches, Drawn) else _fetch(batches)
        return fetched

    def prepare(state: State, batches: Batches, step: int) -> tuple:
        n, at = layout.num_clients(state.clients, "state.clients"), jnp.int32(step)
        if batches is not given:
            check_clients_of(batches.local(key, at), n, cohort.local_steps)
        round_key, numbers = choose(n, key, at)
        numbers = np.asarray(numbers)
        # an index array copies the rows, and reads those of np.memmap from disk
        rows = jax.tree.map(lambda leaf: leaf[numbers], state.clients)
        return at, n, round_key, numbers, rows, in_host(batches).local(key, at).gather(numbers)

    def advance(state: State, batches: Batches, length: int) -> tuple[State, dict[str, np.ndarray]]:
        clients, shared, first = state.clients, state.shared, int(state.step)
        logs: list[dict[str, np.ndarray]] = []
        coming = prepare(state, batches, first)
        for step in range(first, first + length):
            at, n, round_key, numbers, rows, batch = coming
            # returns before the device has finished, so that the host can prepare the next round
            fresh, shared, metrics = one_round(
                n, rows, shared, batch, numbers, round_key, at, cohort.local_steps
            )
            if step + 1 < first + length:
                coming = prepare(state, batches, step + 1)
            fetched = jax.device_get(fresh)  # waits for the device
            jax.tree.map(functools.partial(_write, numbers), clients, fetched)
            # The next rows were gathered before this round was written: clients that are sampled in
            # both rounds are read again.
            _renew(coming[3], coming[4], numbers, clients)
            logs.append(jax.device_get(metrics))
        log = {name: np.stack([each[name] for each in logs]) for name in logs[0]}
        return State(clients, shared, jnp.int32(first + length)), log

    return advance


def _choosing(get: Callable[[], Callable]) -> Callable:
    """Builds the function that returns the key of a round and the clients that it samples."""

    def choose(n: int, key: Array, step: Array) -> tuple[Array, Array]:
        # the same splits as in an update on the device, so that both give the same run
        choose_key, round_key = jax.random.split(round_keys(key, step)[1])
        chosen = get()(choose_key, n)
        return round_key, jnp.arange(n) if chosen is None else chosen

    return jax.jit(choose, static_argnums=0)


def _one_round(get: Callable[[], CohortRound]) -> Callable:
    def one_round(
        n: int,
        rows: PyTree,
        shared: PyTree,
        batch: LocalBatches,
        numbers: Array,
        key: Array,
        step: Array,
        local_steps: int,
    ) -> tuple[PyTree, PyTree, Metrics]:
        drawn = batch.rows(None, local_steps)
        return get()(rows, shared, drawn, numbers, key, step, n)

    return jax.jit(one_round, static_argnums=(0, 7), compiler_options=layout.compiler_options())


def _fetch(batches: Batches) -> Batches:
    return jax.tree.map(np.asarray, batches)


def _write(numbers: np.ndarray, leaf: np.ndarray, rows: np.ndarray) -> None:
    leaf[numbers] = rows


def _renew(coming: np.ndarray, rows: PyTree, changed: np.ndarray, clients: PyTree) -> None:
    """Gathers again the rows of the next round that the present one has changed."""
    stale = np.isin(coming, changed)

    def renew(row: np.ndarray, leaf: np.ndarray) -> None:
        row[stale] = leaf[coming[stale]]

    if stale.any():
        jax.tree.map(renew, rows, clients)
