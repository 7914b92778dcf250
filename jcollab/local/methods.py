"""Federated methods: what FedProx, SCAFFOLD, FedGA, FedDyn and FedNova change in a round.

A :class:`ClientMethod` is a tuple of pure functions of ONE client, of which each method changes a
few; :func:`jcollab.federated` applies all of them, and :func:`combine` makes one method of
several. A round with server model x goes:

1. Where ``probes`` is set, clients send their gradients ``g_i`` at x and receive the mean ``gbar``.
2. ``start`` returns where client i starts, ``y_i``, and the correction of its gradients.
3. ``transform`` changes the gradients of each local step, before the local optimizer.
4. ``finish`` renews what the client keeps, after its local steps.
5. ``length`` is the length of the local run, by which the update is divided.
6. ``serve`` corrects the mean update and renews what the server keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jcollab import checks
from jcollab.core import widen
from jcollab.local.transforms import control_variate, proximal

PyTree = Any
Array = jax.Array
Start = Callable[[PyTree, PyTree, PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]
Serve = Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]


class ClientMethod(NamedTuple):
    """A federated method.

    Attributes:
        init: ``init(params) -> (own, server)``, what one client and the server keep.
        start: ``start(params, own, server, gradient, mean_gradient) -> (y, correction)``; the
            gradients are None without ``probes``, the correction is None where there is none.
        finish: ``finish(own, change, gradient) -> own`` from the client's update ``y - x`` and the
            mean of its local gradients, without corrections.
        serve: ``serve(update, server, moved) -> (update, server)``; ``moved`` is the change of the
            mean of ``own`` over all clients.
        transform: optax transform of the gradients of local steps, before the local optimizer; it
            gets the extra arguments ``anchor``, x, and ``correction``. None for none.
        length: ``length(steps) -> a``; updates are divided by it, and their mean multiplied by the
            mean length. None for 1.
        probes: whether clients send gradients at x before their local steps, which costs a gradient
            and a communication more.
    """

    init: Callable[[PyTree], tuple[PyTree, PyTree]] = lambda params: ((), ())
    start: Start = lambda params, own, server, g, mean: (params, None)
    finish: Callable[[PyTree, PyTree, PyTree], PyTree] = lambda own, change, gradient: own
    serve: Serve = lambda update, server, moved: (update, server)
    transform: optax.GradientTransformation | None = None
    length: Callable[[Array], Array] | None = None
    probes: bool = False


def fedavg() -> ClientMethod:
    """Plain local steps.

    Source: McMahan et al. 2017, arXiv 1602.05629.
    """
    return ClientMethod()


def fedprox(mu: Any) -> ClientMethod:
    """Local steps on ``f_i(y) + (mu/2) ||y - x||^2``.

    Args:
        mu: >= 0; may be traced.

    Raises:
        ValueError: if mu < 0.

    Source: Li et al. 2018, arXiv 1812.06127.
    """
    checks.finite(at_least=0, mu=mu)
    return ClientMethod(transform=proximal(mu))


def scaffold(*, recomputed: bool = False) -> ClientMethod:
    """Control variates: every local gradient is corrected by ``c - c_i``.

        y <- y - gamma (grad f_i(y) - c_i + c)

    Stored (the default), ``c_i`` is the mean of the client's local gradients in the last round in
    which it took part, and ``c`` the mean of all ``c_i``: with SGD, option II of the paper.
    Recomputed, they are the gradients at x of this round and their mean over the sampled clients.

    Args:
        recomputed: takes the gradients of the round itself, at one more gradient and communication.

    Source: Karimireddy et al. 2019, arXiv 1910.06378; recomputed as a baseline by Dandi, Barba and
    Jaggi 2021, arXiv 2106.13897.
    """
    if recomputed:

        def difference(x: PyTree, own: PyTree, server: PyTree, g: PyTree, mean: PyTree) -> tuple:
            return x, _minus(mean, g)

        return ClientMethod(start=difference, transform=control_variate(), probes=True)

    return ClientMethod(
        init=lambda x: (optax.tree.zeros_like(x), optax.tree.zeros_like(x)),
        start=lambda x, own, server, g, mean: (x, _minus(server, own)),
        finish=lambda own, change, gradient: gradient,
        serve=lambda update, server, moved: (update, _plus(server, moved)),
        transform=control_variate(),
    )


def fedga(beta: Any) -> ClientMethod:
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
    checks.finite(at_least=0, beta=beta)

    def start(x: PyTree, own: PyTree, server: PyTree, g: PyTree, mean: PyTree) -> tuple:
        def displaced(p: Array, g: Array, mean: Array) -> Array:
            return (widen(p) + beta * (widen(g) - widen(mean))).astype(p.dtype)

        return jax.tree.map(displaced, x, g, mean), None

    return ClientMethod(start=start, probes=True)


def feddyn(alpha: Any) -> ClientMethod:
    """FedDyn: linear and quadratic terms that let local optima agree with the global one.

        y minimizes f_i(y) - <h_i, y> + (alpha/2) ||y - x||^2,     h_i <- h_i - alpha (y - x)
        x <- mean(y) - h / alpha,                                  h the mean of all h_i

    Args:
        alpha: the penalty, > 0; may be a traced value.

    Raises:
        ValueError: if alpha <= 0.

    Source: Acar et al. 2021, arXiv 2111.04263.
    """
    checks.finite(above=0, alpha=alpha)

    def serve(update: PyTree, server: PyTree, moved: PyTree) -> tuple[PyTree, PyTree]:
        server = _plus(server, moved)
        return jax.tree.map(lambda u, h: u - (h / alpha).astype(u.dtype), update, server), server

    return ClientMethod(
        init=lambda x: (optax.tree.zeros_like(x), optax.tree.zeros_like(x)),
        start=lambda x, own, server, g, mean: (x, jax.tree.map(jnp.negative, own)),
        finish=lambda own, change, gradient: jax.tree.map(
            lambda h, d: h - (alpha * d).astype(h.dtype), own, change
        ),
        serve=serve,
        transform=optax.chain(proximal(alpha), control_variate()),
    )


def fednova(momentum: float = 0.0) -> ClientMethod:
    """FedNova: updates are divided by the length of the local run, here of tau steps.

        a = (tau - rho (1 - rho^tau) / (1 - rho)) / (1 - rho),      tau for plain SGD (rho = 0)

    Args:
        momentum: rho of local heavy-ball momentum, in [0, 1).

    Raises:
        ValueError: if momentum lies outside [0, 1).

    Example:
        >>> float(jc.local.fednova().length(jnp.array(5)))  # plain SGD
        5.0

    Source: Wang et al. 2020, arXiv 2007.07481.
    """
    checks.number("momentum", momentum, at_least=0, below=1)

    def length(steps: Array) -> Array:
        tau = steps.astype(float)
        return (tau - momentum * (1 - momentum**tau) / (1 - momentum)) / (1 - momentum)

    return ClientMethod(length=length)


def combine(*methods: ClientMethod) -> ClientMethod:
    """Several methods in one round, for example FedNova's lengths with SCAFFOLD's corrections.

    Each method keeps a state of its own. Clients start where one method after the other displaces
    them to. Gradients go through the transforms in order, each with the correction of its own
    method, so that corrections add up. Updates of the server are corrected in order.

    Args:
        *methods: methods, of which at most one has a length; none is FedAvg.

    Raises:
        TypeError: if one is no ClientMethod.
        ValueError: if several have a length.

    Example:
        >>> method = jc.local.combine(jc.local.fednova(), jc.local.scaffold())
    """
    checks.kind(ClientMethod, **{f"methods[{i}]": method for i, method in enumerate(methods)})
    lengths = [method.length for method in methods if method.length is not None]
    if len(lengths) > 1:
        raise ValueError(f"methods must have at most one length, got {len(lengths)}")

    def init(params: PyTree) -> tuple[PyTree, PyTree]:
        states = [method.init(params) for method in methods]
        return tuple(own for own, _ in states), tuple(server for _, server in states)

    def start(x: PyTree, own: PyTree, server: PyTree, g: PyTree, mean: PyTree) -> tuple:
        corrections = []
        for method, kept, at_server in zip(methods, own, server, strict=True):
            x, correction = method.start(x, kept, at_server, g, mean)
            corrections.append(correction)
        return x, tuple(corrections)

    def finish(own: PyTree, change: PyTree, gradient: PyTree) -> PyTree:
        return tuple(
            method.finish(state, change, gradient)
            for method, state in zip(methods, own, strict=True)
        )

    def serve(update: PyTree, server: PyTree, moved: PyTree) -> tuple[PyTree, PyTree]:
        fresh = []
        for method, state, change in zip(methods, server, moved, strict=True):
            update, state = method.serve(update, state, change)
            fresh.append(state)
        return update, tuple(fresh)

    return ClientMethod(
        init=init,
        start=start,
        finish=finish,
        serve=serve,
        transform=_each_corrected(methods),
        length=lengths[0] if lengths else None,
        probes=any(method.probes for method in methods),
    )


def _each_corrected(
    methods: tuple[ClientMethod, ...],
) -> optax.GradientTransformationExtraArgs | None:
    """The transforms of methods in order, each with the correction of its own method."""
    transforms = {
        i: optax.with_extra_args_support(method.transform)
        for i, method in enumerate(methods)
        if method.transform is not None
    }
    if not transforms:
        return None

    def init(params: PyTree) -> PyTree:
        return tuple(transform.init(params) for transform in transforms.values())

    def update(
        updates: PyTree, state: PyTree, params: PyTree = None, *, correction: tuple, **extra: Any
    ) -> tuple[PyTree, PyTree]:
        fresh = []
        for (i, transform), old in zip(transforms.items(), state, strict=True):
            updates, new = transform.update(updates, old, params, correction=correction[i], **extra)
            fresh.append(new)
        return updates, tuple(fresh)

    return optax.GradientTransformationExtraArgs(init, update)


def _minus(left: PyTree, right: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: (widen(a) - widen(b)).astype(a.dtype), left, right)


def _plus(left: PyTree, right: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: (widen(a) + widen(b)).astype(a.dtype), left, right)
