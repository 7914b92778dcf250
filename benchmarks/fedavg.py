"""A round of federated averaging: 100 clients with a CNN (W1), 1000 with an MLP (W2).

Every client has 60 examples and takes three SGD steps on batches of 20, which start at the server's
model; the server averages the results.
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

STEPS, BATCH, RATE = 3, 20, 0.1
CASES: dict[str, tuple[int, Any, float]] = {
    # clients, model, floating-point operations per example, forward and backward
    "W1: 100 clients, CNN": (100, jc.models.CNN(10), 434e9 / (100 * STEPS * BATCH)),
    "W2: 1000 clients, MLP": (1000, jc.models.MLP(10, (64,)), 12.3e9 / (1000 * STEPS * BATCH)),
}


def measure() -> list[dict[str, Any]]:
    """Measures the seconds of a round, the fraction of the peak, and ratios to plain programs."""
    peak, rows = sgemm_peak(), []
    for name, (clients, model, flop) in CASES.items():
        x, y = _data(clients)
        params = model.init(jax.random.key(0), x[0, 0, :1])
        mesh = jc.layout.mesh()
        place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("clients"))
        start = time.perf_counter()
        ours = _ours(model, params, jax.device_put(jc.data.Dataset(x, y), place), mesh)
        compile_seconds = time.perf_counter() - start
        programs: dict[str, Callable[[], Any]] = {"jcollab": ours}
        if clients > 100:  # the CNN in one vmap takes minutes
            programs["vmap"] = _vmapped(model, params, jc.data.Dataset(x, y))
        if loop := _torch_loop(model, x, y):
            programs["torch"] = loop
        seconds = interleaved(programs, repeats=3)
        own = seconds["jcollab"]
        rows.append(
            {
                "case": name,
                "jcollab [s]": own,
                "share of sgemm peak": clients * STEPS * BATCH * flop / own / peak,
                "compile [s]": compile_seconds,
                "PyTorch loop / jcollab": seconds.get("torch", 0) / own or "",
                "plain vmap / jcollab": seconds.get("vmap", 0) / own or "",
            }
        )
    return rows


def _loss(model: Any) -> Callable[..., Any]:
    def loss(params: Any, batch: Any, key: Any) -> Any:
        logits = model.apply(params, batch.x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.y).mean()

    return loss


def _ours(model: Any, params: Any, data: Any, mesh: Any) -> Callable[[], Any]:
    """Compiles the library's algorithm with the clients sharded over the mesh."""
    algorithm = jc.federated(
        _loss(model), optax.sgd(RATE), local_steps=STEPS, num_clients=len(data.x)
    )
    key = jax.random.key(1)
    with jc.layout.use(mesh):
        state = jc.layout.place(algorithm.init(params), mesh)
        compiled = jax.jit(algorithm.update).lower(state, data, key).compile()
    return lambda: compiled(state, data, key)[0]


def _vmapped(model: Any, params: Any, data: Any) -> Callable[[], Any]:
    """Compiles the plain program, one vmap over all clients."""
    gradient = jax.grad(_loss(model))

    def local(params: Any, batches: Any) -> Any:
        def step(params: Any, batch: Any) -> tuple[Any, None]:
            grads = gradient(params, batch, None)
            return jax.tree.map(lambda p, g: p - RATE * g, params, grads), None

        return jax.lax.scan(step, params, batches)[0]

    @jax.jit
    def one_round(params: Any, data: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.mean(0), jax.vmap(local, (None, 0))(params, data))

    return lambda: one_round(params, data)


def _data(clients: int) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(clients, STEPS, BATCH, 28, 28, 1)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(rng.integers(0, 10, (clients, STEPS, BATCH)))


def sgemm_peak(size: int = 2048, repeats: int = 4) -> float:
    """Measures the floating-point operations per second of a large matrix product."""

    @jax.jit
    def product(a: Any) -> Any:
        return jax.lax.fori_loop(0, repeats, lambda i, b: (a @ b) * 1e-2, a)

    a = jnp.ones((size, size))
    return repeats * 2 * size**3 / interleaved({"sgemm": lambda: product(a)})["sgemm"]


def _torch_loop(model: Any, x: Any, y: Any) -> Callable[[], Any] | None:
    """Builds the same round client by client in PyTorch with all threads; None without PyTorch."""
    try:
        import torch
        from torch import nn
    except ImportError:
        return None
    if isinstance(model, jc.models.CNN):
        net = nn.Sequential(
            *(nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(7 * 7 * 64, 512), nn.ReLU(), nn.Linear(512, 10)),
        )
    else:
        net = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    images = torch.from_numpy(np.array(x)).permute(0, 1, 2, 5, 3, 4).contiguous()
    labels = torch.from_numpy(np.array(y)).long()
    criterion = nn.CrossEntropyLoss()

    def one_round() -> None:
        server = [p.detach().clone() for p in net.parameters()]
        total = [torch.zeros_like(p) for p in server]
        for client in range(len(images)):
            with torch.no_grad():
                for p, value in zip(net.parameters(), server, strict=True):
                    p.copy_(value)
            for step in range(STEPS):
                net.zero_grad(set_to_none=True)
                criterion(net(images[client, step]), labels[client, step]).backward()
                with torch.no_grad():
                    for p in net.parameters():
                        p -= RATE * p.grad
            with torch.no_grad():
                for t, p in zip(total, net.parameters(), strict=True):
                    t += p
        with torch.no_grad():
            for p, t in zip(net.parameters(), total, strict=True):
                p.copy_(t / len(images))

    return one_round
