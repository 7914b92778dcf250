"""Dequantization of pixels and logits, the preprocessing of Glow and its inverse."""

from __future__ import annotations

from typing import Any, Literal, get_args

import distrax
import jax
import numpy as np

from jcollab import checks

Array = jax.Array
Decoding = Literal["released", "corrected"]
BOUND = 0.9  # logits lie in (logit 0.05, logit 0.95)


class BoundedLogit(distrax.Block):
    """A logit that stays finite at 0 and 1.

        y = logit(1/2 + bound (q - 1/2))
        log_det = sum over dimensions of  softplus(y) + softplus(-y) + log bound

    Args:
        bound: in (0, 1).

    Example:
        >>> y = jc.flows.BoundedLogit().forward(jnp.array([[[0.0, 0.5, 1.0]]]))
        >>> [round(float(value), 2) for value in y[0, 0]]  # logits of 0.05, 0.5 and 0.95
        [-2.94, 0.0, 2.94]

    Source: Dinh, Sohl-Dickstein and Bengio 2017, arXiv 1605.08803, section 4.1.
    """

    def __init__(self, bound: float = BOUND):
        inside = distrax.ScalarAffine(shift=(1 - bound) / 2, scale=bound)
        super().__init__(distrax.Chain([distrax.Inverse(distrax.Sigmoid()), inside]), 3)


def dequantize(x: Array, noise: Any, levels: int = 256) -> Array:
    """Adds noise within gray levels: ``q = ((levels - 1) x + noise) / levels``.

    Gray level k fills the cell ``[k, k + 1) / levels``, so that q is continuous in [0, 1].

    Args:
        x: in [0, 1], multiples of ``1 / (levels - 1)``.
        noise: in [0, 1); 1/2 is the middle of the cell.
        levels: at least 2.

    Example:
        >>> round(float(dequantize(jnp.float32(1.0), 0.5)), 4)
        0.998
    """
    return ((levels - 1) * x + noise) / levels


def requantize(q: Array, noise: Any, levels: int = 256) -> Array:
    """Inverts :func:`dequantize`, given the same noise."""
    return (levels * q - noise) / (levels - 1)


def check_values(x: Any) -> None:
    """Checks that images are floating point and, unless they are traced, lie in [0, 1].

    Raises:
        TypeError: if x is not floating point.
        ValueError: if a value is outside [0, 1].
    """
    checks.floats("x", x)
    if not checks.traced(x):
        low, high = np.min(np.asarray(x)), np.max(np.asarray(x))
        if not (low >= 0 and high <= 1):  # in this form, NaN is rejected, too
            raise ValueError(f"x must be in [0, 1], got values from {low:g} to {high:g}")


def to_logits(x: Array, noise: Any, decoding: Decoding, levels: int) -> tuple[Array, Array]:
    """Converts images x in [0, 1] to logits y, and computes the log-determinant ``[b]``.

    The log-determinant of ``"released"`` belongs to ``q -> y``. ``"corrected"`` adds
    ``D log((levels - 1) / levels)``, which makes it the log-determinant of ``x -> y``.

    Raises:
        TypeError: if x is not floating point.
        ValueError: if values that are not traced are outside [0, 1].
    """
    check_values(x)
    y, log_det = BoundedLogit().forward_and_log_det(dequantize(x, noise, levels))
    if decoding == "corrected":
        # of x -> q, which scales every dimension by (levels - 1) / levels
        log_det = log_det + x[0].size * np.log((levels - 1) / levels)
    return y, log_det


def from_logits(y: Array, noise: Any, decoding: Decoding, levels: int) -> Array:
    """Converts logits to images.

    ``"released"`` is ``sigmoid(y)``, which leaves the contrast at 0.9: images in (0.05, 0.95).
    ``"corrected"`` inverts all of :func:`to_logits`: ``from_logits(to_logits(x)) = x`` with the
    same noise, and within half a gray level with the noise's mean. Its values may leave [0, 1]
    by 1/18.
    """
    if decoding == "released":
        return jax.nn.sigmoid(y)
    return requantize(BoundedLogit().inverse(y), noise, levels)


def check_decoding(decoding: Any, levels: Any) -> None:
    """Raises ValueError if the decoding is unknown or ``levels`` is below 2."""
    checks.one_of("decoding", decoding, get_args(Decoding))
    checks.count("levels", levels, 2)
