"""Channels, which lose, delay or replace messages between senders and receivers."""

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
