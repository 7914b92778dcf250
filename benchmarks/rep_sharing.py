"""A round of representation sharing: 10 clients with LeNet5 on 120 MNIST-sized images each.

An epoch in batches of 32 with Adam, then class means and observations, as in the preset ``mnist``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from benchmarks.timing import interleaved

CLIENTS, EXAMPLES, BATCH, CLASSES, WIDTH = 10, 120, 32, 10, 84
RATE, DISTILLATION, DISCRIMINATION, FEW = 1e-3, 10.0, 1.0, 10


def measure() -> list[dict[str, Any]]:
    """Measures the seconds of a round and ratios to PyTorch and to the peak."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(CLIENTS, EXAMPLES, 28, 28, 1)).astype(np.float32)
    y = np.tile(np.arange(EXAMPLES) % CLASSES, (CLIENTS, 1)).astype(np.int32)
    programs: dict[str, Callable[[], Any]] = {"jcollab": _ours(x, y)}
    if loop := _torch_loop(x, y):
        programs["torch"] = loop
        programs["torch, 1 thread"] = _on_one_thread(loop)
    seconds = interleaved(programs)
    own = seconds["jcollab"]
    return [
        {
            "case": f"{CLIENTS} clients, LeNet5, {EXAMPLES} images each",
            "jcollab [s]": own,
            "PyTorch loop [s]": seconds.get("torch", ""),
            "PyTorch loop / jcollab": seconds.get("torch", 0) / own or "",
            "on 1 thread / jcollab": seconds.get("torch, 1 thread", 0) / own or "",
        }
    ]


def _ours(x: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    """Compiles the library's round with the clients sharded over the devices."""
    model = jc.models.LeNet5()
    group = jc.algorithms.Group(*jc.models.two_parts(model), CLIENTS)
    algorithm = jc.representation_sharing(
        group,
        optax.adam(RATE),
        jc.server(),
        jc.objectives.representation_sharing(DISTILLATION, DISCRIMINATION),
        num_classes=CLASSES,
        num_features=WIDTH,
        observer=jc.mixing.random_peer(),
        samples_per_class=FEW,
        weighting="samples",
        batch_size=BATCH,
    )
    keys = jax.random.split(jax.random.key(0), CLIENTS)
    params = jax.vmap(model.init, (0, None))(keys, x[0, :1])
    mesh, key = jc.layout.mesh(), jax.random.key(1)
    data = jc.data.Dataset(jnp.asarray(x), jnp.asarray(y))
    with jc.layout.use(mesh):
        state = jc.layout.place(algorithm.init(params), mesh)
        compiled = jax.jit(algorithm.update).lower(state, data, key).compile()
    return lambda: compiled(state, data, key)[0]


def _on_one_thread(loop: Callable[[], Any]) -> Callable[[], Any]:
    """Builds the loop on one thread, because small layers gain little from several threads."""
    import torch

    def alone() -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        loop()
        torch.set_num_threads(threads)

    return alone


def _torch_loop(x: np.ndarray, y: np.ndarray) -> Callable[[], Any] | None:
    """Builds the same round client by client in PyTorch with all threads; None without PyTorch."""
    try:
        import torch
        from torch import nn
        from torch.nn import functional
    except ImportError:
        return None

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
                *(nn.Conv2d(6, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
                *(nn.Conv2d(16, 120, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
                *(nn.Flatten(), nn.Linear(120, WIDTH), nn.Tanh()),
            )
            self.head = nn.Linear(WIDTH, CLASSES)

    nets = [Net() for _ in range(CLIENTS)]
    optimizers = [torch.optim.Adam(net.parameters(), RATE) for net in nets]
    images = torch.from_numpy(x).permute(0, 1, 4, 2, 3).contiguous()
    labels = torch.from_numpy(y).long()

    def publish() -> tuple[Any, Any]:
        sums, few = torch.zeros(CLASSES, WIDTH), []
        with torch.no_grad():
            for net, own, label in zip(nets, images, labels, strict=True):
                features = net.body(own)
                sums.index_add_(0, label, features)
                rows = []
                for c in range(CLASSES):
                    (places,) = torch.where(label == c)
                    rows.append(features[places[torch.randperm(len(places))[:FEW]]].mean(0))
                few.append(torch.stack(rows))
        counts = torch.bincount(labels.flatten(), minlength=CLASSES)
        return sums / counts[:, None], few

    def one_round() -> None:
        means, few = publish()
        for net, optimizer, own, label in zip(nets, optimizers, images, labels, strict=True):
            seen = few[int(torch.randint(CLIENTS, ()))]
            for part in torch.randperm(EXAMPLES).split(BATCH):
                target = label[part]
                features = net.body(own[part])
                logits = net.head(features)
                match = logits.softmax(1) @ net.head(seen).softmax(1).T
                loss = functional.cross_entropy(logits, target)
                loss = loss + DISTILLATION * functional.mse_loss(features, means[target])
                same = functional.one_hot(target, CLASSES).float()
                loss = loss + DISCRIMINATION * functional.binary_cross_entropy(match, same)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()

    return one_round
