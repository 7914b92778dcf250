"""Federated methods by name, as functions of the local learning rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optax

import jcollab as jc
from jcollab import local

Options = dict[str, Any]


def _corrected(rate: Any) -> Any:
    return optax.chain(local.control_variate(), optax.sgd(rate))


def _feddyn(rate: Any, steps: int, alpha: float = 0.1) -> Options:
    return {
        "optimizer": optax.chain(local.proximal(alpha), _corrected(rate)),
        "drift": local.dynamic_regularization(alpha),
    }


def _server(optimizer: optax.GradientTransformation) -> Callable[[Any, int], Options]:
    return lambda rate, steps: {"server_optimizer": optimizer}


# name: what the method changes in FedAvg, from the learning rate and the number of local steps
METHODS: dict[str, Callable[[Any, int], Options]] = {
    "FedAvg": lambda rate, steps: {},
    "FedProx": lambda rate, steps: {
        "optimizer": optax.chain(local.proximal(0.1), optax.sgd(rate)),
    },
    "SCAFFOLD": lambda rate, steps: {"optimizer": _corrected(rate), "drift": local.scaffold()},
    "SCAFFOLD recomputed": lambda rate, steps: {
        "optimizer": _corrected(rate),
        "drift": local.scaffold(recomputed=True),
    },
    # half the learning rate, as in the authors' commands
    "FedGA": lambda rate, steps: {"drift": local.gradient_alignment(rate / 2)},
    # what local steps add to the variance of gradients is just taken back
    "FedGA c=0": lambda rate, steps: {"drift": local.gradient_alignment(rate * (steps - 1) / 2)},
    "FedDyn": _feddyn,
    "FedNova": lambda rate, steps: {"length": local.normalized()},
    "FedAvgM": _server(optax.sgd(1.0, momentum=0.9)),
    "FedAdam": _server(optax.adam(0.01, eps=1e-3)),
    "FedYogi": _server(optax.yogi(0.01)),
    "FedAdagrad": _server(optax.adagrad(0.03)),
}


def build(
    name: str, loss: Any, rate: Any, *, num_sampled: int, local_steps: int, batch_size: int
) -> jc.Algorithm:
    """The method with a learning rate that may be traced.

    Raises:
        ValueError: for an unknown method.
    """
    check(name)
    options = {"optimizer": optax.sgd(rate)} | METHODS[name](rate, local_steps)
    return jc.federated(
        loss,
        options.pop("optimizer"),
        num_sampled=num_sampled,
        local_steps=local_steps,
        source=jc.sources.local_batches(batch_size),
        **options,
    )


def check(name: str) -> None:
    """ValueError for an unknown method."""
    if name not in METHODS:
        raise ValueError(f"methods must be among {', '.join(METHODS)}, got {name!r}")
