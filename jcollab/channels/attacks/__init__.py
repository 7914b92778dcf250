"""Attacks: the messages that byzantine neighbors send to ONE receiver.

An attack is a function ``attack(own, messages, weights, byzantine, context) -> messages``:

    own        value that the receiver shares in this round, leaves ``[...]``
    messages   honest messages of its neighbors, leaves ``[K, ...]``
    weights    mixing weights ``[K]``, 0 where no message arrives
    byzantine  bool ``[K]``, the slots of byzantine neighbors
    context    a ``jcollab.core.Wire`` of one receiver: random key, round, the values ``sent``
               by all clients ``[n, ...]``, the indices of the receiver and the senders

The result has leaves ``[K, ...]``, of which only byzantine slots are used, or ``[...]`` if all
byzantine neighbors send the same message. Attackers may use all messages of the round, cooperate,
and send a different message to each neighbor.
"""

from jcollab.channels.attacks.combine import choose, only
from jcollab.channels.attacks.labels import FlippedLabels, flip_labels
from jcollab.channels.attacks.messages import (
    alie,
    alie_z,
    bit_flip,
    dissensus,
    gaussian,
    inner_product_manipulation,
    mimic,
)

__all__ = [
    "FlippedLabels",
    "alie",
    "alie_z",
    "bit_flip",
    "choose",
    "dissensus",
    "flip_labels",
    "gaussian",
    "inner_product_manipulation",
    "mimic",
    "only",
]
