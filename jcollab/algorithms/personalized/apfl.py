"""APFL: each personal model is a weighted average of a local and a common model."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jcollab import checks, layout
from jcollab.algorithms.local_step import (
    gradient_of,
    mean_over_clients,
    optimizer_update,
    step_of,
)
from jcollab.algorithms.model_state import ModelState, from_exchange, to_exchange, with_model_state
from jcollab.core import (
    Algorithm,
    Array,
    Loss,
    Metrics,
    Mixer,
    Objective,
    PyTree,
    Round,
    State,
    clients_of,
    lift,
    own_arrays,
    weighed,
    wide_dtype,
)


class Interpolated(NamedTuple):
    """Client part of the state; every leaf is ``[n, ...]``.

    Attributes:
        local: v, the local models, which are never sent.
        common: w, the clients' copies of the common model.
        weight: a, the weight of the common model, ``[n]``.
        model_state: states of the personal models.
        local_opt_state: state of the optimizer of v.
        opt_state: state of the optimizer of w.
        mixer: state of the mixer.
    """

    local: PyTree
    common: PyTree
    weight: Array
    model_state: PyTree
    local_opt_state: PyTree
    opt_state: PyTree
    mixer: PyTree

    @property
    def params(self) -> PyTree:
        """The personal models, ``(1 - a) v + a w``."""
        return jax.vmap(_blend)(self.local, self.common, self.weight)


def apfl(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    mixer: Mixer,
    *,
    weight: Any = 0.5,
    weight_rate: float = 0.0,
    model_state: ModelState = "keep",
) -> Algorithm:
    """Builds adaptive personalized federated learning (APFL).

        p(t) = (1 - a) v(t) + a w(t)                    the personal model
        v(t+1) = v(t) + u( (1 - a) grad f(p) )          local, with the derivative by v
        w(t+1) = mix( w(t) + u( grad f(w) ) )           common
        a(t+1) = clip( a - eta <grad f(p), w - v>, 0, 1 )

    All gradients are computed on the same batch, and ``u`` is the update of a local optimizer. The
    paper writes a for the weight of the local model; here, as everywhere in the library, a is the
    weight of the common one.

    Args:
        loss: as for :func:`jcollab.decentralized`.
        optimizer: local optimizer, with a separate state for each of the two models.
        mixer: how clients combine the common models; ``mix_every(H, all_reduce())`` in the paper.
        weight: initial a in [0, 1], one for all or ``[n]`` (possibly traced).
        weight_rate: eta >= 0; 0 leaves the weights unchanged.
        model_state: how the state of the personal models is treated, see
            :data:`jcollab.algorithms.ModelState`: kept by each client; averaged (it is mixed
            together with w); or frozen.

    Returns:
        An algorithm like :func:`jcollab.decentralized`; :func:`jcollab.params_of` returns the
        personal models. It reports the metrics of the personal models and the mean of a as
        ``collaboration``.

    Raises:
        TypeError: if ``loss`` is not callable.
        ValueError: if a number lies outside its range, or client axes differ.

    Example:
        >>> def loss(params, batch, key):
        ...     return 0.5 * jnp.sum((params - batch) ** 2)
        >>> algorithm = jc.algorithms.apfl(loss, optax.sgd(0.5), jc.all_reduce(), weight=0.5)
        >>> state = algorithm.init(jnp.zeros((2, 1)))
        >>> targets = jc.data.full_batch(jnp.array([[0.0], [8.0]]))
        >>> state, _ = jc.run(algorithm, state, targets, jax.random.key(0), num_rounds=1)
        >>> state.clients.local.tolist(), state.clients.common.tolist()
        ([[0.0], [2.0]], [[2.0], [2.0]])
        >>> jc.params_of(state).tolist()
        [[1.0], [2.0]]

    Source: Deng, Kamani and Mahdavi 2020, arXiv 2003.13461.
    """
    checks.optimizers(optimizer=optimizer)
    checks.kind(Mixer, mixer=mixer)
    checks.number("weight", weight, at_least=0, at_most=1, arrays=True)
    checks.finite(at_least=0, weight_rate=weight_rate)
    objective, how = lift(with_model_state(loss, model_state)), model_state

    def init(params: PyTree, model_state: PyTree = ()) -> State:
        n = layout.num_clients((params, model_state), ("params", "model_state"))
        if np.shape(weight) not in ((), (n,)):
            raise ValueError(f"weight must be a number or [n={n}], got shape {np.shape(weight)}")
        dtype = wide_dtype(*jax.tree.leaves(params))
        clients = Interpolated(
            local=params,
            common=params,
            weight=jnp.broadcast_to(jnp.asarray(weight, dtype), (n,)),
            model_state=model_state,
            local_opt_state=jax.vmap(optimizer.init)(params),
            opt_state=jax.vmap(optimizer.init)(params),
            mixer=mixer.init(to_exchange(params, model_state, how)),
        )
        return State(clients, (), jnp.int32(0))

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        clients = clients_of(state, Interpolated)
        n = layout.num_clients((clients.local, batch), ("params", "batch"))
        local_key, mix_key = jax.random.split(key)
        # Local steps do not use the mixer's state, which may be as large as all models: it does not
        # pass through the loop over clients, which would copy it.
        mixer_state, clients = clients.mixer, clients._replace(mixer=())
        keys = layout.client_keys(local_key, n)
        local_steps = functools.partial(_local_steps, objective, optimizer, weight_rate)
        each = layout.per_client(local_steps, in_axes=(0, 0, 0, None))
        clients, metrics = each(clients, batch, keys, state.step)
        own = to_exchange(clients.common, clients.model_state, how)
        context = Round(mix_key, state.step, batch)
        new, mixer_state = mixer.update(own, mixer_state, context)
        common, model_state = from_exchange(new, clients.model_state, how)
        clients = clients._replace(common=common, model_state=model_state, mixer=mixer_state)
        return State(clients, state.shared, state.step + 1), mean_over_clients(metrics)

    return Algorithm(own_arrays(init), update, names=mixer.names)


def _local_steps(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    weight_rate: float,
    clients: Interpolated,
    batch: PyTree,
    key: Array,
    step: Array,
) -> tuple:
    """Takes one client's steps on both models, before the mixer."""
    take = step_of(objective, optimizer)
    local, common, a = clients.local, clients.common, clients.weight
    stepped = take(
        common, clients.model_state, clients.opt_state, batch, key, anchor=common, step=step
    )
    # The model state belongs to the personal model, so the new one is that of the personal
    # gradient; the one of the common step is discarded.
    given = (clients.model_state, batch, key)
    at_personal, model_state, metrics = gradient_of(objective)(_blend(local, common, a), *given)
    updates, local_state = optimizer_update(
        optimizer,
        # d f(p) / d v = (1 - a) grad f(p), by the chain rule
        optax.tree.cast_like(weighed(1 - a, at_personal), at_personal),
        clients.local_opt_state,
        local,
        value=metrics["loss"],
        value_fn=lambda local: objective(_blend(local, common, a), *given)[0],
        anchor=local,
        step=step,
    )
    # d f(p) / d a = <grad f(p), w - v>, at the models from before their steps
    products = optax.tree.mul(at_personal, optax.tree.sub(common, local))
    slope = optax.tree.sum(optax.tree.cast(products, a.dtype))
    fresh = clients._replace(
        local=optax.apply_updates(local, updates),
        common=optax.apply_updates(common, stepped.updates),
        weight=jnp.clip(a - weight_rate * slope, 0, 1).astype(a.dtype),
        model_state=model_state,
        local_opt_state=local_state,
        opt_state=stepped.opt_state,
    )
    return fresh, metrics | {"collaboration": fresh.weight}


def _blend(local: PyTree, common: PyTree, a: Array) -> PyTree:
    both = optax.tree.add(weighed(1 - a, local), weighed(a, common))
    return optax.tree.cast_like(both, local)
