"""What a client shares, and how it trains the rest."""

from __future__ import annotations

from typing import Any, NamedTuple

import optax

from jcollab import checks
from jcollab.core import Select, check_select


class Sharing(NamedTuple):
    """The parts of a model; see :func:`sharing`.

    Attributes:
        select: the leaves that clients share.
        personal_optimizer: local optimizer of the others; None for that of the shared leaves.
        personal_steps: local steps that train only the others, before those that train only the
            shared leaves; None where each step trains both.
    """

    select: Select
    personal_optimizer: optax.GradientTransformation | None
    personal_steps: int | None


def sharing(
    select: Select,
    *,
    personal_optimizer: optax.GradientTransformation | None = None,
    personal_steps: int | None = None,
) -> Sharing:
    """Builds the argument ``share`` of :func:`jcollab.federated` for personal parts of a model.

    With a body and a head, these are

        FedPer      share="body"
        LG-FedAvg   share="head"
        FedRep      share=sharing("body", personal_steps=k)      k steps for the head, then the body
        FedBABU     share=sharing("body", personal_optimizer=optax.set_to_zero())
        FedBN       share=lambda path, leaf: "Norm" not in path, and model_state="keep"

    FedBABU trains the body with a head that stays as it was initialized;
    :func:`jcollab.algorithms.fine_tuning` then trains both.

    Args:
        select: the leaves that clients share, see :data:`jcollab.core.Select`.
        personal_optimizer: local optimizer of the personal leaves; None for the same optimizer.
        personal_steps: k, the first k of the H local steps train the personal leaves, the others
            the shared ones; None trains both in each step.

    Raises:
        TypeError: if ``select`` is no selection, or ``personal_optimizer`` no optax optimizer.
        ValueError: if personal_steps < 0.

    Example:
        >>> def loss(params, batch, key):  # the optimum of client i: body + head = batch
        ...     return 0.5 * jnp.sum((params["body"] + params["head"] - batch) ** 2)
        >>> algorithm = jc.federated(loss, optax.sgd(0.5), share="body", num_clients=2)
        >>> state = algorithm.init({"body": jnp.zeros(1), "head": jnp.zeros(1)})
        >>> targets = jc.data.full_batch(jnp.array([[0.0], [8.0]]))
        >>> state, _ = jc.run(algorithm, state, targets, jax.random.key(0), num_rounds=20)
        >>> models = jc.params_of(state)
        >>> models["body"].round(2).tolist(), models["head"].round(2).tolist()
        ([[2.0], [2.0]], [[-2.0], [6.0]])

    Source: FedPer of Arivazhagan et al. 2019, arXiv 1912.00818; LG-FedAvg of Liang et al. 2020,
    arXiv 2001.01523; FedRep of Collins et al. 2021, arXiv 2102.07078; FedBABU of Oh et al. 2022,
    arXiv 2106.06042; FedBN of Li et al. 2021, arXiv 2102.07623.
    """
    check_select("share", select)
    if personal_optimizer is not None:
        checks.optimizers(personal_optimizer=personal_optimizer)
    if personal_steps is not None:
        checks.count("personal_steps", personal_steps, 0)
    return Sharing(select, personal_optimizer, personal_steps)


def as_sharing(share: Any) -> Sharing | None:
    """Returns None, the Sharing, or that of a selection of leaves."""
    return share if share is None or isinstance(share, Sharing) else sharing(share)
