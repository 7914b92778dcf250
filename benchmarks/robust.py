"""Compares robust aggregation of 100 models of 1e6 numbers with PyTorch, byzfl and a sort."""

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
SORTED = ("coordinate median", "trimmed mean")

Programs = dict[str, Callable[[], Any]]


def measure() -> list[dict[str, Any]]:
    """Measures the seconds of each rule, and ratios to PyTorch, byzfl (if installed) and a sort."""
    models = np.random.default_rng(0).normal(size=(CLIENTS, SIZE)).astype(np.float32)
    weights = jnp.full(CLIENTS - 1, 1 / CLIENTS)
    rules = {
        "mean": aggregators.weighted(),
        "self-centered clipping": aggregators.self_centered_clip(RADIUS),
        "centered clipping": aggregators.centered_clip(RADIUS),
        "Krum": aggregators.krum(BYZANTINE),
        "multi-Krum": aggregators.multi_krum(BYZANTINE, CLIENTS - BYZANTINE),
        "geometric median, 8 steps": aggregators.geometric_median(STEPS),
        "coordinate median": aggregators.coordinate_median(),
        "trimmed mean": aggregators.trimmed_mean(TRIM),
    }
    own, received = jnp.asarray(models[0]), jnp.asarray(models[1:])
    others = {"PyTorch": _torch_rules(models), "byzfl": _byzfl_rules(models)}
    sort = jax.jit(lambda own, received: jnp.sort(jnp.concatenate([own[None], received]), 0)[50])
    others["full sort"] = dict.fromkeys(SORTED, lambda: sort(own, received))
    rows = []
    for name, rule in rules.items():
        receive = functools.partial(_one_receiver, rule, weights)
        compiled = jax.jit(receive, compiler_options=jc.layout.compiler_options())
        programs: Programs = {"jcollab": lambda c=compiled: c(own, received)}
        programs |= {other: by_rule[name] for other, by_rule in others.items() if name in by_rule}
        seconds = interleaved(programs)
        row = {"rule": name, "jcollab [s]": seconds["jcollab"]}
        for other in others:
            ratio = seconds[other] / seconds["jcollab"] if other in seconds else ""
            row[f"{other} / jcollab"] = ratio
        rows.append(row)
    return rows


def _one_receiver(rule: jc.core.Rule, weights: Any, own: Any, received: Any) -> Any:
    context = jc.core.Receiver(jax.random.key(0), 0, 0, jnp.arange(1, CLIENTS))
    return rule.update(own, received, weights, rule.init(own), context)[0]


def _torch_rules(models: np.ndarray) -> Programs:
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

    def centered_clip() -> Any:
        center = every[0]
        share = (RADIUS / torch.stack([(row - center).norm() for row in every])).clamp_max(1.0)
        return center + (share @ x - share.sum() * center) / CLIENTS

    def scores() -> Any:
        distances = torch.cdist(x, x) ** 2
        return distances.sort(dim=1).values[:, 1 : CLIENTS - BYZANTINE - 1].sum(1)

    def multi_krum() -> Any:
        return x[scores().argsort()[: CLIENTS - BYZANTINE]].mean(0)

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
        "mean": lambda: x.mean(0),
        "self-centered clipping": clip,
        "centered clipping": centered_clip,
        "Krum": lambda: x[scores().argmin()],
        "multi-Krum": multi_krum,
        "geometric median, 8 steps": geometric_median,
        "coordinate median": median,
        "trimmed mean": trimmed_mean,
    }


def _byzfl_rules(models: np.ndarray) -> Programs:
    """Returns the rules of byzfl on PyTorch, and its trimmed mean on NumPy, which is faster."""
    try:
        import torch
        from byzfl.aggregators import aggregators as byzfl
    except ImportError:
        return {}
    x = torch.from_numpy(models)
    clipping = byzfl.CenteredClipping(L=1, tau=RADIUS)

    def centered_clip() -> Any:
        clipping.m = x[0]
        return clipping(x)

    return {
        "mean": lambda: byzfl.Average()(x),
        "centered clipping": centered_clip,
        "Krum": lambda: byzfl.Krum(BYZANTINE)(x),
        "multi-Krum": lambda: byzfl.MultiKrum(BYZANTINE)(x),
        "geometric median, 8 steps": lambda: byzfl.GeometricMedian(0.1, STEPS)(x),
        "coordinate median": lambda: byzfl.Median()(x),
        "trimmed mean": lambda: byzfl.TrMean(TRIM)(models),
    }
