"""D-PSGD: compares small networks with a PyTorch loop; measures graphs of 100,000 clients."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from benchmarks.timing import interleaved

FEATURES, CLASSES, BATCH, ROUNDS = 64, 10, 32, 20
LARGE, SIZE = (10_000, 100_000), 1_000


def measure() -> list[dict[str, Any]]:
    """Measures the seconds of a round, the ratio to a PyTorch loop, and the growth with n."""
    rows = [_against_torch(n) for n in (16, 64)]
    graphs = {"ring": jc.topology.ring, "random 4-regular": _regular}
    for name, build in graphs.items():
        before = None
        for n in LARGE:
            seconds = _large(build(n))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            row = {"case": f"{name}, n={n:,}, {SIZE} parameters", "round [s]": seconds}
            row |= {"PyTorch loop / jcollab": ""}
            row |= {"against n/10": seconds / before if before else "", "peak [GiB]": peak}
            rows.append(row)
            before = seconds
    return rows


def _regular(n: int) -> jc.topology.Topology:
    return jc.topology.random_regular(n, 4)


def _against_torch(n: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, BATCH, FEATURES)).astype(np.float32)
    y = rng.integers(0, CLASSES, (n, BATCH))
    model, topology = jc.models.MLP(CLASSES, (64,)), jc.topology.ring(n)
    loss = jc.objectives.classification(model.apply)
    algorithm = jc.decentralized(loss, optax.sgd(0.1), jc.gossip(topology))
    key = jax.random.key(0)
    state = algorithm.init(jc.replicate(model.init(key, x[0]), n))
    batches = jc.data.full_batch(jc.data.Dataset(jnp.asarray(x), jnp.asarray(y)))

    def run() -> Any:
        return jc.run(algorithm, state, batches, key, num_rounds=ROUNDS)

    programs: dict[str, Callable[[], Any]] = {"jcollab": run}
    if loop := _torch_loop(x, y, topology):
        programs["torch"] = loop
    seconds = interleaved(programs)
    ratio = seconds["torch"] / seconds["jcollab"] if "torch" in seconds else ""
    row = {"case": f"ring, n={n}, MLP 64-64-10, batch 32", "round [s]": seconds["jcollab"] / ROUNDS}
    return row | {"PyTorch loop / jcollab": ratio, "against n/10": "", "peak [GiB]": ""}


def _large(topology: jc.topology.Topology, rounds: int = 5) -> float:
    def loss(w: Any, target: Any, key: Any) -> Any:
        return 0.5 * jnp.sum((w - target) ** 2)

    n, key = topology.n, jax.random.key(0)
    algorithm = jc.decentralized(loss, optax.sgd(0.1), jc.gossip(topology))
    state = algorithm.init(jnp.zeros((n, SIZE)))
    batches = jc.data.full_batch(jax.random.normal(key, (n, SIZE)))

    def run(state: Any) -> Any:
        return jc.run(algorithm, state, batches, key, num_rounds=rounds, donate=True)[0]

    state = jax.block_until_ready(run(state))
    start = time.perf_counter()
    jax.block_until_ready(run(state))
    return (time.perf_counter() - start) / rounds


def _torch_loop(
    x: np.ndarray, y: np.ndarray, topology: jc.topology.Topology
) -> Callable[[], Any] | None:
    try:
        import torch
        from torch import nn
    except ImportError:
        return None
    nets = [nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, CLASSES)) for _ in x]
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    criterion, matrix = nn.CrossEntropyLoss(), jc.topology.mixing_matrix(topology)

    def run() -> None:
        for _ in range(ROUNDS):
            for i, net in enumerate(nets):
                net.zero_grad(set_to_none=True)
                criterion(net(images[i]), labels[i]).backward()
            with torch.no_grad():
                half = [[p - 0.1 * p.grad for p in net.parameters()] for net in nets]
                for i, net in enumerate(nets):
                    senders = [i, *topology.graph.adj[i]]
                    for k, p in enumerate(net.parameters()):
                        p.copy_(sum(matrix[i, j] * half[j][k] for j in senders))

    return run
