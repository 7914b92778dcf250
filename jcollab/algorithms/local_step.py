"""Local optimizer steps of one client and of all clients, shared by the builders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jcollab import checks, layout
from jcollab.algorithms.model_state import ModelState, change, to_exchange, with_model_state
from jcollab.core import Array, Loss, Metrics, Objective, PyTree, lift


class Stepped(NamedTuple):
    """The result of a local step of all clients.

    Attributes:
        value: result of ``finish``, ``[n, ...]``.
        model_state: new state of the models, ``[n, ...]``.
        opt_state: new states of the local optimizers, ``[n, ...]``.
        metrics: means over clients, the loss as ``"loss"``.
    """

    value: PyTree
    model_state: PyTree
    opt_state: PyTree
    metrics: Metrics


def local_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    finish: Callable[[PyTree, PyTree], PyTree] = lambda params, updates: updates,
    *,
    learners: Any = None,
    honest: Any = None,
    model_state: ModelState = "keep",
) -> Callable[..., Stepped]:
    """Builds a function that takes one optimizer step of every client on its own batch.

    Args:
        loss: see :func:`jcollab.core.lift`.
        optimizer: local optimizer.
        finish: ``finish(params, updates) -> value`` for one client. With an averaged model state,
            both arguments are a ``Model``, see
            :func:`jcollab.algorithms.model_state.to_exchange`, and the updates contain the change
            of the state.
        learners: bool ``[n]``, the clients that take a step; the updates of the others are 0. None
            for all.
        honest: bool ``[n]``, the clients over which metrics are averaged; None for the learners.
        model_state: how model state is treated.

    Returns:
        ``take(clients, batch, key, step) -> Stepped``; ``clients`` has the fields ``params``,
        ``model_state`` and ``opt_state``, and ``step`` is the round.

    Raises:
        ValueError: in ``take``, if a mask has another length than n or is False everywhere, or an
            honest client is not a learner.
    """
    take_one, how = step_of(lift(with_model_state(loss, model_state)), optimizer), model_state

    def take(clients: Any, batch: PyTree, key: Array, step: Array) -> Stepped:
        n = layout.num_clients((clients.params, batch), ("params", "batch"))
        rows = checks.members(learners, n, "learners")
        reporting = rows if honest is None else checks.members(honest, n, "honest")
        if idle := set(reporting) - set(rows):
            raise ValueError(f"honest must be among the learners, but {sorted(idle)} are not")

        def local(
            params: PyTree,
            model_state: PyTree,
            opt_state: PyTree,
            batch: PyTree,
            key: Array,
            step: Array,
        ) -> tuple:
            own = take_one(params, model_state, opt_state, batch, key, anchor=params, step=step)
            # An averaged state takes part in ``finish`` as a change, so that a mixer sees params
            # and state in one form: x + u, or u alone.
            moved = change(model_state, own.model_state) if how == "average" else ()
            before = to_exchange(params, model_state, how)
            value = finish(before, to_exchange(own.updates, moved, how))
            return value, own.model_state, own.opt_state, own.metrics

        each = layout.per_client(
            local, in_axes=(0,) * 5 + (None,), only=None if len(rows) == n else rows
        )
        given = (clients.params, clients.model_state, clients.opt_state, batch)
        *fresh, metrics = each(*given, layout.client_keys(key, n), step)
        if len(rows) < n:
            # ``each`` computed only the learners' rows ``[r, ...]``. The other clients get the
            # result of ``finish`` with zero updates, and keep their states.
            own = to_exchange(clients.params, clients.model_state, how)
            kept = jax.vmap(finish)(own, optax.tree.zeros_like(own))
            old = [kept, clients.model_state, clients.opt_state]
            fresh = jax.tree.map(lambda leaf, new: leaf.at[rows].set(new), old, fresh)
        if len(reporting) < len(rows):
            # metrics have one row per learner: places of the honest clients among the learners
            places = np.searchsorted(rows, reporting)
            metrics = jax.tree.map(lambda leaf: leaf[places], metrics)
        value, model_state, opt_state = fresh
        return Stepped(value, model_state, opt_state, mean_over_clients(metrics))

    return take


class OneStep(NamedTuple):
    """The result of one step of ONE client.

    Attributes:
        updates: updates of the optimizer, not yet added to the parameters.
        model_state: new state of the model.
        opt_state: new state of the optimizer.
        grads: gradients of the loss.
        metrics: the loss as ``"loss"``, and the metrics of the loss.
    """

    updates: PyTree
    model_state: PyTree
    opt_state: PyTree
    grads: PyTree
    metrics: Metrics


def step_of(
    objective: Objective, optimizer: optax.GradientTransformation
) -> Callable[..., OneStep]:
    """Builds a function that takes one step of ONE client with a local optimizer.

    Args:
        objective: a loss in its full form, see :func:`jcollab.core.lift`.
        optimizer: local optimizer, see :func:`optimizer_update`.

    Returns:
        ``take(params, model_state, opt_state, batch, key, *, anchor, step, correction=None)``,
        which returns a OneStep; ``step`` is the round.
    """
    objective = layout.fast_layers(objective)
    differentiate = jax.value_and_grad(objective, has_aux=True)

    def take(
        params: PyTree,
        model_state: PyTree,
        opt_state: PyTree,
        batch: PyTree,
        key: Array,
        *,
        anchor: PyTree,
        step: Array,
        correction: PyTree = None,
    ) -> OneStep:
        (value, (fresh, metrics)), grads = differentiate(params, model_state, batch, key)
        updates, opt_state = optimizer_update(
            optimizer,
            grads,
            opt_state,
            params,
            value=value,
            value_fn=lambda params: objective(params, model_state, batch, key)[0],
            anchor=anchor,
            step=step,
            correction=correction,
        )
        return OneStep(updates, fresh, opt_state, grads, {"loss": value, **metrics})

    return take


def optimizer_update(
    optimizer: optax.GradientTransformation,
    grads: PyTree,
    opt_state: PyTree,
    params: PyTree,
    *,
    value: Array,
    value_fn: Callable[[PyTree], Array],
    anchor: PyTree,
    step: Array,
    correction: PyTree = None,
    delay: Any = None,
) -> tuple[PyTree, PyTree]:
    """Calls ``optimizer.update`` with the extra arguments that every builder passes.

    These are the arguments of optax (``value``, ``grad``, ``value_fn``, and its other names
    ``obj_fn`` and ``grad_fn``) and of this library (``anchor``, ``step``, ``correction``,
    ``delay``). An argument that an optimizer does not use costs nothing: functions are traced only
    where they are called.

    Args:
        optimizer: any optax transform; one without extra arguments receives none.
        grads: gradients of the loss.
        opt_state: state of the optimizer.
        params: parameters.
        value: the loss at ``params``.
        value_fn: the loss of other parameters, on the same batch and with the same random key.
        anchor: the model at the start of the round: the server's, or without a server the client's
            own.
        step: the communication round, int ``[]``.
        correction: correction of the gradients, see :mod:`jcollab.local.methods`, or None.
        delay: delay of the gradients at an asynchronous server; None elsewhere.

    Returns:
        The updates and the new state.

    Raises:
        TypeError: if the optimizer accepts some extra arguments, but not all.
        ValueError: if the shapes of the updates differ from those of the parameters.
    """

    # The line searches of optax forward extra arguments that they do not use to value_fn, so it
    # must accept and ignore all of them.
    def loss_at(
        params: PyTree,
        *,
        obj_fn: Any = None,
        grad_fn: Any = None,
        anchor: PyTree = None,
        step: Any = None,
        correction: PyTree = None,
        delay: Any = None,
    ) -> Array:
        del obj_fn, grad_fn, anchor, step, correction, delay
        return value_fn(params)

    try:
        updates, opt_state = optax.with_extra_args_support(optimizer).update(
            grads,
            opt_state,
            params,
            value=value,
            grad=grads,
            value_fn=loss_at,
            obj_fn=loss_at,
            grad_fn=lambda params, i: jax.grad(value_fn)(params),
            anchor=anchor,
            step=step,
            correction=correction,
            delay=delay,
        )
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise TypeError(
            f"optimizer must accept every extra argument (**extra_args), got an error: {error}"
        ) from error
    # Without this check, an update of a wrong shape would broadcast when it is added. Optimizers
    # for per-example gradients, such as optax.contrib.dpsgd, produce one.
    got, shapes = jax.tree.map(jnp.shape, (updates, params))
    if got != shapes:
        raise ValueError(
            "optimizer must return updates of the shapes of the parameters (it receives the "
            f"gradient of the mean loss, without an axis of examples), got {got} for {shapes}"
        )
    return updates, opt_state


def gradient_of(objective: Objective) -> Callable[..., tuple[PyTree, PyTree, Metrics]]:
    """Builds ``gradient(params, model_state, batch, key) -> (grads, model_state, metrics)``.

    Args:
        objective: a loss in its full form, see :func:`jcollab.core.lift`.

    Returns:
        The function, for ONE client; its metrics contain the loss as ``"loss"`` and the metrics of
        the objective.
    """
    differentiate = jax.value_and_grad(layout.fast_layers(objective), has_aux=True)

    def gradient(
        params: PyTree, model_state: PyTree, batch: PyTree, key: Array
    ) -> tuple[PyTree, PyTree, Metrics]:
        (value, (model_state, metrics)), grads = differentiate(params, model_state, batch, key)
        return grads, model_state, {"loss": value, **metrics}

    return gradient


def mean_over_clients(tree: PyTree) -> PyTree:
    """Averages leaves ``[n, ...]`` over the client axis, for example gradients or metrics."""
    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), tree)
