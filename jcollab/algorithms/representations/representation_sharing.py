"""Representation sharing: clients with any architecture exchange class prototypes, not models."""

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
    """Builds learning in which clients exchange class means instead of models.

        publish  m_uc = mean of phi_u(x_j) over y_j = c,   t_uc = mean over a few of them
        mix      mbar_u = mixer(m)_u,                      t_u = observer(t)_u
        learn    epochs of objective(phi_u, mbar_u, t_u) on the client's own data

    where ``phi_u(x)`` are the features of client u's model. All messages of a round are published
    before any client learns; the source publishes them at the end of the previous round. They form
    one tensor ``[n, C, d]`` whatever the architectures, and any mixer accepts them, as
    :class:`jcollab.objectives.prototypes.Prototypes`: ``server()`` averages the class means over
    all clients that have the class, ``gossip(topology)`` over neighbors, and
    ``server(per_class(rule))`` or ``neighborhood(topology, per_class(rule), channel)`` robustly.
    For byzantine prototypes, use ``channels.byzantine(attacks.only(attack, "values"), who)``: an
    attack that scales sums and weights alike would cancel out in their ratio.

    With ``objective=objectives.independent()`` and ``mixer=None``, clients learn alone, and with
    one client on all data this is centralized learning; an additional ``model_mixer`` gives FedAvg.

    Args:
        groups: a Group, or several groups with different architectures and the same d and C.
        optimizer: local optimizer, the same for all clients.
        mixer: mixer of class means; None if none are sent.
        objective: local loss, see :func:`jcollab.objectives.representation_sharing`.
        num_classes: C.
        num_features: d.
        observer: mixer of observations, ``random_peer()`` in the source; None if none are sent.
        num_observations: M, the number of observations that each client sends and receives.
        samples_per_class: number of examples in an observation, at least 1; n_avg in the source.
        message: ``"features"``, or ``"logits"`` of width C (federated distillation).
        weighting: ``"clients"`` (mean of means, as in the paper) or ``"samples"`` (pooled mean, as
            in the released code).
        own_share: weight in [0, 1] of a client's own message in the mixer's average, one for all or
            ``[n]``: the client's own part is then subtracted from what it learns from. 1/n for a
            server; 0 does not subtract it.
        batch_size: b of a local step; None for all of a client's examples.
        num_epochs: number of local passes over the data in a round.
        model_mixer: mixer of models and their states, applied after local learning; None if models
            are not exchanged.
        release: differential privacy of the messages, see :mod:`jcollab.privacy`; None for none.
        honest: bool ``[n]``, the clients over which metrics are averaged; None for all.

    Returns:
        An algorithm with ``init(params, model_state=())``, params and model_state stacked
        ``[n, ...]`` (tuples of stacked trees for a sequence of groups), and ``update(state, batch,
        key)``. The batch contains all data of all clients, ``jcollab.data.full_batch(data)`` in a
        run: :class:`jcollab.data.ClientData`, or fields ``x [n, m, ...]`` and ``y [n, m]``. It
        reports ``loss``, ``accuracy`` and the objective's metrics as means over local examples and
        honest clients. Messages are computed in evaluation mode (with running averages of batch
        statistics), as in the source.

    Raises:
        TypeError: if a group, the objective or another part has a wrong type.
        ValueError: if a number or a name is out of range, or shapes do not match.

    Example:
        >>> group = jc.algorithms.Group(
        ...     features=lambda params, x: x @ params["w"],
        ...     head=lambda params, features: features @ params["v"],
        ...     clients=3,
        ... )
        >>> algorithm = jc.representation_sharing(
        ...     group, optax.sgd(0.1), jc.server(), jc.objectives.representation_sharing(1.0, 0.0),
        ...     num_classes=4, num_features=2,
        ... )
        >>> state = algorithm.init({"w": jnp.ones((3, 5, 2)), "v": jnp.zeros((3, 2, 4))})
        >>> data = jc.data.Dataset(jnp.ones((3, 6, 5)), jnp.zeros((3, 6), int))
        >>> batches, key = jc.data.full_batch(data), jax.random.key(0)
        >>> state, metrics = jc.run(algorithm, state, batches, key, num_rounds=2)
        >>> round(float(metrics["loss"][0]), 2)  # log 4: the head starts at 0
        1.39

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
        # 0, whatever num_observations is: nothing is computed for observations that are not sent
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
    # messages of no class: they give the states of mixers their shapes
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
    """Computes the bytes that each client sends and receives in a round of representation sharing.

    Through a server, these are ``b (M + 1) C d`` in each direction, with b bytes per number; with a
    pooled mean, clients also send C counts. Classes without examples are counted like the others.

    Args:
        mixer: mixer of class means; None if none are sent.
        observer: mixer of observations; None if none are sent.
        n: number of clients.
        num_classes: C.
        width: d of the messages (C for logits).
        num_observations: M.
        weighting: weighting of the class means, as for :func:`representation_sharing`.
        dtype: type of the numbers that are sent.

    Returns:
        Bytes sent and bytes received, ``[n]`` each. On a graph, both are the bytes sent, which is
        correct if every client has as many incoming as outgoing links.

    Raises:
        ValueError: for another weighting.

    Example:
        >>> sent, received = jc.algorithms.bytes_exchanged(
        ...     jc.server(), jc.mixing.random_peer(), n=2, num_classes=10, width=84
        ... )
        >>> sent.tolist()  # 4 bytes * (1 + 1) * 10 * 84
        [6720.0, 6720.0]
    """
    checks.one_of("weighting", weighting, WEIGHTINGS)
    # bytes_sent needs only shapes: nothing is allocated
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
