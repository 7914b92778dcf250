"""Channels: what happens to messages between sender and receiver."""

from jcollab.channels import attacks
from jcollab.channels.transport import byzantine, chain, delayed, drop, reliable

__all__ = [
    "attacks",
    "byzantine",
    "chain",
    "delayed",
    "drop",
    "reliable",
]
