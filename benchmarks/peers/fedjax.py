"""FedJAX with haiku, with the last version of JAX that it runs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fedjax
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
from fedjax.algorithms import fed_avg

VERSIONS = ("fedjax", "jax", "dm-haiku")
Program = Callable[[], Any]


def federated(model: str, clients: int, steps: int, batch: int, rate: float) -> Program:
    """Builds a round of federated averaging with images of 28 x 28."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((clients, steps * batch, 28, 28, 1), np.float32)
    y = rng.integers(0, 10, (clients, steps * batch))

    def predict(x: Any) -> Any:
        if model == "CNN":
            for features in (32, 64):
                x = hk.max_pool(
                    jax.nn.relu(hk.Conv2D(features, 5)(x)), (2, 2, 1), (2, 2, 1), "SAME"
                )
        widths = (512, 10) if model == "CNN" else (64, 10)
        return hk.nets.MLP(widths)(hk.Flatten()(x))

    def loss(batch: Any) -> Any:
        return _cross_entropy(predict(batch["x"]), batch["y"])

    data = [{"x": x[i], "y": y[i]} for i in range(clients)]
    return _rounds(loss, data, clients, batch, fedjax.optimizers.sgd(rate))


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

    def predict(x: Any) -> Any:
        core = hk.GRU(width)
        features = hk.Embed(vocabulary, embedding)(x.T)
        return hk.Linear(vocabulary)(
            hk.dynamic_unroll(core, features, core.initial_state(len(x)))[0]
        ).swapaxes(0, 1)

    data = _texts(clients, steps * batch, length, vocabulary)
    sgd = fedjax.optimizers.sgd(rate)
    return _rounds(_next_character(predict), data, sampled, batch, sgd)


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

    def norm() -> Any:
        return hk.LayerNorm(-1, True, True)

    def predict(x: Any) -> Any:
        mask = jnp.tril(jnp.ones((1, 1, length, length)))
        init = hk.initializers.VarianceScaling()
        x = hk.Embed(vocabulary, width)(x) + hk.Embed(length, width)(jnp.arange(length))
        for _ in range(layers):
            y = norm()(x)
            x = x + hk.MultiHeadAttention(heads, width // heads, w_init=init)(y, y, y, mask)
            y = jax.nn.gelu(hk.Linear(4 * width)(norm()(x)))
            x = x + hk.Linear(width)(y)
        return hk.Linear(vocabulary)(norm()(x))

    data = _texts(clients, steps * batch, length, vocabulary)
    local = {"SGD": optax.sgd, "AdamW": optax.adamw}[optimizer](rate)
    own = fedjax.optimizers.create_optimizer_from_optax(local)
    return _rounds(_next_character(predict), data, clients, batch, own)


def _texts(clients: int, examples: int, length: int, vocabulary: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {"x": rng.integers(0, vocabulary, (examples, length + 1), np.int32)} for _ in range(clients)
    ]


def _next_character(predict: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda batch: _cross_entropy(predict(batch["x"][:, :-1]), batch["x"][:, 1:])


def _cross_entropy(logits: Any, labels: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def _rounds(
    loss: Callable[[Any], Any], data: list[dict[str, Any]], sampled: int, batch: int, local: Any
) -> Program:
    transformed = hk.without_apply_rng(hk.transform(loss))
    params = transformed.init(jax.random.PRNGKey(0), {k: v[:1] for k, v in data[0].items()})
    algorithm = fed_avg.federated_averaging(
        lambda params, batch, key: jax.grad(transformed.apply)(params, batch),
        local,
        fedjax.optimizers.sgd(1.0),
        fedjax.ShuffleRepeatBatchHParams(batch_size=batch, num_epochs=1),
    )
    sets = [fedjax.ClientDataset(own) for own in data]
    rng, state = np.random.default_rng(0), algorithm.init(params)

    def run() -> None:
        nonlocal state
        chosen = rng.choice(len(sets), sampled, replace=False)
        keys = jax.random.split(jax.random.PRNGKey(0), sampled)
        clients = [(b"%d" % i, sets[i], key) for i, key in zip(chosen, keys, strict=True)]
        state, _ = algorithm.apply(state, clients)
        jax.block_until_ready(state.params)

    return run
