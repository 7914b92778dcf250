"""A server that combines what all clients send it, and sends the result back to all of them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import channels, layout
from jcollab.aggregators import Rule, StatefulRule, check_neighborhoods, weighted
from jcollab.aggregators.common import as_stateful
from jcollab.core import Array, Channel, Mixer, PyTree, Wire, offer
from jcollab.mixing.common import payload, widen


class ServerState(NamedTuple):
    """What the server keeps, the same for every client so that leaves lead with the client axis.

    Attributes:
        value: its last result, ``[n, ...]``.
        rule: state of the rule, ``[n, ...]``.
        channel: state of the channel, whose slots are the clients, ``[n, ...]``.
    """

    value: PyTree
    rule: PyTree
    channel: PyTree


def server(rule: Rule | StatefulRule | None = None, channel: Channel | None = None) -> Mixer:
    """Every client gets what a rule makes of all clients' values: ``x_i' = rule({x_j})``.

    The server's own value is its last result (at first, the clients' mean). It has no weight:
    rules that count inputs leave it out, and self-centred ones take it as their centre. Each
    message has the weight 1/n; those of messages that do not arrive are shared out.

    Args:
        rule: see :mod:`jcollab.aggregators`; None for the mean.
        channel: what happens to messages on their way to the server.

    Raises:
        TypeError: if ``rule`` is neither a function nor a StatefulRule.
        ValueError: at ``init``, if the rule cannot work with as few inputs as there are clients.
    """
    inner, link = as_stateful(weighted() if rule is None else rule), channel or channels.reliable()

    def init(x: PyTree) -> ServerState:
        n = layout.num_clients(x, "params")
        check_neighborhoods(rule or inner, n)
        mean = jax.tree.map(lambda leaf: jnp.mean(widen(leaf), axis=0), x)
        held = link.init(jax.tree.map(lambda leaf: widen(leaf)[None], x))
        return ServerState(_to_all(mean, n), _to_all(inner.init(mean), n), _first(held))

    def update(
        x: PyTree, s: ServerState, *, key: Array, step: Array, batch: PyTree = None
    ) -> tuple[PyTree, ServerState]:
        n = layout.num_clients(x)
        own, everyone = _first(s.value), jnp.arange(n)
        inbox = jax.tree.map(lambda leaf: widen(leaf)[None], x)
        dtype = jax.tree.leaves(inbox)[0].dtype
        number, weights = jnp.array([n]), jnp.full((1, n), 1 / n, dtype)
        one = jax.tree.map(lambda leaf: leaf[None], own)
        wire = Wire(key, step, x, one, number, everyone[None], weights)
        held = jax.tree.map(lambda leaf: leaf[None], s.channel)
        inbox, arrived, held = link.update(inbox, jnp.ones((1, n), bool), held, wire)
        weights = arrived[0] / jnp.maximum(arrived[0].sum(), 1).astype(dtype)
        new, kept = offer(
            inner.update,
            own,
            _first(inbox),
            weights,
            _first(s.rule),
            key=jax.random.fold_in(key, n),
            step=step,
            receiver=number[0],
            senders=everyone,
            own_counts=False,
        )
        # where nothing arrives the server keeps what it has
        new = jax.tree.map(lambda a, b: jnp.where(arrived.any(), a, b), new, own)
        mixed = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), _to_all(new, n), x)
        state = ServerState(_to_all(new, n), _to_all(kept, n), _first(held))
        return mixed, state

    return Mixer(init, update, lambda x: np.full(layout.num_clients(x), float(payload(x))))


def _first(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[0], tree)


def _to_all(tree: PyTree, n: int) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n, *leaf.shape)), tree)
