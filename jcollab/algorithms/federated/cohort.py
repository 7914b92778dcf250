"""Rounds of a cohort: of N clients m are sampled, and only those are touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jcollab import layout
from jcollab.core import Algorithm, Array, Metrics, PyTree, State


class Cohort(NamedTuple):
    """An algorithm that works on the sampled clients alone.

    Attributes:
        init: as of an :class:`jcollab.Algorithm`.
        choose: ``choose(key, n) -> clients``, int ``[m]``; None where all take part, in order.
        round: ``round(clients, shared, owned, numbers, key, step, n)`` returns
            ``(clients, shared, metrics)``; rows ``[m, ...]`` are those of the sampled clients.
        take: ``take(batch, numbers) -> (rows, common)``, what the sampled clients own of a batch.
        gather: ``gather(data, numbers) -> batch`` of the sampled clients alone, in NumPy.
    """

    init: Callable[..., State]
    choose: Callable[[Array, int], Array | None]
    round: Callable[..., tuple[PyTree, PyTree, Metrics]]
    take: Callable[[PyTree, Array | None], tuple[PyTree, PyTree]]
    gather: Callable[[PyTree, Any], PyTree]


def as_algorithm(cohort: Cohort) -> Algorithm:
    """The algorithm on the state of all N clients, of whom each round gathers and writes back m."""

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        n = layout.num_clients(state.clients, "state.clients")
        choose_key, round_key = jax.random.split(key)
        chosen = cohort.choose(choose_key, n)
        numbers = jnp.arange(n) if chosen is None else chosen
        clients = state.clients
        rows = clients if chosen is None else jax.tree.map(lambda leaf: leaf[chosen], clients)
        owned = cohort.take(batch, chosen)
        fresh, shared, metrics = cohort.round(
            rows, state.shared, owned, numbers, round_key, state.step, n
        )
        if chosen is not None:
            fresh = jax.tree.map(lambda leaf, row: leaf.at[chosen].set(row), clients, fresh)
        return State(fresh, shared, state.step + 1), metrics

    return Algorithm(cohort.init, update)
