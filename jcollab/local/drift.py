"""Corrections of client drift, which leads local steps to each client's own optimum.

A drift is a tuple of pure functions of ONE client, of which each method changes a few. A round with
server model x goes: (1) where ``probes`` is set, clients send their gradients ``g_i`` at x and hear
the mean ``gbar``; (2) ``start`` says where client i starts, ``y_i``, and what is added to each of
its gradients; (3) after its local steps ``finish`` renews what the client keeps; (4) ``serve``
corrects the mean update and renews what the server keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

PyTree = Any
Array = jax.Array


class Drift(NamedTuple):
    """A correction of client drift.

    Attributes:
        init: ``init(params) -> (own, server)``, what one client and the server keep.
        start: ``start(params, own, server, gradient, mean_gradient) -> (y, correction)``; the
            gradients are None without ``probes``, the correction is None where there is none.
        finish: ``finish(own, change, gradient) -> own`` from the client's update ``y - x`` and the
            mean of its local gradients, without corrections.
        serve: ``serve(update, server, moved) -> (update, server)``; ``moved`` is what the mean of
            ``own`` over all clients has changed by.
        probes: whether clients send gradients at x before their local steps, which costs a gradient
            and a communication more.
        corrects: whether there are corrections, which the optimiser must apply.
    """

    init: Callable[[PyTree], tuple[PyTree, PyTree]]
    start: Callable[[PyTree, PyTree, PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]
    finish: Callable[[PyTree, PyTree, PyTree], PyTree]
    serve: Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]
    probes: bool
    corrects: bool


def none() -> Drift:
    """Plain local steps."""
    return _drift()


def scaffold(*, recomputed: bool = False) -> Drift:
    """Control variates: every local gradient is corrected by ``c - c_i``.

        y <- y - gamma (grad f_i(y) - c_i + c)

    Stored (the default), ``c_i`` is the mean of the client's local gradients in the last round in
    which it took part, and ``c`` the mean of all ``c_i``: with SGD, option II of the paper.
    Recomputed, they are the gradients at x of this round and their mean over the sampled clients.

    Args:
        recomputed: takes the gradients of the round itself, at one more gradient and communication.

    The optimiser must hold :func:`jcollab.local.control_variate`.

    Source: Karimireddy et al. 2019, arXiv 1910.06378; recomputed as a baseline by Dandi, Barba and
    Jaggi 2021, arXiv 2106.13897.
    """
    if recomputed:

        def difference(x: PyTree, own: PyTree, server: PyTree, g: PyTree, mean: PyTree) -> tuple:
            return x, _minus(mean, g)

        return _drift(start=difference, probes=True, corrects=True)

    return _drift(
        init=lambda x: (_zeros(x), _zeros(x)),
        start=lambda x, own, server, g, mean: (x, _minus(server, own)),
        finish=lambda own, change, gradient: gradient,
        serve=lambda update, server, moved: (update, _plus(server, moved)),
        corrects=True,
    )


def gradient_alignment(beta: Any) -> Drift:
    """Clients start displaced, so that their gradients align: ``y_i = x + beta (g_i - gbar)``.

    The displacements have mean 0 and stay in ``y_i`` until models are averaged. With K local steps
    of length gamma the round descends on ``f + (c/2) Var`` with ``c = beta - gamma (K - 1) / 2``
    up to third order, where Var is the variance of the clients' gradients.

    Args:
        beta: displacement, >= 0; may be a traced value. 0 is FedAvg.

    Raises:
        ValueError: if beta < 0.

    Source: FedGA of Dandi, Barba and Jaggi 2021, arXiv 2106.13897.
    """
    check_strength("beta", beta)

    def start(x: PyTree, own: PyTree, server: PyTree, g: PyTree, mean: PyTree) -> tuple:
        def displaced(p: Array, g: Array, mean: Array) -> Array:
            return (p + beta * (g - mean)).astype(p.dtype)

        return jax.tree.map(displaced, x, g, mean), None

    return _drift(start=start, probes=True)


def dynamic_regularization(alpha: Any) -> Drift:
    """FedDyn: linear and quadratic terms that let local optima agree with the global one.

        y minimises f_i(y) - <h_i, y> + (alpha/2) ||y - x||^2,     h_i <- h_i - alpha (y - x)
        x <- mean(y) - h / alpha,                                  h the mean of all h_i

    Args:
        alpha: the penalty, > 0; may be a traced value.

    The optimiser must hold :func:`jcollab.local.control_variate`, and ``proximal(alpha)`` for the
    quadratic term.

    Raises:
        ValueError: if alpha <= 0.

    Source: Acar et al. 2021, arXiv 2111.04263.
    """
    if not isinstance(alpha, jax.core.Tracer) and not alpha > 0:
        raise ValueError(f"alpha must be positive, got {alpha}")

    def serve(update: PyTree, server: PyTree, moved: PyTree) -> tuple[PyTree, PyTree]:
        server = _plus(server, moved)
        return jax.tree.map(lambda u, h: u - (h / alpha).astype(u.dtype), update, server), server

    return _drift(
        init=lambda x: (_zeros(x), _zeros(x)),
        start=lambda x, own, server, g, mean: (x, jax.tree.map(jnp.negative, own)),
        finish=lambda own, change, gradient: jax.tree.map(
            lambda h, d: h - (alpha * d).astype(h.dtype), own, change
        ),
        serve=serve,
        corrects=True,
    )


def normalized(momentum: float = 0.0) -> Callable[[Array], Array]:
    """FedNova's length of a local run of tau steps, by which its update is divided.

        a = (tau - rho (1 - rho^tau) / (1 - rho)) / (1 - rho),      tau for plain SGD (rho = 0)

    Args:
        momentum: rho of local heavy-ball momentum, in [0, 1).

    Returns:
        ``length(steps) -> a``.

    Raises:
        ValueError: if momentum lies outside [0, 1).

    Example:
        >>> float(jc.local.normalized()(jnp.array(5)))  # plain SGD
        5.0

    Source: Wang et al. 2020, arXiv 2007.07481.
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1), got {momentum}")

    def length(steps: Array) -> Array:
        tau = steps.astype(jnp.float32)
        return (tau - momentum * (1 - momentum**tau) / (1 - momentum)) / (1 - momentum)

    return length


def check_strength(name: str, value: Any) -> None:
    """ValueError unless the value is at least 0 (or traced)."""
    if not isinstance(value, jax.core.Tracer) and not value >= 0:
        raise ValueError(f"{name} must be at least 0, got {value}")


def _drift(**parts: Any) -> Drift:
    plain: dict[str, Any] = {
        "init": lambda x: ((), ()),
        "start": lambda x, own, server, g, mean: (x, None),
        "finish": lambda own, change, gradient: own,
        "serve": lambda update, server, moved: (update, server),
        "probes": False,
        "corrects": False,
    }
    return Drift(**plain | parts)


def _zeros(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.zeros_like, tree)


def _minus(left: PyTree, right: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: (a - b).astype(a.dtype), left, right)


def _plus(left: PyTree, right: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: (a + b).astype(a.dtype), left, right)
