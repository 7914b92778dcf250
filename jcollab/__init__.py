"""Collaborative learning in JAX: clients are an array axis, a whole run is one compiled program."""

import importlib
from typing import Any

from jcollab import (
    aggregators,
    algorithms,
    channels,
    data,
    layout,
    local,
    metrics,
    mixing,
    objectives,
    privacy,
    theory,
    topology,
)
from jcollab.algorithms import centralized, dbat, decentralized, federated, representation_sharing
from jcollab.core import (
    Algorithm,
    Channel,
    Mixer,
    State,
    params_of,
    replicate,
    run,
    stateful,
    with_metrics,
)
from jcollab.mixing import (
    all_reduce,
    gossip,
    identity,
    mix_every,
    mix_only,
    neighborhood,
    personal_average,
    relay_sum,
    server,
)

__version__ = "0.1.0"

# These packages import flax, distrax, matplotlib or rich, which takes seconds and may not be
# installed. They are loaded at first use, so that ``import jcollab`` needs JAX and optax alone.
_LAZY = ("flows", "models", "plots", "text", "training")

__all__ = [
    "Algorithm",
    "Channel",
    "Mixer",
    "State",
    "aggregators",
    "algorithms",
    "all_reduce",
    "centralized",
    "channels",
    "data",
    "dbat",
    "decentralized",
    "federated",
    "fit",
    "flows",
    "gossip",
    "identity",
    "layout",
    "local",
    "metrics",
    "mix_every",
    "mix_only",
    "mixing",
    "models",
    "neighborhood",
    "objectives",
    "params_of",
    "personal_average",
    "plots",
    "privacy",
    "relay_sum",
    "replicate",
    "representation_sharing",
    "run",
    "server",
    "stateful",
    "sweep",
    "text",
    "theory",
    "topology",
    "training",
    "with_metrics",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"jcollab.{name}")
    # functions of a lazy package that are public here too
    if name in ("fit", "sweep"):
        return getattr(importlib.import_module("jcollab.training"), name)
    raise AttributeError(f"module 'jcollab' has no attribute {name!r}")
