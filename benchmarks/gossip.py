"""Compares one round of mixing with a copy of the same array, the least memory traffic."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

import jcollab as jc
from benchmarks.timing import interleaved

CASES = {
    "ring, 16 x 1e6": (jc.topology.ring, 16, 1_000_000),
    "ring, 64 x 1e6": (jc.topology.ring, 64, 1_000_000),
    "ring, 256 x 1e6": (jc.topology.ring, 256, 1_000_000),
    "ring, 1024 x 1e5": (jc.topology.ring, 1024, 100_000),
    "ring, 100,000 x 1e3": (jc.topology.ring, 100_000, 1_000),
    "exponential, 256 x 1e5": (jc.topology.exponential, 256, 100_000),
}
DENSE_UP_TO = 256


def measure() -> list[dict[str, Any]]:
    """Measures the seconds of a copy and the ratio of each implementation of mixing to it."""
    rows = []
    for name, (build, n, d) in CASES.items():
        topology = build(n)
        x = jnp.zeros((n, d), jnp.float32) + jnp.arange(n, dtype=jnp.float32)[:, None]
        programs = {"copy": _program(jc.mixing.stateless(lambda x, context: jnp.copy(x)), x)}
        programs["sparse"] = _program(jc.gossip(topology, sparse=True), x)
        if topology.name == "ring":
            programs["by hand, roll"] = _program(jc.mixing.stateless(_roll), x)
        if n <= DENSE_UP_TO:
            programs["dense"] = _program(jc.gossip(topology, sparse=False), x)
        seconds = interleaved(programs)
        row = {"case": name, "copy [s]": seconds["copy"]}
        row["copy [GB/s]"] = 2 * x.nbytes / seconds["copy"] / 1e9
        for form in ("sparse", "dense", "by hand, roll"):
            row[f"{form} / copy"] = seconds[form] / seconds["copy"] if form in seconds else ""
        rows.append(row)
    return rows


def _roll(x: Any, context: jc.core.Round) -> Any:
    return (x + jnp.roll(x, 1, 0) + jnp.roll(x, -1, 0)) / 3


def _program(mixer: jc.Mixer, x: jax.Array) -> Any:
    state = mixer.init(x)
    mix = jax.jit(lambda x, s: mixer.update(x, s, jc.core.Round(None, 0))[0])
    return lambda: mix(x, state)
