"""Rounds of a cohort: of n clients m are sampled, and only those are touched."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jcollab import layout
from jcollab.core import Array, Cohort, Metrics, PyTree, State
from jcollab.data.batches import as_local, check_clients_of


def update_of(cohort: Cohort) -> Callable[[State, PyTree, Array], tuple[State, Metrics]]:
    """The update of the state of all n clients, of which each round gathers and writes back m."""

    one_round = cohort.round
    assert one_round is not None

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        n = layout.num_clients(state.clients, "state.clients")
        choose_key, round_key = jax.random.split(key)
        chosen = cohort.choose(choose_key, n)
        numbers = jnp.arange(n) if chosen is None else chosen
        clients = state.clients
        rows = clients if chosen is None else jax.tree.map(lambda leaf: leaf[chosen], clients)
        local = as_local(batch)
        check_clients_of(local, n, cohort.local_steps)
        drawn = local.rows(chosen, cohort.local_steps)
        fresh, shared, metrics = one_round(
            rows, state.shared, drawn, numbers, round_key, state.step, n
        )
        if chosen is not None:
            fresh = jax.tree.map(lambda leaf, row: leaf.at[chosen].set(row), clients, fresh)
        return State(fresh, shared, state.step + 1), metrics

    return update
