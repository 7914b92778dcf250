"""Federated rounds with 1,000 of 10,000 to 1,000,000 clients; time must not depend on N."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from benchmarks.timing import interleaved

SAMPLED, EXAMPLES, FEATURES, CLASSES, ROUNDS = 1000, 4, 32, 10, 20
POPULATIONS = (10_000, 100_000, 1_000_000)


def measure() -> list[dict[str, Any]]:
    """Measures the seconds of a round and ratios to the smallest population."""
    programs: dict[str, Callable[[], Any]] = {}
    for method in ("FedAvg", "SCAFFOLD"):
        for population in POPULATIONS:
            if method == "FedAvg" or population < POPULATIONS[-1]:
                programs[f"{method}, {population:,}"] = _program(method, population)
    seconds = interleaved(programs, repeats=5)
    rows = []
    for name, value in seconds.items():
        method, _ = name.split(", ", 1)
        least = seconds[f"{method}, {POPULATIONS[0]:,}"]
        rows.append(
            {
                "method, clients": name,
                "seconds a round": value / ROUNDS,
                "rounds a second": ROUNDS / value,
                f"times {POPULATIONS[0]:,} clients": value / least,
            }
        )
    return rows


def population_data(clients: int, seed: int = 0) -> jc.data.ClientRanges:
    """Generates a logistic regression problem with a few examples per client."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((clients * EXAMPLES, FEATURES), np.float32)
    y = (x @ rng.standard_normal((FEATURES, CLASSES), np.float32)).argmax(1).astype(np.int32)
    return jc.data.by_owner(jc.data.Dataset(x, y), sizes=np.full(clients, EXAMPLES))


def _program(method: str, population: int) -> Callable[[], Any]:
    data = jax.tree.map(jnp.asarray, population_data(population))
    model = jc.models.MLP(CLASSES, ())
    algorithm = jc.federated(
        jc.objectives.classification(model.apply),
        optax.sgd(0.1),
        num_sampled=SAMPLED,
        local_steps=2,
        method=jc.local.scaffold() if method == "SCAFFOLD" else None,
        num_clients=population,
    )
    key = jax.random.key(0)
    carry = [algorithm.init(model.init(key, data.examples.x[:1]))]
    batches = jc.data.minibatches(data, EXAMPLES)

    def rounds() -> Any:
        carry[0], log = jc.run(algorithm, carry[0], batches, key, num_rounds=ROUNDS, donate=True)
        return log["loss"]

    return rounds
