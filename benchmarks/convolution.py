"""Convolutions of a user's flax network inside a loop over clients, alone and in gossip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import jcollab as jc
from benchmarks.timing import interleaved

CLIENTS, WORST = 4, 1.5
CASES = {
    "20 x 14 x 14 x 32 -> 64, 5 x 5": ((20, 14, 14, 32), 64, (5, 5), 1),
    "32 x 26 x 26 x 32 -> 64, 3 x 3": ((32, 26, 26, 32), 64, (3, 3), 1),
    "32 x 32 x 32 x 16 -> 32, 3 x 3, stride 2": ((32, 32, 32, 16), 32, (3, 3), 2),
    "32 x 8 x 8 x 256 -> 256, 3 x 3": ((32, 8, 8, 256), 256, (3, 3), 1),
    "32 x 2 x 2 x 512 -> 512, 3 x 3": ((32, 2, 2, 512), 512, (3, 3), 1),
}


class Network(nn.Module):
    """The network of W1 as a user writes it in flax."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Returns logits ``[b, 10]`` of images ``[b, 28, 28, 1]``."""
        for features in (32, 64):
            x = nn.max_pool(nn.relu(nn.Conv(features, (5, 5))(x)), (2, 2), (2, 2))
        x = nn.relu(nn.Dense(512)(x.reshape(len(x), -1)))
        return nn.Dense(10)(x)


def measure() -> list[dict[str, Any]]:
    """Measures a client's gradient in a loop against the same work alone, and a gossip run.

    Raises:
        AssertionError: if a convolution costs more than 1.5 times as much in a loop as alone.
    """
    rows = []
    for name, (shape, features, kernel, stride) in CASES.items():
        x = jax.random.normal(jax.random.key(0), (CLIENTS, *shape))
        module = nn.Conv(features, kernel, (stride, stride))
        params = module.init(jax.random.key(1), x[0])
        every = jax.tree.map(lambda leaf: jnp.stack([leaf] * CLIENTS), params)

        def loss(params: Any, x: Any, module: nn.Module = module) -> Any:
            return jnp.sum(module.apply(params, x) ** 2)

        fast = jax.grad(jc.layout.fast_layers(loss), (0, 1))
        plain = jax.grad(jc.layout.as_written(loss), (0, 1))
        programs = {
            "loop": _looped(fast, every, x),
            "flax loop": _looped(plain, every, x),
            "alone": _compiled(fast, params, x[0]),
            "flax alone": _compiled(plain, params, x[0]),
        }
        seconds = interleaved(programs, repeats=5)
        best = min(seconds["alone"], seconds["flax alone"])
        row = {"layer": name, "loop / alone": seconds["loop"] / CLIENTS / best}
        row["flax, loop / alone"] = seconds["flax loop"] / CLIENTS / best
        rows.append(row | {"seconds a round": "", "as written / rewritten": ""})
        assert row["loop / alone"] <= WORST, f"{name}: {row['loop / alone']:.2f} times"
    return [*rows, _gossip()]


def _gossip() -> dict[str, Any]:
    """Measures gossip among 16 clients with the network, rewritten and as written."""
    n, rounds = 16, 2
    x = jax.random.normal(jax.random.key(0), (1, n, 32, 28, 28, 1))
    batches = jc.data.stacked(
        jc.data.Dataset(jnp.repeat(x, rounds, 0), jnp.zeros((rounds, n, 32), int))
    )
    model = Network()
    params = jc.replicate(model.init(jax.random.key(1), x[0, 0]), n)
    loss = jc.objectives.classification(model.apply)
    programs = {}
    for name, own in {"jcollab": loss, "flax": jc.layout.as_written(loss)}.items():
        algorithm = jc.decentralized(own, optax.sgd(0.01), jc.gossip(jc.topology.ring(n)))
        state = algorithm.init(params)

        def program(algorithm: Any = algorithm, state: Any = state) -> Any:
            return jc.run(algorithm, state, batches, jax.random.key(2))

        programs[name] = program
    seconds = interleaved(programs, repeats=5)
    return {
        "layer": "gossip of 16 clients, CNN",
        "loop / alone": "",
        "flax, loop / alone": "",
        "seconds a round": seconds["jcollab"] / rounds,
        "as written / rewritten": seconds["flax"] / seconds["jcollab"],
    }


def _looped(gradient: Callable, *args: Any) -> Callable[[], Any]:
    return _compiled(lambda *args: jax.lax.map(lambda own: gradient(*own), args), *args)


def _compiled(fn: Callable, *args: Any) -> Callable[[], Any]:
    program = jax.jit(fn, compiler_options=jc.layout.compiler_options())
    return lambda: program(*args)
