"""Mixers, which combine the values that clients exchange.

Averages are computed in float32 or a wider type.
"""

from jcollab.mixing.average import all_reduce, gossip, identity
from jcollab.mixing.common import payload, stateless
from jcollab.mixing.compose import interleave, lazy_mixing, mix_every, mix_only
from jcollab.mixing.neighborhood import neighborhood
from jcollab.mixing.personal import collaboration, personal_average
from jcollab.mixing.push_sum import one_peer_exponential, push_sum
from jcollab.mixing.random_peer import random_peer
from jcollab.mixing.relay import relay_sum
from jcollab.mixing.server import server

__all__ = [
    "all_reduce",
    "collaboration",
    "gossip",
    "identity",
    "interleave",
    "lazy_mixing",
    "mix_every",
    "mix_only",
    "neighborhood",
    "one_peer_exponential",
    "payload",
    "personal_average",
    "push_sum",
    "random_peer",
    "relay_sum",
    "server",
    "stateless",
]
