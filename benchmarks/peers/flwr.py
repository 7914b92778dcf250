"""Flower's simulation with Ray and PyTorch, one client on each core."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import ray
import torch
import torch.nn.functional as F
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch import Tensor, nn

from benchmarks.peers import _torch_networks as nets
from benchmarks.peers._rounds import Rounds

VERSIONS = ("flwr", "ray", "torch")
close = ray.shutdown  # otherwise its processes outlive this one


@functools.cache  # once in each of Ray's processes
def images(*shape: Any) -> Any:
    """Draws images and labels."""
    return nets.images(*shape)


@functools.cache
def texts(*shape: Any) -> Any:
    """Draws characters."""
    return nets.texts(*shape)


def federated(model: str, clients: int, steps: int, batch: int, rate: float) -> Rounds:
    """Builds a round of federated averaging with images of 28 x 28."""
    build = nets.cnn if model == "CNN" else nets.mlp

    def loss(net: nn.Module, client: int, step: int) -> Tensor:
        x, y = images((clients, steps, batch), 28, 1)
        return F.cross_entropy(net(x[client, step]), y[client, step])

    return _rounds(build, loss, steps, clients, clients, rate)


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
) -> Rounds:
    """Builds a round of federated averaging with a GRU, of a sample of clients."""

    def loss(net: nn.Module, client: int, step: int) -> Tensor:
        text = texts((clients, steps, batch), length, vocabulary)
        return nets.next_character(net, text[client, step])

    def build() -> nn.Module:
        return nets.Recurrent(vocabulary, embedding, width)

    return _rounds(build, loss, steps, clients, sampled, rate)


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
) -> Rounds:
    """Builds a round of federated averaging with a Transformer."""

    def loss(net: nn.Module, client: int, step: int) -> Tensor:
        text = texts((clients, steps, batch), length, vocabulary)
        return nets.next_character(net, text[client, step])

    def build() -> nn.Module:
        return nets.Transformer(vocabulary, length, width, layers, heads)

    return _rounds(build, loss, steps, clients, clients, rate, optimizer)


def _rounds(
    build: Callable[[], nn.Module],
    loss: Callable[[nn.Module, int, int], Tensor],
    steps: int,
    clients: int,
    sampled: int,
    rate: float,
    optimizer: str = "SGD",
) -> Rounds:
    client_app = ClientApp()

    @client_app.train()
    def train(message: Message, context: Context) -> Message:
        torch.set_num_threads(1)  # the clients of the cores run side by side
        net = build()
        net.load_state_dict(message.content["arrays"].to_torch_state_dict())
        local = getattr(torch.optim, optimizer)(net.parameters(), rate, fused=True)
        client = int(context.node_config["partition-id"])
        for step in range(steps):
            local.zero_grad(set_to_none=True)
            loss(net, client, step).backward()
            local.step()
        arrays = ArrayRecord(net.state_dict())
        content = {"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}
        return Message(content=RecordDict(content), reply_to=message)

    def simulate(wait: Callable[[], None]) -> None:
        close()  # the actors of the last case occupy all cores
        server_app = ServerApp()

        @server_app.main()
        def main(grid: Grid, context: Context) -> None:
            arrays = ArrayRecord(build().state_dict())
            strategy = FedAvg(
                fraction_train=sampled / clients,
                fraction_evaluate=0.0,
                min_train_nodes=sampled,
                min_available_nodes=clients,
            )
            while True:
                wait()
                result = strategy.start(grid, arrays, num_rounds=1)
                if not result.train_metrics_clientapp:
                    raise RuntimeError("the clients failed")
                arrays = result.arrays

        run_simulation(
            server_app,
            client_app,
            num_supernodes=clients,
            backend_config={
                "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
                "init_args": {"num_cpus": os.cpu_count() or 1, "include_dashboard": False},
            },
        )

    return Rounds(simulate)
