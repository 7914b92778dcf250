"""Clients in host memory: only what a round touches is on the device."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import Progress

from jcollab import layout
from jcollab.core import Array, Cohort, PyTree, State
from jcollab.training.run_log import interruptible, progress_bar


def offload(state: State) -> State:
    """The state with what belongs to clients as NumPy arrays, which rounds change in place."""
    return state._replace(clients=jax.tree.map(lambda leaf: np.array(leaf), state.clients))


def run_offloaded(
    cohort: Cohort,
    state: State,
    data: PyTree,
    key: Array,
    *,
    num_rounds: int,
    progress: bool | Progress = True,
    description: str = "training",
) -> tuple[State, dict[str, np.ndarray]]:
    """Rounds of sampled clients whose data and states stay in host memory.

    While the device computes a round, the rows and examples of the next cohort are gathered, so
    that device memory depends on m alone. The result is that of :func:`jcollab.run` with the same
    key.

    Args:
        cohort: from :func:`jcollab.algorithms.federated_cohort`.
        state: from ``cohort.init``; ``state.clients`` are NumPy arrays (see :func:`offload`;
            ``np.memmap`` for what memory does not hold), and CHANGED IN PLACE.
        data: what the cohort's source reads, as NumPy arrays.
        key: random key.
        num_rounds: T, rounds to run from here.
        progress: whether to show a bar, or a rich Progress to add it to.
        description: title of the bar.

    Returns:
        The last state and the log ``[T, ...]``. Ctrl-C ends after the round in hand; the state can
        be gone on from.

    Raises:
        ValueError: if num_rounds < 1, or ``state.clients`` are not writable NumPy arrays.
    """
    if num_rounds < 1:
        raise ValueError(f"num_rounds must be at least 1, got {num_rounds}")
    for leaf in jax.tree.leaves(state.clients):
        if not isinstance(leaf, np.ndarray) or not leaf.flags.writeable:
            raise ValueError(
                "state.clients must be writable NumPy arrays: jcollab.training.offload(state), got "
                f"{type(leaf).__name__}"
            )
    clients, shared, step = state
    n = layout.num_clients(clients, "state.clients")

    def prepare(at: int) -> tuple[Array, np.ndarray, PyTree, PyTree]:
        round_key, numbers = _choose(cohort, n, key, jnp.int32(at))
        numbers = np.asarray(numbers)
        rows = jax.tree.map(lambda leaf: leaf[numbers], clients)
        return round_key, numbers, rows, cohort.gather(data, numbers)

    logs: list[dict[str, np.ndarray]] = []
    start = int(step)
    with progress_bar(progress) as bar, interruptible() as interrupted:
        task = bar.add_task(description, total=num_rounds)
        coming = prepare(start)
        for at in range(start, start + num_rounds):
            round_key, numbers, rows, batch = coming
            fresh, shared, metrics = _round(
                cohort, n, rows, shared, batch, numbers, round_key, jnp.int32(at)
            )
            if at + 1 < start + num_rounds:
                coming = prepare(at + 1)  # while the device is at work
            fetched = jax.device_get(fresh)
            jax.tree.map(lambda leaf, row: leaf.__setitem__(numbers, row), clients, fetched)  # noqa: B023
            _renew(coming, numbers, clients)
            logs.append(jax.device_get(metrics))
            bar.update(task, advance=1)
            if interrupted.is_set():
                break
    done = State(clients, shared, jnp.int32(start + len(logs)))
    return done, {name: np.stack([log[name] for log in logs]) for name in logs[0]}


@functools.partial(jax.jit, static_argnums=(0, 1))
def _choose(cohort: Cohort, n: int, key: Array, step: Array) -> tuple[Array, Array]:
    """The key of a round and whom it samples, as in :func:`jcollab.run`."""
    _, update_key = jax.random.split(jax.random.fold_in(key, step))
    choose_key, round_key = jax.random.split(update_key)
    chosen = cohort.choose(choose_key, n)
    return round_key, jnp.arange(n) if chosen is None else chosen


@functools.partial(jax.jit, static_argnums=(0, 1))
def _round(
    cohort: Cohort,
    n: int,
    rows: PyTree,
    shared: PyTree,
    batch: PyTree,
    numbers: Array,
    key: Array,
    step: Array,
) -> tuple[PyTree, PyTree, dict]:
    return cohort.round(rows, shared, cohort.take(batch, None), numbers, key, step, n)


def _renew(coming: tuple, changed: np.ndarray, clients: PyTree) -> None:
    """Rows of the next cohort that the round before has changed are gathered anew."""
    _, numbers, rows, _ = coming
    stale = np.isin(numbers, changed)

    def renew(row: Any, leaf: Any) -> None:
        row[stale] = leaf[numbers[stale]]

    if stale.any():
        jax.tree.map(renew, rows, clients)
