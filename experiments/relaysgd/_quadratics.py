"""Problems and error curves of the paper's experiments on quadratics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.relaysgd._methods import METHODS
from jcollab.data import Quadratics, quadratics

Build = Callable[[Any], jc.Algorithm]


def method(name: str, n: int, *, noise: float = 0.0, mixer: jc.Mixer | None = None) -> Build:
    """``build(learning_rate) -> Algorithm`` of a method of the paper without momentum.

    Args:
        name: of the method and its topology, for example "RelaySGD chain".
        n: number of clients.
        noise: sigma of the gradients.
        mixer: another one than the method's.
    """
    loss, mixer = quadratics.quadratic_loss(noise), mixer or METHODS[name].mixer(n)
    return lambda rate: METHODS[name].build(loss, rate, 0.0, mixer)


def stack(problems: list[Quadratics]) -> Quadratics:
    """Problems along a leading axis ``[S]``."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *problems)


def optimal_values(problems: Quadratics) -> np.ndarray:
    """``F*`` of each of the stacked problems, ``[S]``."""
    each = (Quadratics(a, b) for a, b in zip(*problems, strict=True))
    return np.array([quadratics.objective_value(p, quadratics.optimum(p)) for p in each])


def error_curves(
    build: Build, problems: Quadratics, rates: Any, rounds: int, keys: jax.Array
) -> jax.Array:
    """``F(mean x) - F*`` before each round and after the last, ``[S, T + 1]``, in one program.

    Args:
        build: the method.
        problems: ``A [S, n, d, d]``, ``b [S, n, d]``.
        rates: learning rate on each problem, ``[S]``, or one for all.
        rounds: T.
        keys: of the gradient noise, ``[S]``.
    """
    count, n, d = problems.b.shape

    def one(problem: Quadratics, least: Any, rate: Any, key: Any) -> Any:
        def error(state: jc.State) -> Any:
            mean = jc.params_of(state).mean(0)
            return {"error": quadratics.objective_value(problem, mean) - least}

        algorithm = jc.with_metrics(build(rate), error)
        state = algorithm.init(key, jnp.zeros((n, d)))
        _, log = jc.run(algorithm, state, problem, key, num_rounds=rounds, sample=quadratics.whole)
        return jnp.concatenate([error(state)["error"][None], log["error"]])

    every = np.broadcast_to(rates, count)
    return jax.jit(jax.vmap(one))(problems, optimal_values(problems), every, keys)
