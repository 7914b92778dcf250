"""Predictions of ensembles, their uncertainty, and scores that detect foreign points.

The first axis contains the members: logits are ``[M, ..., C]``, or ``[M, ..., 1]`` for two classes
with a single logit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks, layout
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
    """Builds a function that evaluates all members of a state, or stacked models, on common points.

    Args:
        predict: ``predict(params, x [b, ...]) -> logits [b, C]`` of one model; for a model with
            state, ``jc.stateful(predict)`` of ``predict(params, model_state, x)``, which receives
            the state of the client.
        batch_size: number of points in one forward pass, which bounds the memory.

    Returns:
        ``logits(state, x [N, ...]) -> [M, N, C]``.

    Raises:
        TypeError: if ``predict`` is not callable.
        ValueError: if batch_size < 1.

    Example:
        >>> logits = jc.algorithms.ensembles.member_logits(lambda params, x: x @ params)
        >>> models = jnp.zeros((5, 2, 3))  # five members with 2 inputs and 3 classes
        >>> logits(models, jnp.ones((4, 2))).shape
        (5, 4, 3)
    """
    lift_predict(predict)
    checks.count("batch_size", batch_size)

    def build(get: Callable[[], Predict]) -> Callable:
        def one(params: PyTree, model_state: PyTree, x: Any) -> Array:
            look, total = lift_predict(get()), len(x)
            parts = -(-total // batch_size)
            if parts == 1:
                return look(params, model_state, x)
            # Equal parts for a loop: the last one is filled up with points from the start, whose
            # second results are cut off.
            size = -(-total // parts)
            x = x[jnp.arange(parts * size) % total].reshape(parts, size, *x.shape[1:])
            logits = jax.lax.map(lambda part: look(params, model_state, part), x)
            return logits.reshape(parts * size, -1)[:total]

        return jax.jit(per_model(one), compiler_options=layout.compiler_options())

    def logits(state: State | PyTree, x: Any) -> Array:
        # compiled once for a function, however often member_logits is called with it
        each = program(predict, ("member_logits", batch_size), build)
        if not isinstance(state, State):
            return each(state, (), x)
        return each(params_of(state), model_state_of(state), x)

    return logits


def probabilities(logits: Any) -> Array:
    """Computes the softmax of logits; one logit ``[..., 1]`` gives two classes ``[..., 2]``.

    Args:
        logits: ``[..., C]`` or ``[..., 1]``.

    Returns:
        Probabilities ``[..., C]`` (``[..., 2]`` for one logit).

    Raises:
        ValueError: if there is no axis of classes.

    Example:
        >>> jc.algorithms.ensembles.probabilities([[0.0], [50.0]]).round(2).tolist()
        [[0.5, 0.5], [0.0, 1.0]]
    """
    if np.ndim(logits) < 1 or not np.shape(logits)[-1]:
        raise ValueError(f"logits must be [..., C], C >= 1, got {list(np.shape(logits))}")
    logits = jnp.asarray(logits)
    # sigmoid(z) = softmax([0, z])[1]
    if logits.shape[-1] == 1:
        logits = jnp.concatenate([jnp.zeros_like(logits), logits], -1)
    return jax.nn.softmax(logits)


def ensemble_probabilities(logits: Any) -> Array:
    """Averages the probabilities of the members: ``p = (1/M) sum_m softmax(logits_m)``.

    Args:
        logits: ``[M, ..., C]`` or ``[M, ..., 1]``.

    Returns:
        ``[..., C]`` (``[..., 2]`` for one logit); its argmax is the prediction of the ensemble.

    Raises:
        ValueError: if the axis of members or of classes is missing.

    Example:
        >>> sure_of_0, sure_of_1 = [50.0, 0.0], [0.0, 50.0]
        >>> jc.algorithms.ensembles.ensemble_probabilities([sure_of_0, sure_of_1]).tolist()
        [0.5, 0.5]
    """
    if np.ndim(logits) < 2:
        raise ValueError(f"logits must be [M, ..., C], got shape {list(np.shape(logits))}")
    return probabilities(logits).mean(0)


def entropy(p: Any) -> Array:
    """Computes the entropy ``-sum_c p_c log p_c`` in nats, between 0 and log C.

    Args:
        p: probabilities ``[..., C]``.

    Returns:
        ``[...]``.

    Example:
        >>> jc.algorithms.ensembles.entropy([[1.0, 0.0], [0.5, 0.5]]).round(3).tolist()
        [0.0, 0.693...]
    """
    return jnp.sum(jax.scipy.special.entr(jnp.asarray(p)), -1)


def mutual_information(logits: Any) -> Array:
    """Computes the entropy of the mean prediction minus the mean entropy of the members.

    It is the part of the uncertainty that comes from differences between members: 0 if all members
    predict the same probabilities.

    Args:
        logits: ``[M, ..., C]`` or ``[M, ..., 1]``.

    Returns:
        ``[...]``, in nats.

    Example:
        >>> unsure, sure_of_0, sure_of_1 = [0.0, 0.0], [50.0, 0.0], [0.0, 50.0]
        >>> mutual_information = jc.algorithms.ensembles.mutual_information
        >>> round(float(mutual_information([unsure, unsure])), 3)
        0.0
        >>> round(float(mutual_information([sure_of_0, sure_of_1])), 3)  # log 2
        0.693
    """
    return entropy(ensemble_probabilities(logits)) - entropy(probabilities(logits)).mean(0)


def agreement_rate(logits: Any) -> Array:
    """Computes how often each pair of members predicts the same class.

    Args:
        logits: ``[M, N, C]`` or ``[M, N, 1]``.

    Returns:
        Shares of the points ``[M, M]``, with ones on the diagonal.

    Example:
        >>> logits = jnp.array([[[1.0], [1.0]], [[1.0], [-1.0]]])  # M = 2 members, N = 2 points
        >>> jc.algorithms.ensembles.agreement_rate(logits).tolist()
        [[1.0, 0.5], [0.5, 1.0]]
    """
    predicted = jnp.argmax(probabilities(logits), -1)
    return jnp.mean(predicted[:, None] == predicted[None], -1)


def accuracies(logits: Any, y: Any) -> tuple[Array, Array]:
    """Computes the accuracy of every member and of the ensemble.

    Args:
        logits: ``[M, N, C]`` or ``[M, N, 1]``.
        y: labels, int ``[N]``.

    Returns:
        Accuracies ``[M]`` of the members, and ``[]`` of their mean prediction.

    Raises:
        TypeError: if labels are not integers.
        ValueError: if shapes do not match, or a label is out of range.

    Example:
        >>> logits = jnp.array([[[9.0], [9.0]], [[1.0], [-1.0]]])  # the first member is surer
        >>> members, ensemble = jc.algorithms.ensembles.accuracies(logits, y=jnp.array([1, 0]))
        >>> members.tolist(), ensemble.tolist()
        ([0.5, 1.0], 0.5)
    """
    if np.ndim(logits) != 3:
        raise ValueError(f"logits must be [M, N, C], got {list(np.shape(logits))}")
    p = probabilities(logits)
    checks.labels("y", y, p.shape[1:2], p.shape[-1])
    return is_right(p, y).mean(-1), is_right(p.mean(0), y).mean()


def ood_score(logits: Any, score: str = "entropy") -> Array:
    """Computes a score of each point that is larger for points unlike the training data.

    Args:
        logits: ``[M, N, C]`` or ``[M, N, 1]``.
        score: ``"entropy"`` (of the mean prediction), ``"max_probability"`` (1 minus the largest
            probability of the mean prediction), or ``"disagreement"``
            (:func:`mutual_information`).

    Returns:
        ``[N]``.

    Raises:
        ValueError: for another score.

    Example:
        >>> logits = jnp.array([[[50.0], [0.0]]])  # one member, sure of the first of two points
        >>> jc.algorithms.ensembles.ood_score(logits, "max_probability").tolist()
        [0.0, 0.5]
    """
    checks.one_of("score", score, SCORES)
    if score == "disagreement":
        return mutual_information(logits)
    p = ensemble_probabilities(logits)
    return entropy(p) if score == "entropy" else 1 - p.max(-1)


def ood_auroc(inside: Any, outside: Any) -> float:
    """Computes the area under the ROC curve of a score that should be larger outside.

    Args:
        inside: scores of points from the training distribution, ``[N]``.
        outside: scores of points from elsewhere, ``[N']``.

    Returns:
        A number in [0, 1]; 1/2 for a score that does not distinguish the points.

    Raises:
        ValueError: if one of them is empty.

    Example:
        >>> jc.algorithms.ensembles.ood_auroc(inside=[0.1, 0.2], outside=[0.3, 0.4])
        1.0
    """
    # imported here: importing sklearn takes about a second
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
    """Computes Monte Carlo dropout: an ensemble of predictions of ONE model with active dropout.

    Args:
        sample: ``sample(params, x, key) -> logits [N, C]``, random as in training; in flax
            ``lambda params, x, key: model.apply(params, x, train=True, rngs={"dropout": key})``.
        params: parameters of one model.
        x: points ``[N, ...]``.
        key: random key.
        num: M, at least 1.

    Returns:
        Logits ``[M, N, C]``.

    Raises:
        ValueError: if num < 1.

    Example:
        >>> def sample(params, x, key):
        ...     return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x, 0) @ params
        >>> x, key = jnp.ones((4, 2)), jax.random.key(0)
        >>> jc.algorithms.ensembles.dropout_logits(sample, jnp.ones((2, 3)), x, key, num=5).shape
        (5, 4, 3)

    Source: Gal and Ghahramani 2016, arXiv 1506.02142.
    """
    checks.count("num", num)
    # one after the other: the memory of one forward pass, however large M is
    return jax.lax.map(lambda k: sample(params, x, k), jax.random.split(key, num))
