"""A mixer with a server, which combines the values of all clients and sends them the result."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jcollab import channels, checks, layout
from jcollab.aggregators import weighted
from jcollab.aggregators.common import check_inputs, check_rule, combined
from jcollab.core import (
    Array,
    Channel,
    Mixer,
    PyTree,
    Receiver,
    Round,
    Rule,
    Wire,
    replicate,
    widen,
)
from jcollab.mixing.common import num_mixed, payload, weight_dtype


class ServerState(NamedTuple):
    """State of :func:`server`, repeated for every client, so that leaves lead with the client axis.

    Attributes:
        value: the last result of the server, ``[n, ...]``.
        rule: state of the rule, ``[n, ...]``.
        channel: state of the channel, whose slots are the clients, ``[n, ...]``.
    """

    value: PyTree
    rule: PyTree
    channel: PyTree


def server(rule: Rule | None = None, channel: Channel | None = None) -> Mixer:
    """Builds a mixer with a server that combines all values: ``x_i' = rule({x_j})``.

    The server's value is its last result, and initially the clients' mean. It has no weight: rules
    that count inputs omit it, and self-centered rules use it as their center. Each message has
    weight 1/n; the weights of the messages that arrive are scaled to sum to 1.

    Args:
        rule: how the server combines messages, see :mod:`jcollab.aggregators`; None for the mean.
        channel: what happens to messages on their way to the server, see :mod:`jcollab.channels`;
            None for reliable links.

    Raises:
        TypeError: if ``rule`` is not a Rule or ``channel`` is not a Channel.
        ValueError: in ``init``, if the rule needs more inputs than there are clients.

    Example:
        >>> mixer = jc.mixing.server(jc.aggregators.trimmed_mean(1))
        >>> x, context = jnp.array([0.0, 1.0, 2.0, 100.0]), jc.core.Round(jax.random.key(0), 0)
        >>> jax.jit(mixer.update)(x, mixer.init(x), context)[0].tolist()  # the mean of 1 and 2
        [1.5, 1.5, 1.5, 1.5]
    """
    inner = weighted() if rule is None else rule
    link = channels.reliable() if channel is None else channel
    check_rule(inner)
    checks.kind(Channel, channel=link)

    def init(x: PyTree) -> ServerState:
        n = num_mixed(x)
        check_inputs(inner, n)
        # The server is one receiver with n slots, so a channel's state is [1, n, ...]; without the
        # first axis it leads with the client axis. The rule's state is copied to get that axis.
        mean = jax.tree.map(lambda leaf: jnp.mean(widen(leaf), axis=0), x)
        channel_state = link.init(_lead(jax.tree.map(widen, x)))
        return ServerState(
            replicate(mean, n), replicate(inner.init(mean), n), _first(channel_state)
        )

    def update(x: PyTree, s: ServerState, context: Round) -> tuple[PyTree, ServerState]:
        n = layout.num_clients(x)
        checks.kind(ServerState, **{"the mixer's state": s})
        new, kept, channel_state = combine(
            inner,
            link,
            _first(s.value),
            jax.tree.map(widen, x),
            jnp.full(n, 1 / n, weight_dtype(x)),
            (_first(s.rule), s.channel),
            sent=x,
            context=context,
            senders=jnp.arange(n),
        )
        mixed = optax.tree.cast_like(replicate(new, n), x)
        return mixed, ServerState(replicate(new, n), replicate(kept, n), channel_state)

    return Mixer(init, update, lambda x: np.full(layout.num_clients(x), float(payload(x))))


def combine(
    rule: Rule,
    channel: Channel,
    own: PyTree,
    inbox: PyTree,
    weights: Array,
    states: tuple[PyTree, PyTree],
    *,
    sent: PyTree,
    context: Round,
    senders: Array,
) -> tuple[PyTree, PyTree, PyTree]:
    """Combines the messages of m of the n clients by a rule at the server.

    Args:
        rule: the rule.
        channel: what happens to the messages in transit.
        own: the server's value, ``[...]``, which has no weight.
        inbox: the messages, ``[m, ...]``.
        weights: relative weights of the messages, ``[m]``; 0 for a missing message.
        states: state of the rule, and state of the channel ``[m, ...]``.
        sent: the value that each client shares, ``[n, ...]``.
        context: the context of the round.
        senders: indices of the m clients.

    Returns:
        The new value (the server's value if no message arrives), the state of the rule and the
        state of the channel.
    """
    n = layout.num_clients(sent)
    number = jnp.array([n])  # the index of the server, after those of the clients
    wire = Wire(
        context.key,
        context.step,
        sent,
        _lead(own),
        number,
        senders[None],
        _shares(weights, weights > 0)[None],
    )
    box, arrived, channel_state = channel.update(
        _lead(inbox), (weights > 0)[None], _lead(states[1]), wire
    )
    rule_key = jax.random.fold_in(context.key, n)
    receiver = Receiver(rule_key, context.step, number[0], senders, own_counts=False)
    shares = _shares(weights, arrived[0])
    new, kept = combined(rule, own, _first(box), shares, states[0], receiver)
    # Without any message, the weights are all 0 and a rule's result means nothing.
    new = optax.tree.where(arrived.any(), new, own)
    return new, kept, _first(channel_state)


def _shares(weights: Array, arrived: Array) -> Array:
    weights = jnp.where(arrived, weights, 0)
    total = weights.sum()
    return weights / jnp.where(total > 0, total, 1)


def _lead(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[None], tree)


def _first(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[0], tree)
