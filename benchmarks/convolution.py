"""Compares a convolution and its gradients inside and outside of a loop over clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from benchmarks.timing import interleaved
from jcollab.models import Conv

CLIENTS, WORST = 4, 2.0
CASES = {
    "20 x 14 x 14 x 32 -> 64, 5 x 5": ((20, 14, 14, 32), 64, (5, 5), 1),
    "32 x 26 x 26 x 32 -> 64, 3 x 3": ((32, 26, 26, 32), 64, (3, 3), 1),
    "32 x 32 x 32 x 16 -> 32, 3 x 3, stride 2": ((32, 32, 32, 16), 32, (3, 3), 2),
}


def measure() -> list[dict[str, Any]]:
    """Measures the time per client in a loop, divided by the time of the same work alone.

    Raises:
        AssertionError: if a convolution without stride costs more than twice as much in a loop.
    """
    rows = []
    for name, (shape, features, kernel, stride) in CASES.items():
        x = jax.random.normal(jax.random.key(0), (CLIENTS, *shape))
        ratios = {}
        for kind, module in {
            "jcollab": Conv(features, kernel, stride),
            "flax": nn.Conv(features, kernel, (stride, stride)),
        }.items():
            params = module.init(jax.random.key(1), x[0])
            every = jax.tree.map(lambda leaf: jnp.stack([leaf] * CLIENTS), params)
            looped, alone = _programs(module, every, params, x)
            seconds = interleaved({"loop": looped, "alone": alone}, repeats=3)
            ratios[kind] = seconds["loop"] / CLIENTS / seconds["alone"]
            ratios[f"{kind} [ms]"] = 1e3 * seconds["loop"] / CLIENTS
        row = {"layer": name, "jcollab, loop / alone": ratios["jcollab"]}
        row |= {"flax, loop / alone": ratios["flax"]}
        rows.append(row | {"flax / jcollab": ratios["flax [ms]"] / ratios["jcollab [ms]"]})
        assert stride > 1 or ratios["jcollab"] <= WORST, f"{name}: {ratios['jcollab']:.1f} times"
    return rows


def _programs(
    module: Any, every: Any, params: Any, x: Any
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    def gradient(params: Any, x: Any) -> Any:
        return jax.grad(lambda p, x: jnp.sum(module.apply(p, x) ** 2), (0, 1))(params, x)

    looped = jax.jit(lambda p, x: jax.lax.map(lambda a: gradient(*a), (p, x)))
    alone = jax.jit(gradient)
    return lambda: looped(every, x), lambda: alone(params, x[0])
