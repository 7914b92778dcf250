"""The networks of the workloads in PyTorch, and their data."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

torch.set_num_threads(os.cpu_count() or 1)


def cnn() -> nn.Module:
    """Builds the network of W1."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(7 * 7 * 64, 512), nn.ReLU(), nn.Linear(512, 10)),
    )


def mlp() -> nn.Module:
    """Builds the network of W2."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))


def vgg11(width: int) -> nn.Module:
    """Builds VGG-11 without dropout."""
    layers: list[nn.Module] = []
    channels = 3
    for stage in ((1,), (2,), (4, 4), (8, 8), (8, 8)):
        for multiple in stage:
            layers += [nn.Conv2d(channels, multiple * width, 3, padding=1), nn.ReLU()]
            channels = multiple * width
        layers.append(nn.MaxPool2d(2))
    layers.append(nn.Flatten())
    for _ in range(2):
        layers += [nn.Linear(channels, channels), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(channels, 10))


class Block(nn.Module):
    """Two convolutions of 3 x 3 and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Any):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([norm(outputs), norm(outputs)])
        self.shortcut = nn.Sequential()
        if inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Returns features."""
        y = F.relu(self.norms[0](self.first(x)))
        return F.relu(self.norms[1](self.second(y)) + self.shortcut(x))


def resnet(widths: tuple[int, ...], blocks: int, norm: Any) -> nn.Module:
    """Builds a residual network for images of 32 x 32."""
    channels = widths[0]
    layers = [nn.Conv2d(3, channels, 3, 1, 1, bias=False), norm(channels), nn.ReLU()]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            layers.append(Block(channels, width, 2 if stage and not block else 1, norm))
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def deep(network: str, width: int) -> nn.Module:
    """Builds a network of W7 by name."""
    if network == "VGG11":
        return vgg11(width)
    if network == "ResNet20":
        return resnet((16, 32, 64), 3, lambda channels: nn.GroupNorm(8, channels))
    return resnet(tuple(width * 2**stage for stage in range(4)), 2, nn.BatchNorm2d)


class Recurrent(nn.Module):
    """An embedding, a GRU and a dense layer."""

    def __init__(self, vocabulary: int, embedding: int, width: int):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, embedding)
        self.gru = nn.GRU(embedding, width, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits of characters."""
        return self.head(self.gru(self.embed(x))[0])


class Layer(nn.Module):
    """Attention and dense layers with normalization before each."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.inputs, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns features."""
        parts = self.inputs(self.norms[0](x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.output(y.transpose(1, 2).flatten(2))
        return x + self.dense(self.norms[1](x))


class Transformer(nn.Module):
    """A decoder."""

    def __init__(self, vocabulary: int, length: int, width: int, layers: int, heads: int):
        super().__init__()
        self.embed, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, vocabulary))

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits of characters."""
        places = self.places.weight[: x.shape[1]]
        return self.head(self.layers(self.embed(x) + places))


def images(shape: tuple[int, ...], side: int, channels: int) -> tuple[Tensor, Tensor]:
    """Draws images ``[*shape, channels, side, side]`` and labels."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((*shape, channels, side, side), np.float32)
    return torch.from_numpy(x), torch.from_numpy(rng.integers(0, 10, shape))


def texts(shape: tuple[int, ...], length: int, vocabulary: int) -> Tensor:
    """Draws characters ``[*shape, length + 1]``."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, vocabulary, (*shape, length + 1)))


def next_character(net: nn.Module, text: Tensor) -> Tensor:
    """Computes the mean cross-entropy of every next character."""
    return F.cross_entropy(net(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())
