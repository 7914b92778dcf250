"""Tables of natural clients, and estimates of all clients by a mixer."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import jcollab as jc
from jcollab.theory import averaging

# weights of the others that are computed from their distance; each client has its own, or all one
EACH = {f"{name}, each": rule for name, rule in averaging.RULES.items()}
SHARED: dict[str, Callable[[int], Any]] = {
    "positive part, shared": lambda n: averaging.shared_weight(averaging.positive_part),
    "shared bias": lambda n: averaging.shared_bias,
    "James-Stein": lambda n: averaging.shared_weight(averaging.james_stein(n - 1, positive=True)),
}
PLUG_IN = (*EACH, *SHARED)


def read(data: str, name: str) -> pd.DataFrame:
    """Reads a table of the data folder; ValueError if the folder or the table is missing."""
    path = pathlib.Path(data, name)
    if not data or not path.exists():
        raise ValueError(f"data must be a folder with {name} (--data DIR), got {data!r}")
    return pd.read_csv(path)


def estimates(local: Any, variance: Any, counts: Any = None) -> dict[str, tuple[Any, Any]]:
    """Computes estimates and weights of the others ``[n]`` by every method.

    Args:
        local: each client's own estimate, ``[n]``.
        variance: variance of these, for all or ``[n]``.
        counts: numbers of samples ``[n]``; None for equal numbers.
    """
    n, own = len(local), jnp.asarray(local, float)
    sizes = np.ones(n) if counts is None else np.asarray(counts, float)
    pooled = averaging.pooled_weight(sizes, sizes.sum() - sizes)
    mixers = {
        "alone": jc.personal_average(0.0),
        "common": jc.personal_average(pooled, counts=sizes),
    }
    for name in PLUG_IN:
        rule = EACH[name] if name in EACH else SHARED[name](n)
        mixers[name] = jc.personal_average(rule, counts=sizes, variance=variance)

    def mix(mixer: jc.Mixer) -> tuple[np.ndarray, np.ndarray]:
        round_ = jc.core.Round(jax.random.key(0), 0)
        mixed, state = mixer.update(own, mixer.init(own), round_)
        return np.asarray(mixed, float), np.asarray(state.weight, float)

    return {name: mix(mixer) for name, mixer in mixers.items()}
