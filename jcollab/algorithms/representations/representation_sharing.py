"""Clients of any architecture that learn from each other's class prototypes, not from models."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jcollab import checks
from jcollab.algorithms.model_state import to_exchange
from jcollab.algorithms.representations import sharing_round
from jcollab.algorithms.representations.groups import Group, check_groups, per_group
from jcollab.algorithms.representations.sharing_round import Settings, SharingClients
from jcollab.core import Algorithm, Mixer, PyTree, State, own_arrays, wide_dtype
from jcollab.mixing.common import shared_names
from jcollab.objectives.prototypes import WEIGHTINGS, Prototypes
from jcollab.objectives.representation import SharingObjective
from jcollab.privacy import Release

MESSAGES = ("features", "logits")


def representation_sharing(
    groups: Group | Sequence[Group],
    optimizer: optax.GradientTransformation,
    mixer: Mixer | None,
    objective: SharingObjective,
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

    All messages of a round are published before any client learns, as at the end of the round
    before in the source. They are one tensor ``[n, C, d]`` whatever the architectures, and go
    through any mixer as :class:`jcollab.objectives.prototypes.Prototypes`: ``server()`` gives the
    mean of the means of those that have the class, ``gossip(topology)`` that of the neighbors,
    ``server(per_class(rule))`` or ``neighborhood(topology, per_class(rule), channel)`` a robust
    one. False prototypes are ``channels.byzantine(attacks.only(attack, "values"), who)``: an attack
    on sums and weights alike would cancel out in their ratio.

    With ``objective=objectives.independent()`` and ``mixer=None`` clients learn alone; with one
    client on all data that is centralized learning; a ``model_mixer`` beside it makes FedAvg.

    Args:
        groups: a Group, or several with models of their own that share d and C.
        optimizer: local optimizer, the same for all.
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
        key)``. The batch is all data of all clients, ``jcollab.data.full_batch(data)`` in a run:
        :class:`jcollab.data.ClientData`, or fields ``x [n, m, ...]`` and ``y [n, m]``. It reports
        ``loss``, ``accuracy`` and the objective's metrics as means over local examples and honest
        clients. Messages are computed with running averages, as in the source.

    Raises:
        TypeError: if a group, the objective or another part is none.
        ValueError: if a number or a name is out of range, or shapes do not fit each other.

    Source: Berdoz, Singh, Jaggi and Raskar 2022, arXiv 2211.10943. Messages of logits: Jeong et
    al. 2018, arXiv 1811.11479. Class means alone: Tan et al. 2022, arXiv 2105.00243.
    """
    optional = {"mixer": mixer, "observer": observer, "model_mixer": model_mixer}
    checks.optimizers(optimizer=optimizer)
    checks.kind(Mixer, **{name: part for name, part in optional.items() if part is not None})
    several = not isinstance(groups, Group)
    kinds = (groups,) if isinstance(groups, Group) else tuple(groups)
    check_groups(kinds)
    checks.functions(objective=objective)
    checks.counts(
        num_classes=num_classes,
        num_features=num_features,
        num_observations=num_observations,
        samples_per_class=samples_per_class,
        num_epochs=num_epochs,
        batch_size=batch_size,
    )
    checks.one_of("message", message, MESSAGES)
    checks.one_of("weighting", weighting, WEIGHTINGS)
    if several and model_mixer is not None:
        raise ValueError("model_mixer must be None for groups of different models")
    if message == "logits" and observer is not None:
        raise ValueError("observer must be None for messages that are logits")
    n = sum(kind.clients for kind in kinds)
    checks.number("own_share", own_share, at_least=0, at_most=1, arrays=True)
    if np.shape(own_share) not in ((), (n,)):
        raise ValueError(f"own_share must be a number or [n={n}], got shape {np.shape(own_share)}")
    settings = Settings(
        groups=kinds,
        several=several,
        optimizer=optimizer,
        mixer=mixer,
        objective=objective,
        num_classes=num_classes,
        num_features=num_features,
        observer=observer,
        num_sent=num_observations if observer else 0,
        samples_per_class=samples_per_class,
        message=message,
        weighting=weighting,
        own_share=own_share,
        batch_size=batch_size,
        num_epochs=num_epochs,
        model_mixer=model_mixer,
        release=release,
        n=n,
        reporting=checks.members(honest, n, "honest"),
    )
    return Algorithm(
        own_arrays(functools.partial(_init, settings)),
        functools.partial(sharing_round.update, settings),
        names=shared_names(*filter(None, optional.values())),
    )


def _init(settings: Settings, params: PyTree, model_state: PyTree = ()) -> State:
    kinds, several = settings.groups, settings.several
    each = per_group(params, kinds, several)
    if several and not jax.tree.leaves(model_state):
        model_state = ((),) * len(kinds)
    per_group(model_state, kinds, several, "model_state", optional=True)
    opt_state = [jax.vmap(settings.optimizer.init)(tree) for tree in each]
    kind = wide_dtype(*jax.tree.leaves(params))
    shape = (settings.n, settings.num_classes, settings.width)
    empty = Prototypes(jnp.zeros(shape, kind), jnp.zeros(shape[:2], kind))
    mixer, observer, models = settings.mixer, settings.observer, settings.model_mixer
    clients = SharingClients(
        params,
        model_state,
        tuple(opt_state) if several else opt_state[0],
        mixer.init(empty) if mixer else (),
        tuple(observer.init(empty) for _ in range(settings.num_sent)) if observer else (),
        models.init(to_exchange(params, model_state)) if models else (),
    )
    return State(clients, (), jnp.int32(0))


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
    checks.one_of("weighting", weighting, WEIGHTINGS)
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
