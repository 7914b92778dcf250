"""Predictions of an ensemble, how uncertain they are, and scores of points from elsewhere.

Members lead: logits are ``[M, ..., C]``, or ``[M, ..., 1]`` where one logit stands for two classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks
from jcollab.core import (
    Array,
    Predict,
    PyTree,
    State,
    is_right,
    lift_predict,
    model_state_of,
    params_of,
    program,
)
from jcollab.metrics import per_model

SCORES = ("entropy", "max_probability", "disagreement")


def member_logits(
    predict: Predict, *, batch_size: int = 500
) -> Callable[[State | PyTree, Any], Array]:
    """Builds the predictions of all members of a state (or of stacked models) on common points.

    Args:
        predict: ``predict(params, x [b, ...]) -> logits [b, C]`` of one model; of a model with
            state, ``jc.stateful(predict)`` of ``predict(params, model_state, x)``, whose state is
            that of the clients.
        batch_size: points that a model sees at a time, which bounds the memory.

    Returns:
        ``logits(state, x [N, ...]) -> [M, N, C]``.

    Raises:
        TypeError: if ``predict`` is not callable.
        ValueError: if batch_size < 1.
    """
    lift_predict(predict)
    checks.count("batch_size", batch_size)

    def build(get: Callable[[], Predict]) -> Callable:
        def one(params: PyTree, model_state: PyTree, x: Any) -> Array:
            look, total = lift_predict(get()), len(x)
            parts = -(-total // batch_size)
            if parts == 1:
                return look(params, model_state, x)
            size = -(-total // parts)
            x = x[jnp.arange(parts * size) % total].reshape(parts, size, *x.shape[1:])
            logits = jax.lax.map(lambda part: look(params, model_state, part), x)
            return logits.reshape(parts * size, -1)[:total]

        return jax.jit(per_model(one))

    def logits(state: State | PyTree, x: Any) -> Array:
        each = program(predict, ("member_logits", batch_size), build)
        if not isinstance(state, State):
            return each(state, (), x)
        return each(params_of(state), model_state_of(state), x)

    return logits


def probabilities(logits: Any) -> Array:
    """Softmax ``[..., C]``; one logit ``[..., 1]`` becomes two classes ``[..., 2]``.

    Raises:
        ValueError: if there is no axis of classes.
    """
    if jnp.ndim(logits) < 1 or not jnp.shape(logits)[-1]:
        raise ValueError(f"logits must be [..., C], C >= 1, got {list(jnp.shape(logits))}")
    logits = jnp.asarray(logits)
    if logits.shape[-1] == 1:
        logits = jnp.concatenate([jnp.zeros_like(logits), logits], -1)
    return jax.nn.softmax(logits)


def ensemble_probabilities(logits: Any) -> Array:
    """Mean over members of their probabilities: ``p = (1/M) sum_m softmax(logits_m)``.

    Args:
        logits: ``[M, ..., C]`` or ``[M, ..., 1]``.

    Returns:
        ``[..., C]`` (``[..., 2]`` for one logit); its argmax is what the ensemble predicts.

    Raises:
        ValueError: if there is no axis of members and one of classes.
    """
    if jnp.ndim(logits) < 2:
        raise ValueError(f"logits must be [M, ..., C], got shape {list(jnp.shape(logits))}")
    return probabilities(logits).mean(0)


def entropy(p: Any) -> Array:
    """``-sum_c p_c log p_c`` of probabilities ``[..., C]``, in nats, from 0 to log C.

    Example:
        >>> jc.algorithms.ensembles.entropy([[1.0, 0.0], [0.5, 0.5]]).round(3).tolist()
        [0.0, 0.693...]
    """
    return jnp.sum(jax.scipy.special.entr(jnp.asarray(p)), -1)


def mutual_information(logits: Any) -> Array:
    """Entropy of the mean less the mean entropy: what members' differences make, ``[...]``.

    Args:
        logits: ``[M, ..., C]`` or ``[M, ..., 1]``.
    """
    return entropy(ensemble_probabilities(logits)) - entropy(probabilities(logits)).mean(0)


def agreement_rate(logits: Any) -> Array:
    """How often two members predict the same class, ``[M, M]`` with ones on the diagonal.

    Args:
        logits: ``[M, N, C]`` or ``[M, N, 1]``.
    """
    predicted = jnp.argmax(probabilities(logits), -1)
    return jnp.mean(predicted[:, None] == predicted[None], -1)


def accuracies(logits: Any, y: Any) -> tuple[Array, Array]:
    """Accuracy of every member ``[M]`` and of the ensemble ``[]``.

    Args:
        logits: ``[M, N, C]`` or ``[M, N, 1]``.
        y: labels, int ``[N]``.

    Raises:
        TypeError: if labels are no integers.
        ValueError: if a shape does not fit, or a label is out of range.
    """
    if jnp.ndim(logits) != 3:
        raise ValueError(f"logits must be [M, N, C], got {list(jnp.shape(logits))}")
    p = probabilities(logits)
    checks.labels("y", y, p.shape[1:2], p.shape[-1])
    return is_right(p, y).mean(-1), is_right(p.mean(0), y).mean()


def ood_score(logits: Any, score: str = "entropy") -> Array:
    """How foreign each point looks to an ensemble; larger is more foreign.

    Args:
        logits: ``[M, N, C]`` or ``[M, N, 1]``.
        score: ``"entropy"`` of the mean prediction, ``"max_probability"`` (1 less the largest one
            of the mean), or ``"disagreement"`` (:func:`mutual_information`).

    Returns:
        ``[N]``.

    Raises:
        ValueError: for another score.
    """
    checks.one_of("score", score, SCORES)
    if score == "disagreement":
        return mutual_information(logits)
    p = ensemble_probabilities(logits)
    return entropy(p) if score == "entropy" else 1 - p.max(-1)


def ood_auroc(inside: Any, outside: Any) -> float:
    """Area under the ROC curve of a score that should be larger outside; 1/2 is chance.

    Args:
        inside: scores of points from the training distribution, ``[N]``.
        outside: of points from elsewhere, ``[N']``.

    Raises:
        ValueError: if one of them is empty.

    Example:
        >>> jc.algorithms.ensembles.ood_auroc(inside=[0.1, 0.2], outside=[0.3, 0.4])
        1.0
    """
    from sklearn.metrics import roc_auc_score

    inside, outside = np.ravel(inside), np.ravel(outside)
    for name, scores in (("inside", inside), ("outside", outside)):
        if not scores.size:
            raise ValueError(f"{name} must have at least one score, got none")
    label = np.repeat([0, 1], [len(inside), len(outside)])
    return float(roc_auc_score(label, np.concatenate([inside, outside])))


def dropout_logits(
    sample: Callable[[PyTree, Any, Array], Array], params: PyTree, x: Any, key: Array, num: int = 20
) -> Array:
    """Monte Carlo dropout: predictions of ONE model with dropout at work, as an ensemble.

    Args:
        sample: ``sample(params, x, key) -> logits [N, C]``, at random as in training; in flax
            ``lambda params, x, key: model.apply(params, x, train=True, rngs={"dropout": key})``.
        params: of one model.
        x: points ``[N, ...]``.
        key: random key.
        num: M, at least 1.

    Returns:
        Logits ``[M, N, C]``.

    Raises:
        ValueError: if num < 1.

    Source: Gal and Ghahramani 2016, arXiv 1506.02142.
    """
    checks.count("num", num)
    return jax.lax.map(lambda k: sample(params, x, k), jax.random.split(key, num))
