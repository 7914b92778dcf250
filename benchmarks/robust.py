"""Compares robust aggregation of 100 models of 1e6 numbers with the same rules in PyTorch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from benchmarks.timing import interleaved
from jcollab import aggregators

CLIENTS, SIZE = 100, 1_000_000
BYZANTINE, TRIM, RADIUS, STEPS = 10, 10, 1.0, 8


def measure() -> list[dict[str, Any]]:
    """Measures the seconds of each rule, and ratios to PyTorch (if installed) and to a sort."""
    models = np.random.default_rng(0).normal(size=(CLIENTS, SIZE)).astype(np.float32)
    weights = jnp.full(CLIENTS - 1, 1 / CLIENTS)
    rules = {
        "self-centered clipping": aggregators.self_centered_clip(RADIUS),
        "Krum": aggregators.krum(BYZANTINE),
        "geometric median, 8 steps": aggregators.geometric_median(STEPS),
        "coordinate median": aggregators.coordinate_median(),
        "trimmed mean": aggregators.trimmed_mean(TRIM),
    }
    own, received = jnp.asarray(models[0]), jnp.asarray(models[1:])
    plain = _torch_rules(models)
    sort = jax.jit(lambda own, received: jnp.sort(jnp.concatenate([own[None], received]), 0)[50])
    rows = []
    for name, rule in rules.items():
        compiled = jax.jit(functools.partial(_one_receiver, rule, weights))
        programs: dict[str, Callable[[], Any]] = {"jcollab": lambda c=compiled: c(own, received)}
        if name in plain:
            programs["torch"] = plain[name]
        if name in ("coordinate median", "trimmed mean"):
            programs["sort"] = lambda: sort(own, received)
        seconds = interleaved(programs, repeats=3)
        row = {"rule": name, "jcollab [s]": seconds["jcollab"]}
        for other, label in (("torch", "PyTorch / jcollab"), ("sort", "full sort / jcollab")):
            row[label] = seconds[other] / seconds["jcollab"] if other in seconds else ""
        rows.append(row)
    return rows


def _one_receiver(rule: jc.core.Rule, weights: Any, own: Any, received: Any) -> Any:
    context = jc.core.Receiver(jax.random.key(0), 0, 0, jnp.arange(1, CLIENTS))
    return rule.update(own, received, weights, rule.init(own), context)[0]


def _torch_rules(models: np.ndarray) -> dict[str, Callable[[], Any]]:
    try:
        import torch
    except ImportError:
        return {}
    x = torch.from_numpy(models)
    every = list(x)

    def clip() -> Any:
        total = torch.zeros_like(every[0])
        for other in every[1:]:
            v = other - every[0]
            total += v * min(1.0, RADIUS / float(v.norm())) / CLIENTS
        return every[0] + total

    def krum() -> Any:
        distances = torch.cdist(x, x) ** 2
        closest = distances.sort(dim=1).values[:, 1 : CLIENTS - BYZANTINE - 1]
        return x[closest.sum(1).argmin()]

    def geometric_median() -> Any:
        z = torch.zeros_like(every[0])
        for _ in range(STEPS):
            pull = 1 / (x - z).norm(dim=1).clamp_min(0.1)
            z = (pull / pull.sum()) @ x
        return z

    def median() -> Any:
        return (x.median(dim=0).values - (-x).median(dim=0).values) / 2

    def trimmed_mean() -> Any:
        ranked = x.sort(dim=0).values
        return ranked[TRIM : CLIENTS - TRIM].mean(0)

    return {
        "self-centered clipping": clip,
        "Krum": krum,
        "geometric median, 8 steps": geometric_median,
        "coordinate median": median,
        "trimmed mean": trimmed_mean,
    }
