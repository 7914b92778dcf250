"""W5 and W6: clients that predict the next character, with a GRU and with a Transformer."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from benchmarks.workloads import Workload, in_dtype, repeated, training


class Recurrent(nn.Module):
    """An embedding, a GRU and a dense layer."""

    vocabulary: int
    embedding: int
    width: int

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Returns logits ``[b, T, V]`` of characters ``[b, T]``."""
        x = nn.Embed(self.vocabulary, self.embedding)(x)
        return nn.Dense(self.vocabulary)(nn.RNN(nn.GRUCell(self.width))(x))


class Transformer(nn.Module):
    """A decoder with normalization before attention and before the dense layers."""

    vocabulary: int
    width: int
    layers: int
    heads: int

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Returns logits ``[b, T, V]`` of characters ``[b, T]``."""
        mask = nn.make_causal_mask(x)
        places = nn.Embed(x.shape[1], self.width)(jnp.arange(x.shape[1]))
        x = nn.Embed(self.vocabulary, self.width)(x) + places
        for _ in range(self.layers):
            x = x + nn.SelfAttention(self.heads)(nn.LayerNorm()(x), mask)
            y = nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x)))
            x = x + nn.Dense(self.width)(y)
        return nn.Dense(self.vocabulary)(nn.LayerNorm()(x))


def next_character(model: nn.Module) -> Any:
    """Builds the mean cross-entropy of every next character of texts ``[b, T + 1]``."""

    def loss(params: Any, text: Any, key: Any) -> Any:
        logits = model.apply(params, text[:, :-1])
        return optax.softmax_cross_entropy_with_integer_labels(logits, text[:, 1:]).mean()

    return loss


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
) -> Workload:
    """Builds a round of federated averaging with a GRU, of a sample of clients."""
    text = texts((clients, steps * batch), length, vocabulary)
    model = Recurrent(vocabulary, embedding, width)
    params = model.init(jax.random.key(0), text[0, :1, :-1])
    loss = next_character(model)
    algorithm = jc.federated(
        loss, optax.sgd(rate), num_sampled=sampled, local_steps=steps, num_clients=clients
    )
    parts = np.arange(clients * steps * batch).reshape(clients, -1)
    data = jc.data.by_client(text.reshape(-1, length + 1), parts)
    batches, state = jc.data.epochs(data, batch), algorithm.init(params)

    def run() -> Any:
        nonlocal state
        state, log = jc.run(algorithm, state, batches, jax.random.key(1), num_rounds=1, donate=True)
        return jax.block_until_ready(log)

    return Workload(run)


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
    dtype: str = "float32",
    chunk: int | None = None,
    **server: Any,
) -> Workload:
    """Builds a round of federated averaging with a Transformer."""
    text = texts((clients, steps, batch), length, vocabulary)
    model = Transformer(vocabulary, width, layers, heads)
    params = model.init(jax.random.key(0), text[0, 0, :, :-1])
    loss = in_dtype(next_character(model), dtype)
    local = {"SGD": optax.sgd, "AdamW": optax.adamw}[optimizer](rate)
    algorithm = jc.federated(
        loss, local, local_steps=steps, num_clients=clients, chunk=chunk, **server
    )
    work = training(loss, params, text[0, 0], clients * steps)
    run = repeated(algorithm.update, algorithm.init(params), text)
    return Workload(run, **work)


def diloco(**sizes: Any) -> Workload:
    """Builds a round of DiLoCo: clients keep AdamW, the server takes a Nesterov step."""
    outer = optax.sgd(0.7, momentum=0.9, nesterov=True)
    return attention("AdamW", server_optimizer=outer, keep_opt_state=True, **sizes)


def texts(shape: tuple[int, ...], length: int, vocabulary: int) -> Any:
    """Draws characters ``[*shape, length + 1]``."""
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.integers(0, vocabulary, (*shape, length + 1), np.int32))
