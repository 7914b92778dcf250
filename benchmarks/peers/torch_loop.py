"""PyTorch, client by client, on all cores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers import _torch_networks as nets

VERSIONS = ("torch",)
Program = Callable[[], Any]


def federated(model: str, clients: int, steps: int, batch: int, rate: float) -> Program:
    """Builds a round of federated averaging with images of 28 x 28."""
    net = nets.cnn() if model == "CNN" else nets.mlp()
    x, y = nets.images((clients, steps, batch), 28, 1)

    def loss(client: int, step: int) -> Tensor:
        return F.cross_entropy(net(x[client, step]), y[client, step])

    def sgd(client: int) -> torch.optim.Optimizer:
        return torch.optim.SGD(net.parameters(), rate)

    return lambda: _average(net, range(clients), steps, loss, sgd)


def recurrent(
    clients: int,
    sampled: int,
    steps: int,
    batch: int,
    length: int,
    vocabulary: int,
    embedding: int,
    width: int,
    rate: float,
) -> Program:
    """Builds a round of federated averaging with a GRU, of a sample of clients."""
    net = nets.Recurrent(vocabulary, embedding, width)
    text = nets.texts((clients, steps, batch), length, vocabulary)

    def run() -> None:
        chosen = torch.randperm(clients)[:sampled].tolist()
        _average(
            net,
            chosen,
            steps,
            lambda client, step: nets.next_character(net, text[client, step]),
            lambda client: torch.optim.SGD(net.parameters(), rate),
        )

    return run


def attention(
    optimizer: str,
    rate: float,
    clients: int,
    steps: int,
    batch: int,
    length: int,
    width: int,
    layers: int,
    heads: int,
    vocabulary: int,
) -> Program:
    """Builds a round of federated averaging with a Transformer."""
    net = nets.Transformer(vocabulary, length, width, layers, heads)
    text = nets.texts((clients, steps, batch), length, vocabulary)
    kinds: dict[str, Any] = {"SGD": torch.optim.SGD, "AdamW": torch.optim.AdamW}

    def loss(client: int, step: int) -> Tensor:
        return nets.next_character(net, text[client, step])

    def local(client: int) -> torch.optim.Optimizer:
        return kinds[optimizer](net.parameters(), rate, fused=True)

    return lambda: _average(net, range(clients), steps, loss, local)


def diloco(
    rate: float,
    clients: int,
    steps: int,
    batch: int,
    length: int,
    width: int,
    layers: int,
    heads: int,
    vocabulary: int,
) -> Program:
    """Builds a round of DiLoCo: clients keep AdamW, the server takes a Nesterov step."""
    net = nets.Transformer(vocabulary, length, width, layers, heads)
    text = nets.texts((clients, steps, batch), length, vocabulary)
    params = list(net.parameters())
    kept = [torch.optim.AdamW(params, rate, fused=True) for _ in range(clients)]
    server = [p.detach().clone() for p in params]
    outer = torch.optim.SGD(server, 0.7, momentum=0.9, nesterov=True)

    def loss(client: int, step: int) -> Tensor:
        return nets.next_character(net, text[client, step])

    def run() -> None:
        _average(net, range(clients), steps, loss, kept.__getitem__)
        with torch.no_grad():
            for p, average in zip(server, params, strict=True):
                p.grad = p - average
            outer.step()
            torch._foreach_copy_(params, server)

    return run


def network(network: str, width: int, batch: int, steps: int, rate: float) -> Program:
    """Builds steps of SGD with images of 32 x 32."""
    net = nets.deep(network, width)
    x, y = nets.images((steps, batch), 32, 3)
    sgd = torch.optim.SGD(net.parameters(), rate)

    def run() -> None:
        for step in range(steps):
            _step(sgd, F.cross_entropy(net(x[step]), y[step]))

    return run


def gossip(network: str, width: int, batch: int, clients: int, rate: float) -> Program:
    """Builds a round of D-PSGD on a ring with images of 32 x 32."""
    x, y = nets.images((clients, batch), 32, 3)
    every = [nets.deep(network, width) for _ in range(clients)]
    return lambda: _gossip(every, x, y, rate)


def ring(
    clients: int, features: int, hidden: int, classes: int, batch: int, rounds: int, rate: float
) -> Program:
    """Builds rounds of D-PSGD of an MLP with one hidden layer."""
    x, y = torch.randn(clients, batch, features), torch.randint(classes, (clients, batch))
    every: list[nn.Module] = [
        nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes))
        for _ in range(clients)
    ]

    def run() -> None:
        for _ in range(rounds):
            _gossip(every, x, y, rate)

    return run


def rule(rule: str, models: int, size: int, **options: Any) -> Program:
    """Builds the aggregation of the models of all clients."""
    x = torch.randn(models, size)
    center = torch.zeros(size)

    def median() -> Tensor:
        return (x.median(dim=0).values - (-x).median(dim=0).values) / 2

    def trimmed_mean(trim: int) -> Tensor:
        return x.sort(dim=0).values[trim : models - trim].mean(0)

    def krum(byzantine: int) -> Tensor:
        distances = torch.cdist(x, x) ** 2
        closest = distances.sort(dim=1).values[:, 1 : models - byzantine - 1]
        return x[closest.sum(1).argmin()]

    def geometric_median(steps: int) -> Tensor:
        z = torch.zeros(size)
        for _ in range(steps):
            pull = 1 / (x - z).norm(dim=1).clamp_min(0.1)
            z = (pull / pull.sum()) @ x
        return z

    def centered_clip(radius: float, steps: int) -> None:
        for _ in range(steps):
            total = torch.zeros(size)
            for message in x:  # one at a time: a difference stays in cache
                pull = message - center
                total.add_(pull, alpha=min(1.0, radius / float(pull.norm())) / models)
            center.add_(total)

    rules: dict[str, Any] = {
        "median": median,
        "trimmed_mean": trimmed_mean,
        "krum": krum,
        "geometric_median": geometric_median,
        "centered_clip": centered_clip,
    }
    return lambda: rules[rule](**options)


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _average(
    net: nn.Module,
    clients: Any,
    steps: int,
    loss: Callable[[int, int], Tensor],
    optimizer: Callable[[int], torch.optim.Optimizer],
) -> None:
    """Computes a round: local steps from the server's model, then the mean of the results."""
    server = [p.detach().clone() for p in net.parameters()]
    total = [torch.zeros_like(p) for p in server]
    for client in clients:
        with torch.no_grad():
            torch._foreach_copy_(list(net.parameters()), server)
        local = optimizer(client)
        for step in range(steps):
            _step(local, loss(client, step))
        with torch.no_grad():
            torch._foreach_add_(total, list(net.parameters()))
    with torch.no_grad():
        torch._foreach_div_(total, len(clients))
        torch._foreach_copy_(list(net.parameters()), total)


def _gossip(every: list[nn.Module], x: Tensor, y: Tensor, rate: float) -> None:
    """Computes a round on a ring: a step of SGD, then the mean with both neighbors."""
    half = []
    for client, net in enumerate(every):
        params = list(net.parameters())
        loss = F.cross_entropy(net(x[client]), y[client])
        gradients = torch.autograd.grad(loss, params)
        with torch.no_grad():
            half.append(torch._foreach_add(params, gradients, alpha=-rate))
    n = len(every)
    with torch.no_grad():
        for client, net in enumerate(every):
            mean = torch._foreach_add(half[client - 1], half[client])
            torch._foreach_add_(mean, half[(client + 1) % n])
            torch._foreach_div_(mean, 3)
            torch._foreach_copy_(list(net.parameters()), mean)
