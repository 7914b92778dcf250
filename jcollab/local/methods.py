"""Federated methods: FedAvg, FedProx, SCAFFOLD, FedGA, FedDyn and FedNova.

A :class:`ClientMethod` is a tuple of pure functions of ONE client; each method replaces a few of
them. :func:`jcollab.federated` applies all of them, and :func:`combine` builds one method from
several. A round with the server model x has these steps:

1. If ``probes`` is set, clients send their gradients ``g_i`` at x and receive the mean ``gbar``.
2. ``start`` returns the model ``y_i`` at which client i starts and the correction of its gradients.
3. ``transform`` changes the gradient of each local step, before the local optimizer.
4. ``finish`` updates the state of the client after its local steps.
5. ``length`` returns the length of the local run, by which the update is divided.
6. ``serve`` corrects the mean update and updates the state of the server.
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
        init: ``init(params) -> (own, server)``, the states of one client and of the server.
        start: ``start(params, own, server, gradient, mean_gradient) -> (y, correction)``; the
            gradients are None without ``probes``, and a method without correction returns None.
        finish: ``finish(own, change, gradient) -> own`` from the client's update ``y - x`` and the
            mean of its local gradients, without corrections.
        serve: ``serve(update, server, moved) -> (update, server)``; ``moved`` is the change of the
            mean of ``own`` over all clients.
        transform: optax transform of the gradients of local steps, before the local optimizer; it
            receives the extra arguments ``anchor``, x, and ``correction``. None for no transform.
        length: ``length(steps) -> a``; updates are divided by it, and their mean multiplied by the
            mean length. None for 1.
        probes: whether clients send gradients at x before their local steps, which costs one more
            gradient and one more communication.

    Example:
        >>> def loss(params, batch, key):
        ...     return 0.5 * jnp.sum((params - batch) ** 2)
        >>> method = jc.local.ClientMethod(transform=optax.clip(1.0))  # clips local gradients
        >>> algorithm = jc.federated(loss, optax.sgd(0.5), method=method, num_clients=2)
        >>> state, targets = algorithm.init(jnp.zeros(1)), jc.data.full_batch(jnp.full((2, 1), 8.0))
        >>> state, _ = jc.run(algorithm, state, targets, jax.random.key(0), num_rounds=3)
        >>> jc.params_of(state).tolist()
        [[1.5]]
    """

    init: Callable[[PyTree], tuple[PyTree, PyTree]] = lambda params: ((), ())
    start: Start = lambda params, own, server, g, mean: (params, None)
    finish: Callable[[PyTree, PyTree, PyTree], PyTree] = lambda own, change, gradient: own
    serve: Serve = lambda update, server, moved: (update, server)
    transform: optax.GradientTransformation | None = None
    length: Callable[[Array], Array] | None = None
    probes: bool = False


def fedavg() -> ClientMethod:
    """Builds FedAvg: plain local steps.

    Example:
        >>> def loss(params, batch, key):  # curvature and minimum of each client
        ...     return 0.5 * batch[0] * jnp.sum((params - batch[1]) ** 2)
        >>> batches = jc.data.full_batch(jnp.array([[1.0, 0.0], [3.0, 8.0]]))
        >>> algorithm = jc.federated(
        ...     loss, optax.sgd(0.25), method=jc.local.fedavg(), local_steps=4, num_clients=2
        ... )
        >>> state, key = algorithm.init(jnp.zeros(1)), jax.random.key(0)
        >>> state, _ = jc.run(algorithm, state, batches, key, num_rounds=50)
        >>> round(float(jc.params_of(state)[0, 0]), 2)  # the minimum of the mean loss is 6
        4.74

    Source: McMahan et al. 2017, arXiv 1602.05629.
    """
    return ClientMethod()


def fedprox(mu: Any) -> ClientMethod:
    """Builds FedProx: local steps on ``f_i(y) + (mu/2) ||y - x||^2``.

    Args:
        mu: penalty, >= 0; may be traced. 0 is FedAvg.

    Raises:
        ValueError: if mu < 0.

    Example:
        >>> def loss(params, batch, key):  # curvature and minimum of each client
        ...     return 0.5 * batch[0] * jnp.sum((params - batch[1]) ** 2)
        >>> batches = jc.data.full_batch(jnp.array([[1.0, 0.0], [3.0, 8.0]]))
        >>> algorithm = jc.federated(
        ...     loss, optax.sgd(0.25), method=jc.local.fedprox(1.0), local_steps=4, num_clients=2
        ... )
        >>> state, key = algorithm.init(jnp.zeros(1)), jax.random.key(0)
        >>> state, _ = jc.run(algorithm, state, batches, key, num_rounds=50)
        >>> round(float(jc.params_of(state)[0, 0]), 2)  # FedAvg: 4.74; the minimum is 6
        4.92

    Source: Li et al. 2018, arXiv 1812.06127.
    """
    checks.finite(at_least=0, mu=mu)
    return ClientMethod(transform=proximal(mu))


def scaffold(*, recomputed: bool = False) -> ClientMethod:
    """Builds SCAFFOLD, which corrects every local gradient by the control variates ``c - c_i``.

        y <- y - gamma (grad f_i(y) - c_i + c)

    By default, ``c_i`` is the mean of the client's local gradients in the last round for which it
    was sampled, and ``c`` is the mean of all ``c_i``; with SGD, this is option II of the paper. If
    recomputed, they are the gradients at x in this round and their mean over the sampled clients.

    Args:
        recomputed: whether to compute control variates in every round, at the cost of one more
            gradient and one more communication.

    Example:
        >>> def loss(params, batch, key):  # curvature and minimum of each client
        ...     return 0.5 * batch[0] * jnp.sum((params - batch[1]) ** 2)
        >>> batches = jc.data.full_batch(jnp.array([[1.0, 0.0], [3.0, 8.0]]))
        >>> algorithm = jc.federated(
        ...     loss, optax.sgd(0.25), method=jc.local.scaffold(), local_steps=4, num_clients=2
        ... )
        >>> state, key = algorithm.init(jnp.zeros(1)), jax.random.key(0)
        >>> state, _ = jc.run(algorithm, state, batches, key, num_rounds=50)
        >>> round(float(jc.params_of(state)[0, 0]), 2)  # the minimum of the mean loss
        6.0

    Source: Karimireddy et al. 2019, arXiv 1910.06378; recomputed as a baseline by Dandi, Barba and
    Jaggi 2021, arXiv 2106.13897.
    """
    if recomputed:

        def difference(x: PyTree, own: PyTree, server: PyTree, g: PyTree, mean: PyTree) -> tuple:
            return x, _minus(mean, g)

        return ClientMethod(start=difference, transform=control_variate(), probes=True)

    # Option II sets c_i <- c_i - c + (x - y) / (K gamma). For SGD, (x - y) / (K gamma) is the mean
    # of g - c_i + c, so the new c_i is the mean local gradient. It is stored directly, which also
    # works for other local optimizers. The server adds the change of the mean over ALL clients, so
    # c remains the mean of all c_i although only sampled clients update theirs.
    return ClientMethod(
        init=lambda x: (optax.tree.zeros_like(x), optax.tree.zeros_like(x)),
        start=lambda x, own, server, g, mean: (x, _minus(server, own)),
        finish=lambda own, change, gradient: gradient,
        serve=lambda update, server, moved: (update, _plus(server, moved)),
        transform=control_variate(),
    )


def fedga(beta: Any) -> ClientMethod:
    """Builds FedGA, in which clients start at the displaced models ``y_i = x + beta (g_i - gbar)``.

    The displacements have mean 0 and remain in ``y_i`` until models are averaged. With K local
    steps of length gamma, a round descends on ``f + (c/2) Var`` with ``c = beta - gamma (K - 1) /
    2`` up to third order, where Var is the variance of the clients' gradients.

    Args:
        beta: displacement, >= 0; may be traced. 0 is FedAvg.

    Raises:
        ValueError: if beta < 0.

    Example:
        >>> def loss(params, batch, key):  # curvature and minimum of each client
        ...     return 0.5 * batch[0] * jnp.sum((params - batch[1]) ** 2)
        >>> batches = jc.data.full_batch(jnp.array([[1.0, 0.0], [3.0, 8.0]]))
        >>> algorithm = jc.federated(
        ...     loss, optax.sgd(0.25), method=jc.local.fedga(0.375), local_steps=4, num_clients=2
        ... )
        >>> state, key = algorithm.init(jnp.zeros(1)), jax.random.key(0)
        >>> state, _ = jc.run(algorithm, state, batches, key, num_rounds=50)
        >>> round(float(jc.params_of(state)[0, 0]), 2)  # FedAvg: 4.74; the minimum is 6
        5.22

    Source: FedGA of Dandi, Barba and Jaggi 2021, arXiv 2106.13897.
    """
    checks.finite(at_least=0, beta=beta)

    def start(x: PyTree, own: PyTree, server: PyTree, g: PyTree, mean: PyTree) -> tuple:
        def displaced(p: Array, g: Array, mean: Array) -> Array:
            return (widen(p) + beta * (widen(g) - widen(mean))).astype(p.dtype)

        return jax.tree.map(displaced, x, g, mean), None

    return ClientMethod(start=start, probes=True)


def feddyn(alpha: Any) -> ClientMethod:
    """Builds FedDyn, whose local objectives have minima that agree with the global minimum.

        y minimizes f_i(y) - <h_i, y> + (alpha/2) ||y - x||^2,     h_i <- h_i - alpha (y - x)
        x <- mean(y) - h / alpha,                                  h the mean of all h_i

    Args:
        alpha: penalty, > 0; may be traced.

    Raises:
        ValueError: if alpha <= 0.

    Example:
        >>> def loss(params, batch, key):  # curvature and minimum of each client
        ...     return 0.5 * batch[0] * jnp.sum((params - batch[1]) ** 2)
        >>> batches = jc.data.full_batch(jnp.array([[1.0, 0.0], [3.0, 8.0]]))
        >>> algorithm = jc.federated(
        ...     loss, optax.sgd(0.25), method=jc.local.feddyn(1.0), local_steps=4, num_clients=2
        ... )
        >>> state, key = algorithm.init(jnp.zeros(1)), jax.random.key(0)
        >>> state, _ = jc.run(algorithm, state, batches, key, num_rounds=50)
        >>> round(float(jc.params_of(state)[0, 0]), 2)  # the minimum of the mean loss
        6.0

    Source: Acar et al. 2021, arXiv 2111.04263.
    """
    checks.finite(above=0, alpha=alpha)

    def serve(update: PyTree, server: PyTree, moved: PyTree) -> tuple[PyTree, PyTree]:
        server = _plus(server, moved)
        return jax.tree.map(lambda u, h: u - (h / alpha).astype(u.dtype), update, server), server

    # The gradient of the local objective is grad f_i(y) + alpha (y - x) - h_i: the proximal
    # transform adds the second term, and -h_i is the correction.
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
    """Builds FedNova, which divides updates by the length a of the local run of tau steps.

        a = (tau - rho (1 - rho^tau) / (1 - rho)) / (1 - rho),      tau for plain SGD (rho = 0)

    Args:
        momentum: rho of local heavy-ball momentum, in [0, 1).

    Raises:
        ValueError: if momentum is outside [0, 1).

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
    """Combines several methods, for example the lengths of FedNova and the corrections of SCAFFOLD.

    Each method has a separate state. The methods displace the start of a client, transform its
    gradients and correct the server's update one after the other. Each transform receives the
    correction of its method, so corrections add up.

    Args:
        *methods: methods, of which at most one has a length; without any, the result is FedAvg.

    Raises:
        TypeError: if an argument is not a ClientMethod.
        ValueError: if several methods have a length.

    Example:
        >>> method = jc.local.combine(jc.local.fednova(), jc.local.scaffold())
        >>> own, server = method.init(jnp.zeros(2))
        >>> len(own), float(method.length(jnp.array(5)))
        (2, 5.0)
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
    """Chains the transforms of methods, each with the correction of its method."""
    # optax.chain would pass the tuple of all corrections to every transform.
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


# Differences and sums are computed in float32 or wider and rounded once.
def _minus(left: PyTree, right: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: (widen(a) - widen(b)).astype(a.dtype), left, right)


def _plus(left: PyTree, right: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: (widen(a) + widen(b)).astype(a.dtype), left, right)
