"""pfl-research with PyTorch, on all cores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam.base import NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel
from torch import Tensor, nn

from benchmarks.peers import _torch_networks as nets
from benchmarks.peers._rounds import Rounds

VERSIONS = ("pfl", "torch")
FOREVER = 1_000_000


class Classifier(nn.Module):
    """A network with the loss that pfl asks for."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Computes the mean cross-entropy."""
        return F.cross_entropy(self.net(x), y)

    def metrics(self, *data: Tensor) -> dict[str, Any]:
        """Computes nothing, as the other programs."""
        return {}


class NextCharacter(Classifier):
    """A network of sequences with the loss that pfl asks for."""

    def loss(self, text: Tensor) -> Tensor:  # type: ignore[override]
        """Computes the mean cross-entropy of every next character."""
        return nets.next_character(self.net, text)


def federated(model: str, clients: int, steps: int, batch: int, rate: float) -> Rounds:
    """Builds a round of federated averaging with images of 28 x 28."""
    net = Classifier(nets.cnn() if model == "CNN" else nets.mlp())
    x, y = nets.images((clients, steps * batch), 28, 1)
    return _rounds(net, [[x[i], y[i]] for i in range(clients)], clients, batch, rate)


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
    net = NextCharacter(nets.Recurrent(vocabulary, embedding, width))
    text = nets.texts((clients, steps * batch), length, vocabulary)
    return _rounds(net, [[own] for own in text], sampled, batch, rate)


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
    net = NextCharacter(nets.Transformer(vocabulary, length, width, layers, heads))
    text = nets.texts((clients, steps * batch), length, vocabulary)
    kinds: dict[str, Any] = {"SGD": torch.optim.SGD, "AdamW": torch.optim.AdamW}
    return _rounds(net, [[own] for own in text], clients, batch, rate, kinds[optimizer])


def _rounds(
    net: nn.Module,
    data: list[list[Tensor]],
    cohort: int,
    batch: int,
    rate: float,
    local: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
) -> Rounds:
    clients = list(range(len(data)))
    sets = {i: Dataset(raw_data=own, user_id=str(i)) for i, own in enumerate(data)}
    sampler = get_user_sampler("minimize_reuse", clients)
    federation = FederatedDataset(lambda user: sets[user], sampler)
    model = PyTorchModel(net, local, torch.optim.SGD(net.parameters(), 1.0))
    backend = SimulatedBackend(federation, federation)
    params = NNAlgorithmParams(
        central_num_iterations=FOREVER,
        evaluation_frequency=FOREVER,
        train_cohort_size=cohort,
        val_cohort_size=0,
    )
    training = NNTrainHyperParams(
        local_batch_size=batch, local_num_epochs=1, local_learning_rate=rate
    )

    class Pause(TrainingProcessCallback):
        def __init__(self, wait: Callable[[], None]):
            self.wait = wait

        def on_train_begin(self, *, model: Any) -> Metrics:
            self.wait()
            return Metrics()

        def after_central_iteration(self, *args: Any, **kwargs: Any) -> tuple[bool, Metrics]:
            self.wait()
            return False, Metrics()

    def train(wait: Callable[[], None]) -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())  # a thread has none
        callbacks = [Pause(wait)]
        FederatedAveraging().run(params, backend, model, training, callbacks=callbacks)

    np.random.seed(0)
    return Rounds(train)
