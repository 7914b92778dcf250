"""The methods of the paper's experiments on quadratics, as functions of a learning rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

import jcollab as jc
from jcollab.data import quadratics

Build = Callable[[Any], jc.Algorithm]
GOSSIP_WEIGHT = 1 / 3 - 0.01  # keeps D2's mixing matrix on a ring away from its limit of -1/3


def topology(name: str, n: int) -> jc.topology.Topology:
    """Ring, chain, star or tree of n clients."""
    makers = {
        "ring": jc.topology.ring,
        "chain": jc.topology.chain,
        "star": jc.topology.star,
        "tree": jc.topology.binary_tree,
    }
    return makers[name](n)


def method(name: str, graph: str, n: int, *, noise: float = 0.0, weight: float = 0.0) -> Build:
    """A method by name.

    Args:
        name: of the method.
        graph: name of a topology.
        n: number of clients.
        noise: sigma of the gradients.
        weight: mixing weight of every edge; 0 for Metropolis-Hastings weights.
    """
    loss = quadratics.quadratic_loss(noise)

    def mixing() -> jc.Mixer:
        over = topology(graph, n)
        return jc.gossip(jc.topology.constant_weights(over, weight) if weight else over)

    def shared(mixer: jc.Mixer, **options: Any) -> Build:
        return lambda rate: jc.decentralized(loss, optax.sgd(rate), mixer, **options)

    if name == "all-reduce":
        return shared(jc.all_reduce())
    if name == "SGP":
        return shared(jc.one_peer_exponential(n, rounds=2))
    if name == "D-PSGD":
        return shared(mixing())
    if name == "RelaySGD":
        return shared(jc.relay_sum(topology(graph, n)))
    if name == "RelaySGD/Grad":
        return shared(jc.relay_sum(topology(graph, n), fill="zero"), strength=0.0)
    corrected = {"D2": jc.d2, "gradient tracking": jc.gradient_tracking}[name]
    mixer = mixing()
    return lambda rate: corrected(loss, optax.sgd(rate), mixer)


def stack(problems: list[jc.data.Quadratics]) -> tuple[jc.data.Quadratics, np.ndarray]:
    """Problems along a leading axis ``[S]``, and the values of their optima ``[S]``."""
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *problems)
    return stacked, optimal_values(stacked)


def optimal_values(problems: jc.data.Quadratics) -> np.ndarray:
    """``F*`` of each of the stacked problems, ``[S]``."""
    each = (jc.data.Quadratics(a, b) for a, b in zip(*problems, strict=True))
    return np.array([float(quadratics.objective_value(p, quadratics.optimum(p))) for p in each])


def error_curves(
    build: Build,
    problems: jc.data.Quadratics,
    rates: np.ndarray,
    rounds: int,
    keys: jax.Array,
) -> np.ndarray:
    """``F(mean x) - F*`` before each round and after the last, ``[S, T + 1]``, in one program.

    Args:
        build: the method.
        problems: ``A [S, n, d, d]``, ``b [S, n, d]``.
        rates: learning rate on each problem, ``[S]``.
        rounds: T.
        keys: of the gradient noise, ``[S]``.
    """
    n, d = problems.b.shape[1:]

    def one(problem: jc.data.Quadratics, least: Any, rate: Any, key: Any) -> Any:
        def error(state: jc.State) -> Any:
            mean = jc.params_of(state).mean(0)
            return {"error": quadratics.objective_value(problem, mean) - least}

        algorithm = jc.with_metrics(build(rate), error)
        state = algorithm.init(key, jax.numpy.zeros((n, d)))
        _, log = jc.run(algorithm, state, problem, key, num_rounds=rounds, sample=quadratics.whole)
        return jax.numpy.concatenate([error(state)["error"][None], log["error"]])

    least = optimal_values(problems)
    return np.asarray(jax.jit(jax.vmap(one))(problems, least, np.asarray(rates), keys))
