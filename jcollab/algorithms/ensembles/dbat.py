"""Diversity by disagreement (D-BAT): members of an ensemble, trained one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jcollab import checks, layout
from jcollab.algorithms.local_step import step_of
from jcollab.core import (
    Algorithm,
    Array,
    Clients,
    Init,
    Loss,
    Metrics,
    Objective,
    Predict,
    PyTree,
    State,
    Train,
    clients_of,
    lift,
    lift_predict,
    lift_train,
    own_arrays,
)
from jcollab.objectives.disagreement import (
    EPSILON,
    Anchor,
    agreement,
    check_form,
    pair_agreement,
)

Search = Callable[[Callable[[Array], Array], Array, Array], Array]


def unlabeled_of(batch: Any) -> PyTree:
    """The unlabeled points of a batch: its field, or its entry, ``unlabeled``."""
    if isinstance(batch, dict) and "unlabeled" in batch:
        return batch["unlabeled"]
    if not hasattr(batch, "unlabeled"):
        kind = type(batch).__name__
        raise TypeError(f"batch must have a field unlabeled, or unlabeled=... be given, got {kind}")
    return batch.unlabeled


def dbat(
    loss: Loss,
    predict: Predict,
    optimizer: optax.GradientTransformation,
    *,
    alpha: Any,
    member_rounds: int,
    unlabeled: Callable[[PyTree], PyTree] = unlabeled_of,
    train: Train | None = None,
    anchor: Anchor = "frozen",
    epsilon: float | None = EPSILON,
    search: Search | None = None,
) -> Algorithm:
    """Each member fits the labeled data and disagrees with all before it on unlabeled points.

        L(h_m) = loss(h_m) + alpha (1/(m-1)) sum_{i<m} mean_x A(h_i(x), h_m(x)),    m = 1..M

    Members are the client axis. In rounds ``0 .. member_rounds - 1`` the first one is trained, with
    its loss alone, then the second, and so on; the others stand still. Rounds past the last one go
    on with the last member. Members stay where they are while other ones are trained, so an
    ensemble grows from trained members by setting ``step``. Several ensembles (seeds, values of
    alpha) are one program with :class:`jcollab.training.Replicas`. ``alpha = 0`` is a deep
    ensemble, and takes the very steps that the members would take alone.

    Args:
        loss: of ONE member on its labeled batch, see :func:`jcollab.core.lift`.
        predict: ``predict(params, x) -> logits [b, C]`` as in evaluation, ``[b, 1]`` for two
            classes; of a model with state, ``jc.stateful(predict)`` of ``predict(params,
            model_state, x)``.
        optimizer: of every member, which starts with a state of its own.
        alpha: weight of the agreement, >= 0; may be a traced value.
        member_rounds: rounds that each member is trained for.
        unlabeled: ``unlabeled(batch of one member) -> x [b, ...]``.
        train: ``train(params, x, key) -> logits`` takes the place of ``predict`` for the member
            that is trained, where a model behaves differently in training; of a model with state,
            ``jc.stateful(train)`` of ``train(params, model_state, x, key) -> (logits,
            model_state)``, whose ``model_state`` comes from the labeled batch, which is seen
            first. The first member sees no points.
        anchor: of the multi-class form, see :func:`jcollab.objectives.pair_agreement`.
        epsilon: 1e-7 for the released logarithm, None for the stable one.
        search: computes the points that are used, ``search(disagreement, x, key) -> x``, from those
            of the batch, for example by
            :func:`jcollab.objectives.disagreement_points`. Its ``disagreement``
            is the mean over points and frozen members of ``-A``, by the stable logarithm.

    Returns:
        An algorithm with ``init(params, model_state=())``, leaves stacked over members
        ``[M, ...]``, and ``update(state, batch, key)`` with leaves ``[M, ...]``, of which the
        trained member's row is used. It reports ``loss`` (with the agreement), ``task_loss``,
        ``agreement``, ``member`` and the metrics of the loss, of the member that is trained.

    Raises:
        TypeError: if ``loss``, ``predict``, ``train`` or another function is not callable.
        ValueError: if alpha < 0, member_rounds < 1, anchor or epsilon is unknown, or client axes
            differ.

    Source: Pagliardini, Jaggi, Fleuret and Karimireddy 2022, arXiv 2202.04414.
    """
    checks.optimizers(optimizer=optimizer)
    checks.functions(unlabeled=unlabeled, **({} if search is None else {"search": search}))
    checks.number("alpha", alpha, at_least=0)
    checks.count("member_rounds", member_rounds)
    check_form(anchor, epsilon)
    task, full_predict = lift(loss), lift_predict(predict)
    full_train = lift_train(predict, train)

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        clients = clients_of(state, Clients)
        total = layout.num_clients((clients.params, batch), ("params", "batch"))
        member = jnp.minimum(state.step // member_rounds, total - 1)
        before = jnp.arange(total, dtype=member.dtype) < member
        local_key, search_key = jax.random.split(key)
        mine = jax.random.fold_in(local_key, member)  # as if all members were clients
        own, batch = (
            jax.tree.map(lambda leaf: leaf[member], tree)
            for tree in ((clients.params, clients.model_state, clients.opt_state), batch)
        )
        params, model_state, opt_state = own
        x = unlabeled(batch)

        def frozen(x: PyTree) -> Array:
            """Logits of the members before, ``[M, b, C]``, and zeros in place of the others."""
            shape = jax.eval_shape(full_predict, params, model_state, x)

            def one(frozen: PyTree, carried: PyTree, counts: Array, x: PyTree) -> Array:
                return jax.lax.cond(
                    counts,
                    lambda: full_predict(frozen, carried, x),
                    lambda: jnp.zeros(shape.shape, shape.dtype),
                )

            each = layout.per_client(one, in_axes=(0, 0, 0, None))
            return each(clients.params, clients.model_state, before, x)

        if search is not None:

            def disagreement(x: Array) -> Array:
                logits = full_predict(params, model_state, x)
                each = -pair_agreement(logits, frozen(x), anchor=anchor, epsilon=None).mean(1)
                return jnp.where(before, each, 0).sum() / jnp.maximum(member, 1).astype(each.dtype)

            x = jax.lax.cond(
                member > 0, lambda x: search(disagreement, x, search_key), lambda x: x, x
            )

        weights = before.astype(float)
        objective = _against(task, full_train, x, frozen(x), weights, alpha, anchor, epsilon)
        take = step_of(objective, optimizer)
        stepped = take(params, model_state, opt_state, batch, mine, anchor=params, step=state.step)
        new = (
            optax.apply_updates(params, stepped.updates),
            stepped.model_state,
            stepped.opt_state,
        )
        old = clients.params, clients.model_state, clients.opt_state
        models, carried, opt_states = jax.tree.map(
            lambda leaf, row: leaf.at[member].set(row), old, new
        )
        after = Clients(models, carried, opt_states, ())
        metrics = stepped.metrics | {"member": member}
        return State(after, state.shared, state.step + 1), metrics

    return Algorithm(starting(optimizer), update)


def collaborative_dbat(
    loss: Loss,
    predict: Predict,
    optimizer: optax.GradientTransformation,
    *,
    alpha: Any,
    public: Callable[[PyTree], PyTree],
    against: Any = "predecessors",
    warmup: int = 0,
    anchor: Anchor = "frozen",
    epsilon: float | None = EPSILON,
) -> Algorithm:
    """Members on clients that train side by side and see of one another only predictions.

        L(h_i) = loss_i(h_i) + alpha sum_j w_ij mean_x A(h_j(x), h_i(x)) / sum_j w_ij

    In every round, each client sends its logits ``[U, C]`` on public unlabeled points; what it
    receives is fixed while it takes a step on its own labeled batch. With ``"predecessors"``,
    client i disagrees with clients 0..i-1 as they are now, and client 0 trains alone: the order of
    D-BAT without its waiting. No paper has this form.

    Args:
        loss: of ONE client on its batch, see :func:`jcollab.core.lift`.
        predict: as for :func:`dbat`.
        optimizer: of every client.
        alpha: weight of the agreement, >= 0; may be a traced value.
        public: ``public(batch) -> x [U, ...]``, points that all clients know, from the batch of
            all clients ``[n, ...]``; for example ``lambda batch: batch.unlabeled[0]``.
        against: whose predictions each client avoids: ``"predecessors"``, ``"others"``, or weights
            ``[n, n]``, at least 0, whose row i is client i's (its diagonal is not used), such as
            the mixing matrix of a topology.
        warmup: rounds in which all clients train alone, before the first exchange counts: members
            that are not confident yet are nothing to disagree with.
        anchor: of the multi-class form, see :func:`jcollab.objectives.pair_agreement`.
        epsilon: 1e-7 for the released logarithm, None for the stable one.

    Returns:
        An algorithm with ``init(params, model_state=())``, leaves ``[n, ...]``; it reports
        means over clients of ``loss``, ``task_loss``, ``agreement`` and the metrics of the loss,
        and ``bytes_sent`` by each client to each receiver.

    Raises:
        TypeError: if ``loss`` or another function is not callable.
        ValueError: if alpha < 0, warmup < 0, anchor, epsilon or against is unknown, or client axes
            differ.

    Source: after Pagliardini et al. 2022, arXiv 2202.04414.
    """
    checks.optimizers(optimizer=optimizer)
    checks.functions(public=public)
    checks.number("alpha", alpha, at_least=0)
    checks.count("warmup", warmup, at_least=0)
    check_form(anchor, epsilon)
    _weights(against, None)
    task, full_predict, full_train = lift(loss), lift_predict(predict), lift_train(predict)

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        params, model_state, opt_state, _ = clients_of(state, Clients)
        n = layout.num_clients((params, batch), ("params", "batch"))
        weights = _weights(against, n)
        x = public(batch)
        public_logits = layout.per_client(full_predict, in_axes=(0, 0, None))(
            params, model_state, x
        )
        agreement_weight = jnp.where(state.step < warmup, 0.0, alpha)

        def local(
            params: PyTree,
            model_state: PyTree,
            opt_state: PyTree,
            batch: PyTree,
            key: Array,
            weights: Array,
            x: PyTree,
            public_logits: Array,
            agreement_weight: Array,
            step: Array,
        ) -> tuple:
            objective = _against(
                task, full_train, x, public_logits, weights, agreement_weight, anchor, epsilon
            )
            take = step_of(objective, optimizer)
            own = take(params, model_state, opt_state, batch, key, anchor=params, step=step)
            params = optax.apply_updates(params, own.updates)
            return params, own.model_state, own.opt_state, own.metrics

        keys = layout.client_keys(jax.random.split(key)[0], n)
        each = layout.per_client(local, in_axes=(0,) * 6 + (None,) * 4)
        own = (params, model_state, opt_state, batch, keys, weights)
        models, carried, opt_states, metrics = each(
            *own, x, public_logits, agreement_weight, state.step
        )
        metrics = jax.tree.map(lambda leaf: jnp.mean(leaf, 0), metrics)
        after = Clients(models, carried, opt_states, ())
        metrics["bytes_sent"] = jnp.asarray(float(public_logits[0].nbytes))
        return State(after, state.shared, state.step + 1), metrics

    return Algorithm(starting(optimizer), update)


def starting(optimizer: optax.GradientTransformation) -> Init:
    """``init(params, model_state=())`` of members that each have an optimizer of their own."""

    def init(params: PyTree, model_state: PyTree = ()) -> State:
        layout.num_clients((params, model_state), ("params", "model_state"))
        return State(
            Clients(params, model_state, jax.vmap(optimizer.init)(params), ()), (), jnp.int32(0)
        )

    return own_arrays(init)


def _against(
    task: Objective,
    train: Callable[[PyTree, PyTree, PyTree, Array], tuple[Any, PyTree]],
    x: PyTree,
    frozen: Array,
    weights: Array,
    alpha: Any,
    anchor: Anchor,
    epsilon: float | None,
) -> Objective:
    """The loss of a member with the agreement with others on x."""

    def objective(
        params: PyTree, model_state: PyTree, batch: PyTree, key: Array
    ) -> tuple[Array, tuple[PyTree, Metrics]]:
        value, (model_state, metrics) = task(params, model_state, batch, key)

        def disagree(params: PyTree, model_state: PyTree) -> tuple[Array, PyTree]:
            # the labeled batch keeps the key that it would have alone
            logits, model_state = train(params, model_state, x, jax.random.fold_in(key, 1))
            shared = agreement(logits, frozen, weights=weights, anchor=anchor, epsilon=epsilon)
            return shared, model_state

        def alone(params: PyTree, model_state: PyTree) -> tuple[Array, PyTree]:
            return jnp.zeros((), frozen.dtype), model_state

        shared, model_state = jax.lax.cond(
            jnp.any(weights > 0), disagree, alone, params, model_state
        )
        metrics = metrics | {"task_loss": value, "agreement": shared}
        return (value + alpha * shared).astype(value.dtype), (model_state, metrics)

    return objective


def _weights(against: Any, n: int | None) -> Any:
    """Weights ``[n, n]`` with a diagonal of zeros; without n, only what can be checked before."""
    if isinstance(against, str):
        checks.one_of("against", against, ("predecessors", "others"))
        if n is None:
            return None
        ones = jnp.ones((n, n))
        return jnp.tril(ones, -1) if against == "predecessors" else ones - jnp.eye(n)
    shape = jnp.shape(against)
    if len(shape) != 2 or shape[0] != shape[1] or n not in (None, shape[0]):
        raise ValueError(f"against must be weights [n={n or 'n'}, n], got shape {list(shape)}")
    checks.number("against", against, at_least=0, arrays=True)
    return jnp.asarray(against) * (1 - jnp.eye(shape[0]))
