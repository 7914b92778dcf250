"""One round of representation sharing: publish, exchange, learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jcollab import layout
from jcollab.algorithms.local_step import mean_over_clients
from jcollab.algorithms.model_state import from_exchange, to_exchange
from jcollab.algorithms.representations.epochs import epochs, over_all, rows_of
from jcollab.algorithms.representations.groups import Group, join, per_group, split
from jcollab.core import (
    Array,
    Metrics,
    Mixer,
    PyTree,
    Round,
    State,
    clients_of,
    lift_predict,
    lift_train,
)
from jcollab.objectives.prototypes import (
    Prototypes,
    Received,
    class_means,
    few_sample_means,
    unweigh,
    weigh,
)
from jcollab.objectives.representation import SharingObjective
from jcollab.privacy import Release


class SharingClients(NamedTuple):
    """Client part of the state.

    With one Group, all leaves are ``[n, ...]``. With a sequence of groups, ``params``,
    ``model_state`` and ``opt_state`` are tuples with one stacked tree ``[n_g, ...]`` for each
    group, and all other leaves are ``[n, ...]``, with clients in the order of the groups.

    Attributes:
        params: model parameters.
        model_state: states of the models (batch statistics), see :class:`Group`.
        opt_state: states of the local optimizers.
        mixer: state of the mixer of class means.
        observers: states of the mixer of observations, one for each observation.
        models: state of the mixer of models.
    """

    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    mixer: PyTree
    observers: PyTree
    models: PyTree


class Settings(NamedTuple):
    """The arguments of :func:`jcollab.representation_sharing` and values derived from them."""

    groups: tuple[Group, ...]
    several: bool
    optimizer: optax.GradientTransformation
    mixer: Mixer | None
    objective: SharingObjective
    num_classes: int
    num_features: int
    observer: Mixer | None
    num_sent: int  # observations that a client sends, 0 without an observer
    samples_per_class: int
    message: str
    weighting: str
    own_share: Any
    batch_size: int | None
    num_epochs: int
    model_mixer: Mixer | None
    release: Release | None
    n: int
    reporting: np.ndarray  # indices of the clients over which metrics are averaged

    @property
    def width(self) -> int:
        """The width of a message: C for logits, d for features."""
        return self.num_classes if self.message == "logits" else self.num_features


def update(settings: Settings, state: State, batch: PyTree, key: Array) -> tuple[State, Metrics]:
    """Computes one round of all clients."""
    clients, n, kinds, several = (
        clients_of(state, SharingClients),
        settings.n,
        settings.groups,
        settings.several,
    )
    local_key, publish_key, mix_key, model_key = jax.random.split(key, 4)
    own, common, stacked, size = rows_of(batch)
    if stacked != n:
        raise ValueError(f"batch must be stacked for the n={n} clients of groups, got n={stacked}")
    params = per_group(clients.params, kinds, several)
    model_states, opt_states = clients.model_state, clients.opt_state
    if not several:
        model_states, opt_states = [model_states], [opt_states]
    # Groups have different programs and run one after the other. Messages have one shape whatever
    # the architecture, so they are joined to [n, C, d], and a mixer sees all clients at once.
    owned = split(own, kinds)
    sent: list[Prototypes] = []
    if settings.mixer or settings.observer:
        keys = split(layout.client_keys(publish_key, n), kinds)
        parts = [
            layout.per_client(_publish(settings, kind, size), in_axes=(0, 0, 0, 0, None))(
                *args, common
            )
            for kind, *args in zip(kinds, params, model_states, owned, keys, strict=True)
        ]
        sent = list(join(parts))
    got, mixed, observers = _exchange(settings, clients, sent, mix_key, state.step)
    # keys of all n clients are split, not drawn per group: they do not depend on the grouping
    keys, gots = split(layout.client_keys(local_key, n), kinds), split(got, kinds)
    columns = (params, model_states, opt_states, owned, gots, keys)
    parts = [
        layout.per_client(_learn(settings, kind, size), in_axes=(0,) * 6 + (None, None))(
            *args, common, state.step
        )
        for kind, *args in zip(kinds, *columns, strict=True)
    ]
    metrics = join([metrics for *_, metrics in parts])
    if len(settings.reporting) < n:
        metrics = jax.tree.map(lambda leaf: leaf[settings.reporting], metrics)
    fresh = [tuple(part[i] for part in parts) for i in range(3)]
    models, carried, opt_fresh = fresh if several else [only for (only,) in fresh]
    mixing = clients.models
    if settings.model_mixer:
        mixture, mixing = settings.model_mixer.update(
            to_exchange(models, carried), mixing, Round(model_key, state.step)
        )
        models, carried = from_exchange(mixture, carried)
    clients = SharingClients(models, carried, opt_fresh, mixed, observers, mixing)
    return State(clients, state.shared, state.step + 1), mean_over_clients(metrics)


def _publish(settings: Settings, kind: Group, size: int) -> Callable:
    """Builds a function that computes the messages of one client: class means and observations."""
    look, release = lift_predict(kind.features, "features"), settings.release
    num_classes, num_sent = settings.num_classes, settings.num_sent

    def publish(
        params: PyTree, model_state: PyTree, own: PyTree, key: Array, common: PyTree
    ) -> tuple:
        def compute(x: Array) -> Array:
            features = look(params, model_state, x)
            if features.shape[-1] != settings.num_features:
                raise ValueError(
                    f"features of a group must have width num_features={settings.num_features}, "
                    f"got {features.shape[-1]}"
                )
            values = kind.head(params, features) if settings.message == "logits" else features
            # for privacy, each example is bounded before averaging: this limits its influence
            return release.bound(values) if release else values

        # one forward pass over the data serves all messages
        values, labels, mask = over_all(compute, own, common, size)
        keys = jax.random.split(key, 1 + num_sent)
        messages = []
        if settings.mixer:
            messages.append((class_means(values, labels, num_classes, mask), settings.weighting))
        for m in range(num_sent):
            few = few_sample_means(
                keys[1 + m], values, labels, num_classes, settings.samples_per_class, mask
            )
            messages.append((few, "clients"))
        sent = []
        for i, ((means, counts), by) in enumerate(messages):
            # independent noise for each message, since all of them are released
            if release:
                means = release.noise(jax.random.fold_in(keys[0], i), means, counts)
            sent.append(weigh(means, counts, by))
        return tuple(sent)

    return publish


def _exchange(
    settings: Settings, clients: SharingClients, sent: list[Prototypes], key: Array, step: Array
) -> tuple[Received, PyTree, PyTree]:
    """Mixes the messages: returns what clients receive, and new states of the mixers."""
    n, num_classes, width, num_sent = (
        settings.n,
        settings.num_classes,
        settings.width,
        settings.num_sent,
    )
    mixed, states, kind = clients.mixer, [], sent[0].values.dtype if sent else jnp.float32
    # without a mixer no class is known, and without an observer M = 0: objectives see one form
    means = jnp.zeros((n, num_classes, width), kind)
    known = jnp.zeros((n, num_classes), bool)
    if settings.mixer:
        context = Round(jax.random.fold_in(key, 0), step)
        arrived, mixed = settings.mixer.update(sent[0], clients.mixer, context)
        means, known = unweigh(arrived, sent[0], settings.own_share)
    seen = jnp.zeros((n, 0, num_classes, width), kind)
    observed = jnp.zeros((n, 0, num_classes), bool)
    if settings.observer:
        pairs = []
        for m in range(num_sent):
            context = Round(jax.random.fold_in(key, 1 + m), step)
            # counted from the end: with a mixer, class means are the first message
            arrived, state = settings.observer.update(
                sent[m - num_sent], clients.observers[m], context
            )
            pairs.append(unweigh(arrived))
            states.append(state)
        seen, observed = (jnp.stack(x, axis=1) for x in zip(*pairs, strict=True))
    return Received(means, known, seen, observed), mixed, tuple(states)


def _learn(settings: Settings, kind: Group, size: int) -> Callable:
    """Builds the local training of one client."""
    look = lift_train(kind.features, kind.train)

    def learn(
        params: PyTree,
        model_state: PyTree,
        opt_state: PyTree,
        own: PyTree,
        got: Received,
        key: Array,
        common: PyTree,
        round_: Array,
    ) -> tuple:
        def step_loss(params: PyTree, model_state: PyTree, x: Array, y: Array, key: Array) -> tuple:
            # another key than the objective's, which draws an observation for each example
            features, model_state = look(params, model_state, x, jax.random.fold_in(key, 1))
            classify = lambda s: kind.head(params, s)  # noqa: E731
            logits = classify(features)
            values, metrics = settings.objective(features, logits, y, got, classify, key)
            return values, model_state, metrics

        train = epochs(
            step_loss, settings.optimizer, size, settings.batch_size, settings.num_epochs
        )
        return train(params, model_state, opt_state, own, common, key, round_)

    return learn
