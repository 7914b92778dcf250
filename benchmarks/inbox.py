"""A robust round on a complete graph; all inboxes together would take many times its memory."""

from __future__ import annotations

import resource
import time
from typing import Any

import jax
import jax.numpy as jnp

import jcollab as jc

CLIENTS, SIZE = 64, 1_000_000


def measure() -> list[dict[str, Any]]:
    """Measures the seconds of a round and the peak memory of the process so far, in GiB."""
    topology, rows = jc.topology.complete(CLIENTS), []
    rules = {
        "self-centered clipping": jc.aggregators.self_centered_clip(1.0),
        "coordinate median": jc.aggregators.coordinate_median(),
        "Krum": jc.aggregators.krum(5),
    }
    for name, rule in rules.items():
        mixer = jc.neighborhood(topology, rule)
        x = jax.random.normal(jax.random.key(0), (CLIENTS, SIZE))
        state = mixer.init(x)

        def mix(x: Any, state: Any, mixer: jc.Mixer = mixer) -> Any:
            return mixer.update(x, state, jc.core.Round(jax.random.key(1), jnp.int32(0)))[0]

        compiled = jax.jit(mix, donate_argnums=0)
        x = jax.block_until_ready(compiled(x, state))
        start = time.perf_counter()
        x = jax.block_until_ready(compiled(x, state))
        rows.append(
            {
                "case": f"complete graph, {CLIENTS} x {SIZE:.0e}, {name}",
                "round [s]": time.perf_counter() - start,
                "all inboxes [GiB]": CLIENTS * (CLIENTS - 1) * SIZE * 4 / 2**30,
                "peak memory [GiB]": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            }
        )
        del x
    return rows
