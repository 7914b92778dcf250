"""One round of mixing against copying the same array: what it costs beyond touching the memory."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

import jcollab as jc
from benchmarks.timing import interleaved

CASES = {
    "ring, 256 x 1e6": (jc.topology.ring, 256, 1_000_000),
    "ring, 16 x 1e6": (jc.topology.ring, 16, 1_000_000),
    "exponential, 256 x 1e5": (jc.topology.exponential, 256, 100_000),
    "ring, 10,000 x 1e3": (jc.topology.ring, 10_000, 1_000),
}


def measure() -> list[dict[str, Any]]:
    """Rows with the seconds of a copy and the ratio of each mixer to it."""
    rows = []
    for name, (build, n, d) in CASES.items():
        topology = build(n)
        x = jnp.zeros((n, d), jnp.float32) + jnp.arange(n, dtype=jnp.float32)[:, None]
        programs = {"copy": _program(jc.stateless(lambda x, **_: jnp.copy(x)), x)}
        programs["sparse"] = _program(jc.gossip(topology, sparse=True), x)
        if n <= 256:
            programs["dense"] = _program(jc.gossip(topology, sparse=False), x)
        seconds = interleaved(programs)
        ratios = {
            k: seconds[k] / seconds["copy"] if k in seconds else "" for k in ("sparse", "dense")
        }
        rows.append({"case": name, "copy [s]": seconds["copy"]} | ratios)
    return rows


def _program(mixer: jc.Mixer, x: jax.Array) -> Any:
    state = mixer.init(x)
    mix = jax.jit(lambda x, s: mixer.update(x, s, key=None, step=0)[0])
    return lambda: mix(x, state)
