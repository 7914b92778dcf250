"""Rounds of a cohort: m of n clients are sampled, and only their rows are read and written."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jcollab import layout
from jcollab.core import Array, Cohort, Metrics, PyTree, State
from jcollab.data.batches import as_local, check_clients_of


def update_of(cohort: Cohort) -> Callable[[State, PyTree, Array], tuple[State, Metrics]]:
    """Builds ``update(state, batch, key)`` from the round of a cohort.

    Each round gathers the rows of the m sampled clients from the state of all n clients, and
    writes their new rows back.
    """
    one_round = cohort.round
    # only wrappers drop it, and they bring an update of their own
    assert one_round is not None

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        n = layout.num_clients(state.clients, "state.clients")
        choose_key, round_key = jax.random.split(key)
        chosen = cohort.choose(choose_key, n)
        numbers = jnp.arange(n) if chosen is None else chosen
        # Without sampling, rows are used as they are: gathering and scattering all n would copy
        # the state twice in every round.
        clients = state.clients
        rows = clients if chosen is None else jax.tree.map(lambda leaf: leaf[chosen], clients)
        local = as_local(batch)
        check_clients_of(local, n, cohort.local_steps)
        drawn = local.rows(chosen, cohort.local_steps)
        fresh, shared, metrics = one_round(
            rows, state.shared, drawn, numbers, round_key, state.step, n
        )
        if chosen is not None:
            # within the loop of a run, XLA scatters in place: a round costs m rows, not n
            fresh = jax.tree.map(lambda leaf, row: leaf.at[chosen].set(row), clients, fresh)
        return State(fresh, shared, state.step + 1), metrics

    return update
