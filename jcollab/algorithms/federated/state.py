"""State and settings of federated learning."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jcollab.algorithms.model_state import ModelState
from jcollab.core import Array, Channel, Metrics, Objective, PyTree, Rule
from jcollab.local import ClientMethod, Sharing


class FederatedClients(NamedTuple):
    """Client part of the state; every leaf is ``[n, ...]``.

    Attributes:
        weights: p_i, the weight of each client in the mean update.
        num_steps: int32, local steps of each client; () where all take H.
        personal: leaves of the models that are not shared, see :func:`jcollab.local.sharing`.
        model_state: states of the models, where they are not averaged.
        opt_state: states of the local optimizers, where they are kept.
        memory: what the method stores for each client.
        channel: messages in transit.
    """

    weights: Array
    num_steps: Array | tuple[()]
    personal: PyTree
    model_state: PyTree
    opt_state: PyTree
    memory: PyTree
    channel: PyTree


class Server(NamedTuple):
    """Shared part of the state.

    Attributes:
        params: the server's model x; None in place of leaves that are not shared.
        model_state: its state s, where it is averaged.
        opt_state: state of the server optimizer.
        memory: what the method stores for all clients together.
        rule: state of the rule.
        total: sum of all clients' weights.
    """

    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    memory: PyTree
    rule: PyTree
    total: Array


class Settings(NamedTuple):
    """The arguments of :func:`jcollab.federated`, with defaults filled in."""

    objective: Objective
    optimizer: optax.GradientTransformationExtraArgs
    server_optimizer: optax.GradientTransformation
    num_sampled: int | None
    local_steps: int
    method: ClientMethod
    sharing: Sharing | None
    rule: Rule
    channel: Channel
    stacks: bool  # whether the server needs all updates at once, for its rule or channel
    weights: Any
    num_steps: Any
    dropout: Any
    honest: Any
    keep_opt_state: bool
    model_state: ModelState
    num_clients: int | None
    chunk: int | None


class Parts(NamedTuple):
    """A model of ONE client: its shared leaves, and its personal ones, () if all are shared."""

    shared: PyTree
    personal: PyTree


class RoundSums(NamedTuple):
    """Weighted sums over the clients of a round.

    The mean needs only these sums, which are added up while clients are computed, so that the
    updates of all sampled clients are never in memory together.

    Attributes:
        weight: sum of weights.
        update: sum of updates divided by their lengths, and of changes of an averaged state; ()
            with a rule or channel.
        length: sum of lengths.
        moved: sum of changes of the clients' memories.
        metrics: sums of metrics of honest clients.
        honest: sum of weights of honest clients.
        value: sum of the losses at the models where clients start.
        participants: number of clients that finish the round.
    """

    weight: Array
    update: PyTree
    length: Array
    moved: PyTree
    metrics: Metrics
    honest: Array
    value: Array
    participants: Array


def divided(sums: PyTree, weight: Array) -> PyTree:
    """Divides sums by their weight, or by 1 if it is 0 (the sums are then 0 too)."""
    weight = jnp.where(weight > 0, weight, 1)
    return jax.tree.map(lambda leaf: leaf / weight.astype(leaf.dtype), sums)
