"""PyTorch with the clients as an axis: ``torch.func.vmap`` over gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from benchmarks.peers import _torch_networks as nets

VERSIONS = ("torch",)


def federated(
    model: str, clients: int, steps: int, batch: int, rate: float
) -> Callable[[], Any] | None:
    """Builds a round of federated averaging with images of 28 x 28."""
    if model != "MLP":
        return None  # grouped convolutions of 100 clients take minutes
    net = nets.mlp()
    x, y = nets.images((clients, steps, batch), 28, 1)
    gradient = vmap(grad(_loss_of(net)))

    def run() -> None:
        server = {name: p.detach() for name, p in net.named_parameters()}
        every = {name: p.expand(clients, *p.shape) for name, p in server.items()}
        for step in range(steps):
            gradients = gradient(every, x[:, step], y[:, step])
            every = {name: p - rate * gradients[name] for name, p in every.items()}
        with torch.no_grad():
            for name, p in net.named_parameters():
                p.copy_(every[name].mean(0))

    return run


def ring(
    clients: int, features: int, hidden: int, classes: int, batch: int, rounds: int, rate: float
) -> Callable[[], Any]:
    """Builds rounds of D-PSGD of an MLP with one hidden layer."""
    x, y = torch.randn(clients, batch, features), torch.randint(classes, (clients, batch))
    net = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes))
    every = {name: p.detach().repeat(clients, *[1] * p.dim()) for name, p in net.named_parameters()}
    gradient = vmap(grad(_loss_of(net)))

    def run() -> None:
        for _ in range(rounds):
            gradients = gradient(every, x, y)
            for name, p in every.items():
                half = p - rate * gradients[name]
                every[name] = (half + half.roll(1, 0) + half.roll(-1, 0)) / 3

    return run


def _loss_of(net: nn.Module) -> Callable[[dict[str, Tensor], Tensor, Tensor], Tensor]:
    def loss(params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(net, params, (x,)), y)

    return loss
