"""Clients of any architecture that learn from each other's class prototypes, not from models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jcollab import checks, layout
from jcollab.algorithms.local_step import mean_metrics
from jcollab.algorithms.representations.epochs import epochs, over_all, rows_of
from jcollab.algorithms.representations.groups import Group, check_groups, join, per_group, split
from jcollab.core import (
    Algorithm,
    Array,
    Metrics,
    Mixer,
    PyTree,
    Round,
    State,
    lift_predict,
    lift_train,
)
from jcollab.objectives.prototypes import (
    Prototypes,
    Received,
    check_weighting,
    class_means,
    few_sample_means,
    unweigh,
    weigh,
)
from jcollab.privacy import Release

MESSAGES = ("features", "logits")


class SharingClients(NamedTuple):
    """Client part of the state.

    With one Group all leaves lead with the client axis [n]. With a sequence of groups, ``params``,
    ``model_state`` and ``opt_state`` are tuples with one stacked tree for each group,
    ``[n_g, ...]``, in the order in which clients are numbered; everything else leads with [n].

    Attributes:
        params: model parameters.
        model_state: what models carry along (batch statistics), see :class:`Group`.
        opt_state: of the local optimisers.
        mixer: state of the mixer of class means.
        observers: of those of observations, one for each.
        models: of the mixer of models.
    """

    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    mixer: PyTree
    observers: PyTree
    models: PyTree


def representation_sharing(
    groups: Group | Sequence[Group],
    optimizer: optax.GradientTransformation,
    mixer: Mixer | None,
    objective: Callable,
    *,
    num_classes: int,
    num_features: int,
    observer: Mixer | None = None,
    num_observations: int = 1,
    samples_per_class: int = 10,
    message: str = "features",
    weighting: str = "clients",
    own_share: Any = 0.0,
    batch_size: int | None = None,
    num_epochs: int = 1,
    model_mixer: Mixer | None = None,
    release: Release | None = None,
    honest: Any = None,
) -> Algorithm:
    """Clients publish class means and observations, mix those, and learn from what they receive.

        publish  m_uc = mean of phi_u(x_j) over y_j = c,   t_uc = mean over a few of them
        mix      mbar_u = mixer(m)_u,                      t_u = observer(t)_u
        learn    epochs of objective(phi_u, mbar_u, t_u) on the client's own data

    All messages of a round are published before anybody learns, as at the end of the round before
    in the source. They are one tensor ``[n, C, d]`` whatever the architectures, and go through any
    mixer as :class:`jcollab.objectives.prototypes.Prototypes`: ``server()`` gives the mean of the
    means of those that have the class, ``gossip(topology)`` that of the neighbours,
    ``server(per_class(rule))`` or ``neighborhood(topology, per_class(rule), channel)`` a robust
    one. False prototypes are ``channels.byzantine(attacks.only(attack, "values"), who)``: an attack
    on sums and weights alike would cancel out in their ratio.

    With ``objective=objectives.independent()`` and ``mixer=None`` clients learn alone; with one
    client on all data that is centralised learning; a ``model_mixer`` beside it makes FedAvg.

    Args:
        groups: a Group, or several with models of their own that share d and C.
        optimizer: local optimiser, the same for all.
        mixer: of class means; None sends none.
        objective: see :func:`jcollab.objectives.representation_sharing`.
        num_classes: C.
        num_features: d.
        observer: mixer of observations, ``random_peer()`` in the source; None sends none.
        num_observations: M, observations sent and received by each client.
        samples_per_class: examples in an observation, at least 1; n_avg in the source.
        message: ``"features"``, or ``"logits"`` of which d is C (federated distillation).
        weighting: ``"clients"`` (mean of means, the paper) or ``"samples"`` (pooled mean, the
            released code).
        own_share: weight with which the mixer counts a client's own message, to take it out of
            what the client learns from: 1/n for a server. 0 leaves it in.
        batch_size: b of a local step; None for all of a client's examples.
        num_epochs: local passes over the data per round.
        model_mixer: how models, with what they carry along, are mixed after local learning; None
            leaves them to the clients.
        release: what is done to messages for differential privacy, see :mod:`jcollab.privacy`.
        honest: bool ``[n]``, whose metrics are averaged; None for all.

    Returns:
        An algorithm with ``init(params, model_state=())``, params and model_state stacked
        ``[n, ...]`` (tuples of stacked trees for a sequence of groups), and ``update(state, batch,
        key)``. The batch is all data of all clients: :class:`jcollab.data.ClientData` (with
        ``sample=jcollab.data.whole``), or fields ``x [n, m, ...]`` and ``y [n, m]``. It reports
        ``loss``, ``accuracy`` and the objective's metrics as means over local examples and honest
        clients. Messages are computed with running averages, as in the source.

    Raises:
        TypeError: if groups or objective are none.
        ValueError: if a number or a name is out of range, or shapes do not fit each other.

    Source: Berdoz, Singh, Jaggi and Raskar 2022, arXiv 2211.10943. Messages of logits: Jeong et
    al. 2018, arXiv 1811.11479. Class means alone: Tan et al. 2022, arXiv 2105.00243.
    """
    optional = {"mixer": mixer, "observer": observer, "model_mixer": model_mixer}
    checks.parts(
        optimizer=optimizer, **{name: part for name, part in optional.items() if part is not None}
    )
    several = not isinstance(groups, Group)
    kinds = (groups,) if isinstance(groups, Group) else tuple(groups)
    check_groups(kinds)
    if not callable(objective):
        raise TypeError(f"objective must be a function, got {type(objective).__name__}")
    checks.counts(
        num_classes=num_classes,
        num_features=num_features,
        num_observations=num_observations,
        samples_per_class=samples_per_class,
        num_epochs=num_epochs,
        batch_size=batch_size,
    )
    if message not in MESSAGES:
        raise ValueError(f"message must be one of {', '.join(MESSAGES)}, got {message!r}")
    check_weighting(weighting, "weighting")
    if several and model_mixer is not None:
        raise ValueError("model_mixer must be None for groups of different models")
    if message == "logits" and observer is not None:
        raise ValueError("observer must be None for messages that are logits")
    n = sum(kind.clients for kind in kinds)
    reporting = checks.members(honest, n, "honest")
    width = num_classes if message == "logits" else num_features
    num_sent = num_observations if observer else 0

    def init(params: PyTree, model_state: PyTree = ()) -> State:
        each = per_group(params, kinds, several)
        if several and not jax.tree.leaves(model_state):
            model_state = ((),) * len(kinds)
        per_group(model_state, kinds, several, "model_state", optional=True)
        opt_state = [jax.vmap(optimizer.init)(tree) for tree in each]
        kind = jnp.result_type(jnp.float32, *(leaf.dtype for leaf in jax.tree.leaves(params)))
        empty = Prototypes(
            jnp.zeros((n, num_classes, width), kind), jnp.zeros((n, num_classes), kind)
        )
        clients = SharingClients(
            params,
            model_state,
            tuple(opt_state) if several else opt_state[0],
            mixer.init(empty) if mixer else (),
            tuple(observer.init(empty) for _ in range(num_sent)) if observer else (),
            model_mixer.init(_whole(params, model_state)) if model_mixer else (),
        )
        return State(clients, (), jnp.int32(0))

    def publish(kind: Group, size: int) -> Callable:
        look = lift_predict(kind.features)

        def one(
            params: PyTree, model_state: PyTree, own: PyTree, key: Array, common: PyTree
        ) -> tuple:
            def compute(x: Array) -> Array:
                features = look(params, model_state, x)
                if features.shape[-1] != num_features:
                    raise ValueError(
                        f"num_features is {num_features}, but features of a group have width "
                        f"{features.shape[-1]}"
                    )
                values = kind.head(params, features) if message == "logits" else features
                return release.bound(values) if release else values

            values, labels, mask = over_all(compute, own, common, size)
            keys = jax.random.split(key, 1 + num_sent)
            messages = (
                [(class_means(values, labels, num_classes, mask), weighting)] if mixer else []
            )
            for m in range(num_sent):
                few = few_sample_means(
                    keys[1 + m], values, labels, num_classes, samples_per_class, mask
                )
                messages.append((few, "clients"))
            sent = []
            for i, ((means, counts), by) in enumerate(messages):
                if release:
                    means = release.noise(jax.random.fold_in(keys[0], i), means, counts)
                sent.append(weigh(means, counts, by))
            return tuple(sent)

        return one

    def exchange(
        clients: SharingClients, sent: list[Prototypes], key: Array, step: Array
    ) -> tuple[Received, PyTree, PyTree]:
        mixed, states, kind = clients.mixer, [], sent[0].values.dtype if sent else jnp.float32
        means = jnp.zeros((n, num_classes, width), kind)
        known = jnp.zeros((n, num_classes), bool)
        if mixer:
            arrived, mixed = mixer.update(
                sent[0], clients.mixer, Round(jax.random.fold_in(key, 0), step)
            )
            means, known = unweigh(arrived, sent[0], own_share)
        seen = jnp.zeros((n, 0, num_classes, width), kind)
        observed = jnp.zeros((n, 0, num_classes), bool)
        if observer:
            pairs = []
            for m in range(num_sent):
                arrived, state = observer.update(
                    sent[m - num_sent],
                    clients.observers[m],
                    Round(jax.random.fold_in(key, 1 + m), step),
                )
                pairs.append(unweigh(arrived))
                states.append(state)
            seen, observed = (jnp.stack(x, axis=1) for x in zip(*pairs, strict=True))
        return Received(means, known, seen, observed), mixed, tuple(states)

    def learn(kind: Group, size: int) -> Callable:
        look = lift_train(kind.features, kind.train)

        def one(
            params: PyTree,
            model_state: PyTree,
            opt_state: PyTree,
            own: PyTree,
            got: Received,
            key: Array,
            common: PyTree,
        ) -> tuple:
            def step_loss(
                params: PyTree, model_state: PyTree, x: Array, y: Array, key: Array
            ) -> tuple:
                features, model_state = look(params, model_state, x, jax.random.fold_in(key, 1))
                classify = lambda s: kind.head(params, s)  # noqa: E731
                values, metrics = objective(features, classify(features), y, got, classify, key)
                return values, model_state, metrics

            train = epochs(step_loss, optimizer, size, batch_size, num_epochs)
            return train(params, model_state, opt_state, own, common, key)

        return one

    def update(state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
        clients = state.clients
        local_key, publish_key, mix_key, model_key = jax.random.split(key, 4)
        own, common, stacked, size = rows_of(batch)
        if stacked != n:
            raise ValueError(f"groups have n={n} clients, but batch is stacked for n={stacked}")
        params = per_group(clients.params, kinds, several)
        model_states, opt_states = clients.model_state, clients.opt_state
        model_states, opt_states = (
            (model_states, opt_states) if several else ([model_states], [opt_states])
        )
        owned = split(own, kinds)
        sent: list[Prototypes] = []
        if mixer or observer:
            keys = split(layout.client_keys(publish_key, n), kinds)
            parts = [
                layout.per_client(publish(kind, size), in_axes=(0, 0, 0, 0, None))(*args, common)
                for kind, *args in zip(kinds, params, model_states, owned, keys, strict=True)
            ]
            sent = list(join(parts))
        got, mixed, observers = exchange(clients, sent, mix_key, state.step)
        keys, gots = split(layout.client_keys(local_key, n), kinds), split(got, kinds)
        columns = (params, model_states, opt_states, owned, gots, keys)
        parts = [
            layout.per_client(learn(kind, size), in_axes=(0,) * 6 + (None,))(*args, common)
            for kind, *args in zip(kinds, *columns, strict=True)
        ]
        metrics = join([metrics for *_, metrics in parts])
        if len(reporting) < n:
            metrics = jax.tree.map(lambda leaf: leaf[reporting], metrics)
        fresh = [tuple(part[i] for part in parts) for i in range(3)]
        models, carried, opt_fresh = fresh if several else [only for (only,) in fresh]
        model_state = clients.models
        if model_mixer:
            mixture, model_state = model_mixer.update(
                _whole(models, carried), model_state, Round(model_key, state.step)
            )
            models, carried = mixture if jax.tree.leaves(carried) else (mixture, carried)
        clients = SharingClients(models, carried, opt_fresh, mixed, observers, model_state)
        return State(clients, state.shared, state.step + 1), mean_metrics(metrics)

    return Algorithm(init, update)


def _whole(params: PyTree, model_state: PyTree) -> PyTree:
    """What FedAvg averages: models, and batch statistics where there are some."""
    return (params, model_state) if jax.tree.leaves(model_state) else params


def bytes_exchanged(
    mixer: Mixer | None,
    observer: Mixer | None,
    n: int,
    num_classes: int,
    width: int,
    *,
    num_observations: int = 1,
    weighting: str = "clients",
    dtype: Any = np.float32,
) -> tuple[np.ndarray, np.ndarray]:
    """Bytes that each client sends and receives in a round of representation sharing.

    Through a server ``b (M + 1) C d`` each way, b bytes a number; a pooled mean needs the C counts
    upwards too. Absent classes are rows that are not sent, and cost no more.

    Args:
        mixer: of class means; None sends none.
        observer: of observations; None sends none.
        n: clients.
        num_classes: C.
        width: d of the messages (C for logits).
        num_observations: M.
        weighting: of the means.
        dtype: type of the numbers sent.

    Returns:
        Up and down, ``[n]`` each. On a graph with equally many links in and out, they agree.
    """
    check_weighting(weighting, "weighting")
    values = jax.ShapeDtypeStruct((n, num_classes, width), dtype)
    counts = jax.ShapeDtypeStruct((n, num_classes), dtype)
    down = np.zeros(n)
    if mixer:
        down = down + np.asarray(mixer.bytes_sent(values), float)
    if observer:
        down = down + num_observations * np.asarray(observer.bytes_sent(values), float)
    up = down
    if mixer and weighting == "samples":
        up = up + np.asarray(mixer.bytes_sent(counts), float)
    return up, down
