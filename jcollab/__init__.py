"""Collaborative learning in JAX: clients are an array axis, a whole run is one compiled program."""

import importlib
from typing import Any

from jcollab import (
    aggregators,
    arrivals,
    attacks,
    channels,
    layout,
    local,
    metrics,
    mixing,
    noise_scale,
    schedules,
    topology,
)
from jcollab.algorithms import (
    asynchronous,
    centralized,
    d2,
    decentralized,
    exact_diffusion,
    gradient_tracking,
    quasi_global_momentum,
)
from jcollab.core import (
    Algorithm,
    Channel,
    Clients,
    Mixer,
    State,
    Wire,
    lift,
    params_of,
    replicate,
    run,
    stateless,
    with_metrics,
)
from jcollab.mixing import (
    all_reduce,
    every,
    gossip,
    identity,
    interleave,
    lazy,
    neighborhood,
    on,
    one_peer_exponential,
    push_sum,
    relay_sum,
    server,
)

__version__ = "0.1.0"

# these import flax, matplotlib, rich, scipy or tensorflow-datasets, and are loaded at first use
_LAZY = ("data", "models", "objectives", "plots", "second_moments", "training", "wall_clock")

__all__ = [
    "Algorithm",
    "Channel",
    "Clients",
    "Mixer",
    "State",
    "Wire",
    "aggregators",
    "all_reduce",
    "arrivals",
    "asynchronous",
    "attacks",
    "centralized",
    "channels",
    "d2",
    "decentralized",
    "every",
    "exact_diffusion",
    "fit",
    "gossip",
    "gradient_tracking",
    "identity",
    "interleave",
    "layout",
    "lazy",
    "lift",
    "local",
    "metrics",
    "mixing",
    "neighborhood",
    "noise_scale",
    "on",
    "one_peer_exponential",
    "params_of",
    "push_sum",
    "quasi_global_momentum",
    "relay_sum",
    "replicate",
    "run",
    "schedules",
    "server",
    "stateless",
    "topology",
    "with_metrics",
    *_LAZY,
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"jcollab.{name}")
    if name == "fit":
        return importlib.import_module("jcollab.training").fit
    raise AttributeError(f"module 'jcollab' has no attribute {name!r}")
