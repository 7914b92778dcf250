"""Losses that use class prototypes of other clients: distillation and discrimination.

Both are available with the constants of the released code and of the paper, which differ by powers
of the number of features d and of classes C:

    distillation    "code"   (1/d) ||v - t_y||^2          "paper"  ||v - t_y||
    discrimination  "code"   mean over the C classes      "paper"  sum over the classes

``"squared"`` is the paper's distillation without the root.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jcollab import checks
from jcollab.core import cross_entropy, is_right

Array = jax.Array
Head = Callable[[Array], Array]
Metrics = dict[str, Array]
# features [b, d], logits [b, C], labels [b], received, head and key -> losses [b] and metrics [b]
SharingObjective = Callable[[Array, Array, Array, Any, Head, Array], tuple[Array, Metrics]]
# lower bound of logarithms in PyTorch's binary cross-entropy, which the released code uses
SMALLEST_LOG = -100.0
DISTILLATIONS = ("code", "squared", "paper", "cross_entropy")
CONSTANTS = ("code", "paper")


def distillation(
    values: Array, targets: Array, labels: Array, known: Array | None = None, form: str = "code"
) -> Array:
    """Computes the distance of values from the prototype of their class.

        code  (1/d) ||v - t_y||^2    squared  ||v - t_y||^2    paper  ||v - t_y||
        cross_entropy  -sum_c softmax(t_y)_c log softmax(v)_c

    No gradient flows into the targets. At distance 0, the gradient of the norm is defined as 0.

    Args:
        values: features or logits, ``[b, d]``.
        targets: prototypes, ``[C, d]``.
        labels: int ``[b]``.
        known: bool ``[C]``, False for classes without a prototype, which have loss 0 and gradient
            0; None if all are known.
        form: ``"code"``, ``"squared"``, ``"paper"``, or for logits ``"cross_entropy"``.

    Returns:
        ``[b]``.

    Raises:
        TypeError: if labels are not integers.
        ValueError: for another form, or a shape that does not fit.

    Example:
        >>> values, targets = jnp.array([[3.0, 4.0]]), jnp.zeros((1, 2))
        >>> forms = ("code", "squared", "paper")
        >>> labels = jnp.array([0])
        >>> [jc.objectives.distillation(values, targets, labels, form=f).item() for f in forms]
        [12.5, 25.0, 5.0]

    Source: Berdoz, Singh, Jaggi and Raskar 2022, arXiv 2211.10943; for logits, Jeong et al. 2018,
    arXiv 1811.11479.
    """
    checks.one_of("form", form, DISTILLATIONS)
    checks.labels("labels", labels, (f"b={len(values)}",), len(targets))
    if targets.shape[1:] != values.shape[1:]:
        raise ValueError(
            f"targets must have shape [C, d={values.shape[-1]}] for values [b, d], got "
            f"{list(targets.shape)}"
        )
    wanted = jax.lax.stop_gradient(targets)[labels]
    there = None if known is None else known[labels]
    if there is not None:
        # Rows without a prototype get distance 0 here, and not only a loss of 0 below: jnp.where
        # passes NaN gradients through a branch that is not selected.
        wanted = jnp.where(there[:, None], wanted, jax.lax.stop_gradient(values))
    if form == "cross_entropy":
        cost = optax.softmax_cross_entropy(values, jax.nn.softmax(wanted))
    else:
        square = jnp.sum(jnp.square(values - wanted), axis=-1)
        if form == "code":
            cost = square / values.shape[-1]
        elif form == "squared":
            cost = square
        else:
            # The root has an infinite slope at 0. It is applied to 1 there, so that the branch that
            # is not selected has a finite gradient.
            positive = square > 0
            cost = jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)
    return cost if there is None else jnp.where(there, cost, 0)


def match_logs(logits: Array, other: Array) -> tuple[Array, Array]:
    """Computes log h and log(1 - h) of the probability h that samples of two softmaxes are equal.

        h(s, t) = sum_c p_c(s) p_c(t),    1 - h = sum_c p_c(s) (1 - p_c(t))

    Both are finite even if h rounds to 0 or to 1.

    Args:
        logits: logits of s, ``[..., b, C]``.
        other: logits of t, ``[..., k, C]``.

    Returns:
        Two arrays ``[..., b, k]``.

    Example:
        >>> log_h, log_rest = jc.objectives.match_logs(jnp.zeros((1, 4)), jnp.zeros((1, 4)))
        >>> round(float(jnp.exp(log_h[0, 0])), 4), round(float(jnp.exp(log_rest[0, 0])), 4)
        (0.25, 0.75)
    """
    p, q = jax.nn.log_softmax(logits), jax.nn.log_softmax(other)
    # rest[c] = log(1 - p_c(t)), from the sum over all classes but c: 1 - p_c would round to 0
    diagonal = jnp.eye(q.shape[-1], dtype=bool)
    rest = jax.nn.logsumexp(jnp.where(diagonal, -jnp.inf, q[..., None, :]), axis=-1)
    log_h = jax.nn.logsumexp(p[..., :, None, :] + q[..., None, :, :], axis=-1)
    log_rest = jax.nn.logsumexp(p[..., :, None, :] + rest[..., None, :, :], axis=-1)
    return log_h, log_rest


def discrimination(
    logits: Array, other: Array, labels: Array, observed: Array | None = None, form: str = "code"
) -> Array:
    """Computes a loss that matches each example with the observation of its class, not with others.

        l(i) = -log h(s_i, t_{y_i}) - sum_{c != y_i} log(1 - h(s_i, t_c))

    with h of :func:`match_logs`. ``"code"`` divides by C and clips logarithms at -100.

    Args:
        logits: logits of the features s, ``[b, C]``.
        other: logits of the observations t, one for each class, ``[C, C]`` (or ``[b, C, C]``).
        labels: int ``[b]``.
        observed: bool ``[C]`` (or ``[b, C]``), False for absent observations, which have loss 0;
            None if all are present.
        form: ``"code"`` or ``"paper"``.

    Returns:
        ``[b]``.

    Raises:
        TypeError: if labels are not integers.
        ValueError: for another form, or a shape that does not fit.

    Example:
        >>> logits, other = jnp.zeros((1, 2)), jnp.zeros((2, 2))  # h = 1/2: 2 log 2
        >>> labels = jnp.array([0])
        >>> round(float(jc.objectives.discrimination(logits, other, labels, form="paper")[0]), 3)
        1.386

    Source: Berdoz, Singh, Jaggi and Raskar 2022, arXiv 2211.10943.
    """
    checks.one_of("form", form, CONSTANTS)
    checks.labels("labels", labels, (f"b={len(logits)}",), other.shape[-2])
    if other.shape[-2:] != 2 * logits.shape[-1:]:
        raise ValueError(
            f"other must have shape [C={logits.shape[-1]}, C] for logits [b, C], got "
            f"{list(other.shape)}"
        )
    if other.ndim == 3:
        log_h, log_rest = (x[:, 0] for x in match_logs(logits[:, None], other))
    else:
        log_h, log_rest = match_logs(logits, other)
    own = jax.nn.one_hot(labels, other.shape[-2], dtype=bool)
    cost = jnp.where(own, log_h, log_rest)
    if form == "code":
        cost = jnp.maximum(cost, SMALLEST_LOG) / other.shape[-2]
    if observed is not None:
        cost = jnp.where(observed, cost, 0)
    return -jnp.sum(cost, axis=-1)


def representation_sharing(
    distillation_weight: Any = 10.0,
    discrimination_weight: Any = 1.0,
    *,
    constants: str = "code",
    distillation_form: str | None = None,
) -> SharingObjective:
    """Builds the sum of cross-entropy, distillation to class means and discrimination.

        L = L_CE + lambda_KD L_KD + lambda_disc L_disc

    With ``discrimination_weight=0``, this is prototype sharing as in FedProto.

    Args:
        distillation_weight: lambda_KD, at least 0; may be traced.
        discrimination_weight: lambda_disc, at least 0; may be traced.
        constants: ``"code"`` or ``"paper"``, as for :func:`discrimination`. A lambda_disc of 1 in
            the code is 1/C in the paper; a lambda_KD of 10 is 10/d on the paper's squared distance.
        distillation_form: form of :func:`distillation`; None for the value of ``constants``.

    Returns:
        ``objective(features [b, d], logits [b, C], labels [b], received, head, key)`` for ONE
        client, which returns the loss of each example ``[b]`` and metrics ``[b]``. ``received``
        has the fields of :class:`jcollab.objectives.prototypes.Received`; ``head`` is the client's
        classifier, which also gets gradients from the observations.

    Raises:
        ValueError: for negative weights or unknown names; when the objective is called, if
            discrimination_weight is not 0 and there are no observations.

    Example:
        >>> objective = jc.objectives.representation_sharing(10.0, discrimination_weight=0.0)
        >>> received = jc.objectives.prototypes.Received(
        ...     means=jnp.zeros((2, 3)), known=jnp.ones(2, bool), observations=(), observed=()
        ... )
        >>> features, logits, labels = jnp.ones((1, 3)), jnp.zeros((1, 2)), jnp.array([1])
        >>> loss, metrics = objective(features, logits, labels, received, None, None)
        >>> round(float(loss[0]), 3), metrics["distillation"].tolist()  # log 2 + 10
        (10.693, [1.0])

    Source: Berdoz, Singh, Jaggi and Raskar 2022, arXiv 2211.10943; Tan et al. 2022 (FedProto),
    arXiv 2105.00243.
    """
    given = {"distillation_weight": distillation_weight}
    checks.finite(at_least=0, **given, discrimination_weight=discrimination_weight)
    checks.one_of("constants", constants, CONSTANTS)
    form = constants if distillation_form is None else distillation_form
    checks.one_of("distillation_form", form, DISTILLATIONS)

    def objective(
        features: Array, logits: Array, labels: Array, received: Any, head: Head, key: Array
    ) -> tuple[Array, Metrics]:
        # A weight of exactly 0 drops its term from the program; a traced weight cannot.
        total, metrics = _cross_entropy(logits, labels)
        if _asked(distillation_weight):
            pull = distillation(features, received.means, labels, received.known, form)
            total, metrics["distillation"] = total + distillation_weight * pull, pull
        if _asked(discrimination_weight):
            seen, there = jax.lax.stop_gradient(received.observations), received.observed
            if not len(seen):
                raise ValueError(
                    "discrimination_weight must be 0 if no observations are received, got "
                    f"{discrimination_weight}"
                )
            other = head(seen.reshape(-1, seen.shape[-1])).reshape(*seen.shape[:2], -1)
            if len(seen) > 1:  # every example compares with one of them
                which = jax.random.randint(key, labels.shape, 0, len(seen), jnp.int32)
                other, there = other[which], there[which]
            else:
                other, there = other[0], there[0]
            penalty = discrimination(logits, other, labels, there, constants)
            total, metrics["discrimination"] = total + discrimination_weight * penalty, penalty
        return total, metrics

    return objective


def federated_distillation(weight: Any = 10.0, *, form: str = "code") -> SharingObjective:
    """Builds the sum of cross-entropy and distillation to class means of the logits.

        L = L_CE + lambda_KD (1/C) ||z - zbar_y||^2            form "code"
        L = L_CE - lambda_KD sum_c softmax(zbar_y)_c log softmax(z)_c   form "cross_entropy"

    Args:
        weight: lambda_KD, at least 0; may be traced.
        form: form of :func:`distillation`. Jeong et al. use ``"cross_entropy"``, and means over
            only the other clients.

    Returns:
        An objective as returned by :func:`representation_sharing`, for messages that are logits.

    Raises:
        ValueError: for a negative weight or an unknown form.

    Example:
        >>> objective = jc.objectives.federated_distillation(weight=10.0)
        >>> received = jc.objectives.prototypes.Received(
        ...     means=jnp.ones((2, 2)), known=jnp.ones(2, bool), observations=(), observed=()
        ... )
        >>> features, logits, labels = None, jnp.zeros((1, 2)), jnp.array([1])
        >>> loss, metrics = objective(features, logits, labels, received, None, None)
        >>> round(float(loss[0]), 3), metrics["distillation"].tolist()  # log 2 + 10
        (10.693, [1.0])

    Source: Jeong et al. 2018, arXiv 1811.11479.
    """
    checks.finite(at_least=0, weight=weight)
    checks.one_of("form", form, DISTILLATIONS)

    def objective(
        features: Array, logits: Array, labels: Array, received: Any, head: Head, key: Array
    ) -> tuple[Array, Metrics]:
        total, metrics = _cross_entropy(logits, labels)
        if _asked(weight):
            if received.means.shape[-1] != logits.shape[-1]:
                raise ValueError(
                    f"messages must be logits of shape [C={logits.shape[-1]}], got "
                    f"[{received.means.shape[-1]}]"
                )
            pull = distillation(logits, received.means, labels, received.known, form)
            total, metrics["distillation"] = total + weight * pull, pull
        return total, metrics

    return objective


def independent() -> SharingObjective:
    """Builds the cross-entropy alone, in the form of :func:`representation_sharing`.

    Example:
        >>> objective = jc.objectives.independent()
        >>> loss, metrics = objective(None, jnp.zeros((1, 2)), jnp.array([1]), None, None, None)
        >>> round(float(loss[0]), 3)  # log 2
        0.693
    """
    return representation_sharing(0.0, 0.0)


def _asked(weight: Any) -> bool:
    return checks.traced(weight) or bool(weight != 0)


def _cross_entropy(logits: Array, labels: Array) -> tuple[Array, Metrics]:
    cost = cross_entropy(logits, labels, "labels")
    return cost, {"accuracy": is_right(logits, labels), "cross_entropy": cost}
