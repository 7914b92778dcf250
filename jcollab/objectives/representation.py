"""Losses that learn from class prototypes of other clients: distillation and discrimination.

Both come with the constants of the released code and with those of the paper; the two differ by
powers of the number of features d and of classes C:

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
SMALLEST_LOG = -100.0  # what the binary cross-entropy of the released code cuts logarithms off at
DISTILLATIONS = ("code", "squared", "paper", "cross_entropy")
CONSTANTS = ("code", "paper")


def distillation(
    values: Array, targets: Array, labels: Array, known: Array | None = None, form: str = "code"
) -> Array:
    """How far values lie from the prototype of their class.

        code  (1/d) ||v - t_y||^2    squared  ||v - t_y||^2    paper  ||v - t_y||
        cross_entropy  -sum_c softmax(t_y)_c log softmax(v)_c

    Targets are constants. At distance 0 the gradient of the norm is taken as 0.

    Args:
        values: features or logits, ``[b, d]``.
        targets: prototypes, ``[C, d]``.
        labels: int ``[b]``.
        known: bool ``[C]``; classes without a prototype cost 0 and have gradient 0. None for all.
        form: which of the above; the last is for logits.

    Returns:
        ``[b]``.

    Raises:
        TypeError: if labels are no integers.
        ValueError: for another form, or a shape that does not fit.

    Source: Berdoz, Singh, Jaggi and Raskar 2022, arXiv 2211.10943; of logits, Jeong et al. 2018,
    arXiv 1811.11479.
    """
    checks.one_of("form", form, DISTILLATIONS)
    checks.labels("labels", labels, (f"b={len(values)}",), len(targets))
    if targets.shape[1:] != values.shape[1:]:
        raise ValueError(
            f"targets must be [C, d={values.shape[-1]}], as values are, got {list(targets.shape)}"
        )
    wanted = jax.lax.stop_gradient(targets)[labels]
    there = None if known is None else known[labels]
    if there is not None:
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
            positive = square > 0
            cost = jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)
    return cost if there is None else jnp.where(there, cost, 0)


def match_logs(logits: Array, other: Array) -> tuple[Array, Array]:
    """``log h`` and ``log(1 - h)`` of the chance that draws from two softmaxes coincide.

        h(s, t) = sum_c p_c(s) p_c(t),    1 - h = sum_c p_c(s) (1 - p_c(t))

    Both stay finite where h rounds to 0 or to 1.

    Args:
        logits: of s, ``[..., b, C]``.
        other: of t, ``[..., k, C]``.

    Returns:
        Two arrays ``[..., b, k]``.
    """
    p, q = jax.nn.log_softmax(logits), jax.nn.log_softmax(other)
    diagonal = jnp.eye(q.shape[-1], dtype=bool)
    rest = jax.nn.logsumexp(jnp.where(diagonal, -jnp.inf, q[..., None, :]), axis=-1)
    log_h = jax.nn.logsumexp(p[..., :, None, :] + q[..., None, :, :], axis=-1)
    log_rest = jax.nn.logsumexp(p[..., :, None, :] + rest[..., None, :, :], axis=-1)
    return log_h, log_rest


def discrimination(
    logits: Array, other: Array, labels: Array, observed: Array | None = None, form: str = "code"
) -> Array:
    """Separates the observation of the own class from those of other classes, by the classifier.

        l(i) = -log h(s_i, t_{y_i}) - sum_{c != y_i} log(1 - h(s_i, t_c))

    with h of :func:`match_logs`; ``"code"`` divides by C and cuts logarithms off at -100.

    Args:
        logits: of the features s, ``[b, C]``.
        other: logits of the observations, one for each class, ``[C, C]`` (or ``[b, C, C]``).
        labels: int ``[b]``.
        observed: bool ``[C]`` (or ``[b, C]``); pairs with an absent one cost 0. None for all.
        form: ``"code"`` or ``"paper"``.

    Returns:
        ``[b]``.

    Raises:
        TypeError: if labels are no integers.
        ValueError: for another form, or a shape that does not fit.

    Source: Berdoz, Singh, Jaggi and Raskar 2022, arXiv 2211.10943.
    """
    checks.one_of("form", form, CONSTANTS)
    checks.labels("labels", labels, (f"b={len(logits)}",), other.shape[-2])
    if other.shape[-2:] != 2 * logits.shape[-1:]:
        raise ValueError(
            f"other must be [C={logits.shape[-1]}, C], as logits are [b, C], got "
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
    """Cross-entropy, distillation to shared class means and discrimination of observations.

        L = L_CE + lambda_KD L_KD + lambda_disc L_disc

    With ``discrimination_weight=0`` this is prototype sharing of FedProto's kind.

    Args:
        distillation_weight: lambda_KD, at least 0; may be traced.
        discrimination_weight: lambda_disc, at least 0; may be traced.
        constants: ``"code"`` or ``"paper"``, see the module. lambda_disc of 1 in the code is 1/C
            in the paper, lambda_KD of 10 is 10/d on the paper's squared distance.
        distillation_form: a form of :func:`distillation`; None for that of ``constants``.

    Returns:
        ``objective(features [b, d], logits [b, C], labels [b], received, head, key)`` for ONE
        client, which returns the loss of each example ``[b]`` and metrics ``[b]``. ``received``
        has the fields of :class:`jcollab.objectives.prototypes.Received`; ``head`` is the client's
        own classifier, whose weights get gradients from the observations too.

    Raises:
        ValueError: for negative weights or unknown names; when it is used, if discrimination is
            asked for and no observations are received.

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
        total, metrics = _cross_entropy(logits, labels)
        if _asked(distillation_weight):
            pull = distillation(features, received.means, labels, received.known, form)
            total, metrics["distillation"] = total + distillation_weight * pull, pull
        if _asked(discrimination_weight):
            seen, there = jax.lax.stop_gradient(received.observations), received.observed
            if not len(seen):
                raise ValueError(
                    f"discrimination_weight is {discrimination_weight}, but no observations are "
                    "received; it must be 0, or observations must be sent"
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
    """Cross-entropy and distillation to shared class means of the logits.

        L = L_CE + lambda_KD (1/C) ||z - zbar_y||^2            form "code"
        L = L_CE - lambda_KD sum_c softmax(zbar_y)_c log softmax(z)_c   form "cross_entropy"

    Args:
        weight: lambda_KD, at least 0; may be traced.
        form: of :func:`distillation`. Jeong et al. take ``"cross_entropy"`` and means over the
            other clients only.

    Returns:
        An objective as by :func:`representation_sharing`, for messages that are logits.

    Raises:
        ValueError: for a negative weight or an unknown form.

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
                    f"messages must be logits, [C={logits.shape[-1]}] each, got "
                    f"[{received.means.shape[-1]}]"
                )
            pull = distillation(logits, received.means, labels, received.known, form)
            total, metrics["distillation"] = total + weight * pull, pull
        return total, metrics

    return objective


def independent() -> SharingObjective:
    """Cross-entropy alone, in the form of :func:`representation_sharing`."""
    return representation_sharing(0.0, 0.0)


def _asked(weight: Any) -> bool:
    return checks.traced(weight) or bool(weight != 0)


def _cross_entropy(logits: Array, labels: Array) -> tuple[Array, Metrics]:
    cost = cross_entropy(logits, labels, "labels")
    return cost, {"accuracy": is_right(logits, labels), "cross_entropy": cost}
