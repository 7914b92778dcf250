"""RelaySGD on small quadratics: compares one compiled scan with a loop over clients."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from benchmarks.timing import interleaved
from jcollab.data.synthetic import quadratics

ROUNDS, LOOPED = 2000, 100


def measure() -> list[dict[str, Any]]:
    """Measures the seconds of 2000 rounds, and of a Python loop scaled to the same number."""
    rows, key = [], jax.random.key(0)
    for n in (8, 32, 128):
        problem = jc.data.synthetic.random_quadratics(n, 10)
        device = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), problem)
        topology = jc.topology.chain(n)
        algorithm = jc.decentralized(
            quadratics.quadratic_loss(), optax.sgd(0.1), jc.relay_sum(topology)
        )
        state = algorithm.init(jnp.zeros((n, 10)))

        def run(algorithm: Any = algorithm, state: Any = state, device: Any = device) -> Any:
            return jc.run(algorithm, state, jc.data.full_batch(device), key, num_rounds=ROUNDS)

        seconds = interleaved({"scan": run})["scan"]
        start = time.perf_counter()
        _loop(problem, topology, LOOPED)
        loop = (time.perf_counter() - start) * ROUNDS / LOOPED
        row = {"case": f"chain, n={n}, d=10, {ROUNDS} rounds", "scan [s]": seconds}
        rows.append(row | {"python loop [s]": loop, "ratio": loop / seconds})
    return rows


def _loop(
    problem: jc.data.synthetic.Quadratics, topology: jc.topology.Topology, rounds: int
) -> None:
    n, d = problem.b.shape
    neighbors = [sorted(topology.graph.adj[i]) for i in range(n)]
    x, start = np.zeros((n, d)), np.zeros(d)
    message = {(k, i): np.zeros(d) for i in range(n) for k in neighbors[i]}
    count = dict.fromkeys(message, 0)
    for _ in range(rounds):
        for i in range(n):
            x[i] -= 0.1 * problem.A[i].T @ (problem.A[i] @ x[i] - problem.b[i])
        fresh, counted = {}, {}
        for i in range(n):
            for j in neighbors[i]:
                others = [k for k in neighbors[i] if k != j]
                fresh[i, j] = x[i] + sum(message[k, i] for k in others)
                counted[i, j] = 1 + sum(count[k, i] for k in others)
        message, count = fresh, counted
        for i in range(n):
            missing = n - 1 - sum(count[k, i] for k in neighbors[i])
            x[i] = (x[i] + sum(message[k, i] for k in neighbors[i]) + missing * start) / n
