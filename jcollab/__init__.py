"""Collaborative learning in JAX: clients are an array axis, a whole run is one compiled program."""

import importlib
from typing import Any

from jcollab import (
    aggregators,
    algorithms,
    arrivals,
    attacks,
    averaging,
    channels,
    ensembles,
    layout,
    local,
    metrics,
    mixing,
    noise_scale,
    privacy,
    prototypes,
    retrieval,
    row_sparse,
    schedules,
    sources,
    topology,
)
from jcollab.algorithms import (
    apfl,
    asynchronous,
    centralized,
    collaborative_dbat,
    d2,
    dbat,
    decentralized,
    ditto,
    exact_diffusion,
    federated,
    federated_cohort,
    fine_tuning,
    grad_align,
    gradient_tracking,
    quasi_global_momentum,
    representation_sharing,
    sparse_decentralized,
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
    collaboration,
    gossip,
    identity,
    interleave,
    lazy_mixing,
    mix_every,
    mix_only,
    neighborhood,
    one_peer_exponential,
    personal_average,
    push_sum,
    random_peer,
    relay_sum,
    server,
)

__version__ = "0.1.0"

# these import distrax, flax, matplotlib, rich, scipy or tensorflow-datasets, and are loaded at
# first use
_LAZY = (
    "data",
    "flows",
    "models",
    "objectives",
    "pair_training",
    "plots",
    "second_moments",
    "sentences",
    "text",
    "training",
    "wall_clock",
)

__all__ = [
    "Algorithm",
    "Channel",
    "Clients",
    "Mixer",
    "State",
    "Wire",
    "aggregators",
    "algorithms",
    "all_reduce",
    "apfl",
    "arrivals",
    "asynchronous",
    "attacks",
    "averaging",
    "centralized",
    "channels",
    "collaboration",
    "collaborative_dbat",
    "d2",
    "dbat",
    "decentralized",
    "ditto",
    "dual_encoder",
    "ensembles",
    "exact_diffusion",
    "federated",
    "federated_cohort",
    "fine_tuning",
    "fit",
    "gossip",
    "grad_align",
    "gradient_tracking",
    "identity",
    "interleave",
    "layout",
    "lazy_mixing",
    "lift",
    "local",
    "metrics",
    "mix_every",
    "mix_only",
    "mixing",
    "neighborhood",
    "offload",
    "noise_scale",
    "one_peer_exponential",
    "params_of",
    "personal_average",
    "privacy",
    "prototypes",
    "push_sum",
    "quasi_global_momentum",
    "random_peer",
    "relay_sum",
    "replicate",
    "retrieval",
    "representation_sharing",
    "row_sparse",
    "run",
    "run_offloaded",
    "schedules",
    "server",
    "sources",
    "sparse_decentralized",
    "stateless",
    "sweep",
    "topology",
    "with_metrics",
    *_LAZY,
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"jcollab.{name}")
    if name == "sweep":
        return importlib.import_module("jcollab.sweeps").sweep
    if name == "fit":
        return importlib.import_module("jcollab.training").fit
    if name == "dual_encoder":
        return importlib.import_module("jcollab.pair_training").dual_encoder
    if name in ("offload", "run_offloaded"):
        return getattr(importlib.import_module("jcollab.host_memory"), name)
    raise AttributeError(f"module 'jcollab' has no attribute {name!r}")
