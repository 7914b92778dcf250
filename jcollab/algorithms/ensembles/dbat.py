"""Diversity by disagreement (D-BAT): ensembles whose members differ on unlabeled points."""

from __future__ import annotations

import functools
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
    """Returns the unlabeled points of a batch: its field or key ``unlabeled``."""
    if isinstance(batch, dict) and "unlabeled" in batch:
        return batch["unlabeled"]
    if not hasattr(batch, "unlabeled"):
        kind = type(batch).__name__
        raise TypeError(f"batch must have a field 'unlabeled' (or pass unlabeled=...), got {kind}")
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
    """Builds D-BAT: each member disagrees with all earlier ones on unlabeled points.

        L(h_m) = loss(h_m) + alpha (1/(m-1)) sum_{i<m} mean_x A(h_i(x), h_m(x)),    m = 1..M

    where A, the agreement, is large if both models predict the same class. The client axis contains
    the members. Rounds ``0 .. member_rounds - 1`` train the first member, on its loss alone, the
    next ones the second member, and so on; later rounds continue with the last member. Members do
    not change while another one is trained, so an ensemble can be extended from trained members by
    setting ``step``. Several ensembles (seeds, values of alpha) run as one program with
    :class:`jcollab.training.Replicas`. ``alpha = 0`` gives a deep ensemble, with exactly the steps
    that the members would take alone.

    Args:
        loss: loss of ONE member on its labeled batch, see :func:`jcollab.core.lift`.
        predict: ``predict(params, x) -> logits [b, C]`` in evaluation mode, ``[b, 1]`` for two
            classes; for a model with state, ``jc.stateful(predict)`` of ``predict(params,
            model_state, x)``.
        optimizer: optimizer of the members, with a separate state for each.
        alpha: weight of the agreement, >= 0, a number (possibly traced).
        member_rounds: number of rounds in which each member is trained.
        unlabeled: ``unlabeled(batch of one member) -> x [b, ...]``.
        train: ``train(params, x, key) -> logits``, used instead of ``predict`` for the member that
            is trained, if a model behaves differently in training; for a model with state,
            ``jc.stateful(train)`` of ``train(params, model_state, x, key) -> (logits,
            model_state)``. It receives the state that follows the labeled batch. It is not called
            for the first member.
        anchor: variant of the multi-class agreement, see
            :func:`jcollab.objectives.pair_agreement`.
        epsilon: 1e-7 for the logarithm of the released code, None for the numerically stable one.
        search: ``search(disagreement, x, key) -> x``, which replaces the points of the batch, for
            example :func:`jcollab.objectives.disagreement_points`. Its argument ``disagreement`` is
            the mean of ``-A`` over points and earlier members, with the stable logarithm.

    Returns:
        An algorithm with ``init(params, model_state=())``, leaves stacked over members
        ``[M, ...]``, and ``update(state, batch, key)`` with leaves ``[M, ...]``, of which the
        trained member's row is used. It reports the values of the trained member: ``loss`` (with
        the agreement), ``task_loss``, ``agreement``, ``member`` (its index) and the metrics of the
        loss.

    Raises:
        TypeError: if ``loss``, ``predict``, ``train`` or another function is not callable.
        ValueError: if alpha < 0, member_rounds < 1, anchor or epsilon is unknown, or client axes
            differ.

    Example:
        >>> def predict(params, x):  # one logit for two classes
        ...     return x[:, None] * params
        >>> def loss(params, batch, key):
        ...     return 0.01 * jnp.sum(params**2)
        >>> algorithm = jc.algorithms.ensembles.dbat(
        ...     loss, predict, optax.sgd(1.0), alpha=1.0, member_rounds=10
        ... )
        >>> state = algorithm.init(jnp.array([1.0, 0.5]))
        >>> batches = jc.data.full_batch({"unlabeled": jnp.ones((2, 1))})
        >>> state, metrics = jc.run(algorithm, state, batches, jax.random.key(0), num_rounds=20)
        >>> metrics["member"][8:12].tolist()
        [0, 0, 1, 1]
        >>> jnp.sign(jc.params_of(state)).tolist()  # the second member changes its prediction
        [1.0, -1.0]

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
        # The index of the trained member is an array, not a Python number, so that one compiled
        # program trains all members.
        member = jnp.minimum(state.step // member_rounds, total - 1)
        before = jnp.arange(total, dtype=member.dtype) < member
        local_key, search_key = jax.random.split(key)
        # the key that layout.client_keys gives this member where all are trained as clients, so
        # that alpha = 0 takes the same steps as independent training
        mine = jax.random.fold_in(local_key, member)
        own, batch = (
            jax.tree.map(lambda leaf: leaf[member], tree)
            for tree in ((clients.params, clients.model_state, clients.opt_state), batch)
        )
        params, model_state, opt_state = own
        x = unlabeled(batch)

        frozen = functools.partial(
            _earlier_logits, full_predict, clients, (params, model_state), before
        )

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


def _earlier_logits(
    predict: Callable[[PyTree, PyTree, Any], Array],
    clients: Clients,
    one: tuple[PyTree, PyTree],
    earlier: Array,
    x: PyTree,
) -> Array:
    """Computes logits of the earlier members ``[M, b, C]``, with zeros for the others."""
    shape = jax.eval_shape(predict, *one, x)

    # Later members have weight 0 and need no forward pass. In a loop over members (on a CPU) the
    # branch saves it; vectorized, both branches are computed.
    def logits(params: PyTree, model_state: PyTree, earlier: Array, x: PyTree) -> Array:
        return jax.lax.cond(
            earlier,
            lambda: predict(params, model_state, x),
            lambda: jnp.zeros(shape.shape, shape.dtype),
        )

    each = layout.per_client(logits, in_axes=(0, 0, 0, None))
    return each(clients.params, clients.model_state, earlier, x)


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
    """Builds D-BAT with one member per client, in which all train at once and send predictions.

        L(h_i) = loss_i(h_i) + alpha sum_j w_ij mean_x A(h_j(x), h_i(x)) / sum_j w_ij

    In every round, each client sends its logits ``[U, C]`` on public unlabeled points and then
    takes a step on its own labeled batch, with the received logits as constants. With
    ``"predecessors"``, client i disagrees with the current models of clients 0..i-1, and client 0
    trains alone: this is the order of D-BAT without waiting for trained members. This form is not
    from the paper.

    Args:
        loss: loss of ONE client on its batch, see :func:`jcollab.core.lift`.
        predict: as for :func:`dbat`.
        optimizer: optimizer of every client.
        alpha: weight of the agreement, >= 0, a number (possibly traced).
        public: ``public(batch) -> x [U, ...]``, points that are available to all clients, from the
            batch of all clients ``[n, ...]``; for example ``lambda batch: batch.unlabeled[0]``.
        against: the clients with which each client disagrees: ``"predecessors"``, ``"others"``, or
            weights w >= 0, ``[n, n]``, such as the mixing matrix of a topology (the diagonal is not
            used).
        warmup: number of rounds at the start in which the agreement has weight 0: disagreeing with
            members that are not yet trained is of no use.
        anchor: variant of the multi-class agreement, see
            :func:`jcollab.objectives.pair_agreement`.
        epsilon: 1e-7 for the logarithm of the released code, None for the numerically stable one.

    Returns:
        An algorithm with ``init(params, model_state=())``, leaves ``[n, ...]``. It reports means
        over clients of ``loss``, ``task_loss``, ``agreement`` and the metrics of the loss, and
        ``bytes_sent`` by each client to each receiver.

    Raises:
        TypeError: if ``loss`` or another function is not callable.
        ValueError: if alpha < 0, warmup < 0, anchor, epsilon or against is unknown, or client axes
            differ.

    Example:
        >>> def predict(params, x):  # one logit for two classes
        ...     return x[:, None] * params
        >>> def loss(params, batch, key):
        ...     return 0.01 * jnp.sum(params**2)
        >>> algorithm = jc.algorithms.ensembles.collaborative_dbat(
        ...     loss, predict, optax.sgd(1.0), alpha=1.0, public=lambda batch: batch[0]
        ... )
        >>> state = algorithm.init(jnp.array([1.0, 0.5]))
        >>> batches = jc.data.full_batch(jnp.ones((2, 1)))
        >>> state, metrics = jc.run(algorithm, state, batches, jax.random.key(0), num_rounds=10)
        >>> jnp.sign(jc.params_of(state)).tolist()  # the second client changes its prediction
        [1.0, -1.0]

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
        # computed before any client takes its step, as if all of them were sent at once
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

        # the first half of the key, as in dbat and decentralized: the same local steps at alpha = 0
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
    """Builds ``init(params, model_state=())`` for members with separate optimizer states."""

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
    """Builds the loss of a member: the task's loss plus alpha times the agreement on x."""

    def objective(
        params: PyTree, model_state: PyTree, batch: PyTree, key: Array
    ) -> tuple[Array, tuple[PyTree, Metrics]]:
        value, (model_state, metrics) = task(params, model_state, batch, key)

        def disagree(params: PyTree, model_state: PyTree) -> tuple[Array, PyTree]:
            # another key than the task's, which remains the one of a member that trains alone
            logits, model_state = train(params, model_state, x, jax.random.fold_in(key, 1))
            shared = agreement(logits, frozen, weights=weights, anchor=anchor, epsilon=epsilon)
            return shared, model_state

        def alone(params: PyTree, model_state: PyTree) -> tuple[Array, PyTree]:
            return jnp.zeros((), frozen.dtype), model_state

        # A member with nothing to disagree with does not see the points: its batch statistics must
        # come from labeled data alone.
        shared, model_state = jax.lax.cond(
            jnp.any(weights > 0), disagree, alone, params, model_state
        )
        metrics = metrics | {"task_loss": value, "agreement": shared}
        return (value + alpha * shared).astype(value.dtype), (model_state, metrics)

    return objective


def _weights(against: Any, n: int | None) -> Any:
    """Returns weights ``[n, n]`` with a diagonal of 0; with n=None, checks what does not need n."""
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
