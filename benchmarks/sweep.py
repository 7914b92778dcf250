"""8 learning rates x 3 seeds: compares :func:`jcollab.sweep` with 24 separate runs.

Decentralized SGD on a ring of 8, an MLP 64-32-10 on digits, 100 rounds of 32 examples.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from benchmarks.timing import interleaved

CLIENTS, ROUNDS, BATCH = 8, 100, 32
RATES, SEEDS = np.geomspace(0.01, 1.0, 8).tolist(), range(3)


def measure() -> list[dict[str, Any]]:
    """Measures seconds with and without compilation, and ratios."""
    run = _problem()
    points = [(rate, seed) for rate in RATES for seed in SEEDS]

    def together() -> Any:
        return jc.sweep(run, {"rate": RATES}, list(SEEDS))

    def apart(call: Callable) -> list[Any]:
        return [
            jax.block_until_ready(call({"rate": jnp.float32(rate)}, jax.random.key(seed)))
            for rate, seed in points
        ]

    def compiled_apart() -> list[Any]:
        """Compiles a program for each run, as 24 calls of a script do."""
        results = []
        for rate, seed in points:
            alone = jax.jit(lambda key, rate=rate: run({"rate": rate}, key))
            results.append(jax.block_until_ready(alone(jax.random.key(seed))))
        return results

    shared = jax.jit(run)
    seconds = interleaved({"one": lambda: apart(shared)}, repeats=3)
    for name, program in (("sweep", together), ("apart", compiled_apart)):
        jax.clear_caches()
        start = time.perf_counter()
        program()
        seconds[name] = time.perf_counter() - start
    return [
        {
            "case": f"{len(RATES)} rates x {len(SEEDS)} seeds, ring of {CLIENTS}, MLP",
            "sweep, with compilation [s]": seconds["sweep"],
            "24 runs, each compiled [s]": seconds["apart"],
            "24 runs / sweep": seconds["apart"] / seconds["sweep"],
            "24 calls of one compiled run [s]": seconds["one"],
        }
    ]


def _problem() -> Callable:
    train = jc.data.load("digits")
    data = jc.data.by_client(train, jc.data.iid(len(train.y), CLIENTS))
    batches = jc.data.minibatches(data, BATCH)
    model = jc.models.MLP(10, (32,))
    params = jc.replicate(model.init(jax.random.key(0), train.x[:1]), CLIENTS)
    loss, topology = jc.objectives.classification(model.apply), jc.topology.ring(CLIENTS)

    def run(settings: dict[str, Any], key: jax.Array) -> dict[str, jax.Array]:
        algorithm = jc.decentralized(loss, optax.sgd(settings["rate"]), jc.gossip(topology))
        _, log = jc.run(algorithm, algorithm.init(params), batches, key, num_rounds=ROUNDS)
        return {"loss": log["loss"][-1]}

    return run
