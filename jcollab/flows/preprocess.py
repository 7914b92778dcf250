"""From pixels to what a flow sees, and back: dequantization and logits."""

from __future__ import annotations

from typing import Any, Literal, get_args

import distrax
import jax
import numpy as np

from jcollab import checks

Array = jax.Array
Decoding = Literal["released", "corrected"]
BOUND = 0.9


class BoundedLogit(distrax.Block):
    """``y = logit(1/2 + bound (q - 1/2))``, so that q = 0 and q = 1 stay finite.

        log_det = sum over dimensions of  softplus(y) + softplus(-y) + log bound

    Args:
        bound: in (0, 1).

    Source: Dinh, Sohl-Dickstein and Bengio 2017, arXiv 1605.08803, section 4.1.
    """

    def __init__(self, bound: float = BOUND):
        inside = distrax.ScalarAffine(shift=(1 - bound) / 2, scale=bound)
        super().__init__(distrax.Chain([distrax.Inverse(distrax.Sigmoid()), inside]), 3)


def dequantize(x: Array, noise: Any, levels: int = 256) -> Array:
    """``q = ((levels - 1) x + noise) / levels``: gray level k of ``levels`` fills a cell of [0, 1].

    Args:
        x: in [0, 1].
        noise: in [0, 1); 1/2 is the middle of the cell.
        levels: at least 2.

    Example:
        >>> round(float(dequantize(jnp.float32(1.0), 0.5)), 4)
        0.998
    """
    return ((levels - 1) * x + noise) / levels


def requantize(q: Array, noise: Any, levels: int = 256) -> Array:
    """Undoes :func:`dequantize` with the same noise."""
    return (levels * q - noise) / (levels - 1)


def check_values(x: Any) -> None:
    """TypeError unless images are floating point; ValueError for known values outside of [0, 1]."""
    checks.floats("x", x)
    if not checks.traced(x):
        low, high = np.min(np.asarray(x)), np.max(np.asarray(x))
        if not (low >= 0 and high <= 1):
            raise ValueError(f"x must be in [0, 1], got values from {low:g} to {high:g}")


def to_logits(x: Array, noise: Any, decoding: Decoding, levels: int) -> tuple[Array, Array]:
    """Images in [0, 1] as logits, and the log-determinant ``[b]``.

    As released, the determinant is that of ``q -> y``; corrected, that of ``x -> y``, with
    ``D log((levels - 1) / levels)`` more.

    Raises:
        TypeError: if x is not floating point.
        ValueError: if values that are known are not in [0, 1].
    """
    check_values(x)
    y, log_det = BoundedLogit().forward_and_log_det(dequantize(x, noise, levels))
    if decoding == "corrected":
        log_det = log_det + x[0].size * np.log((levels - 1) / levels)
    return y, log_det


def from_logits(y: Array, noise: Any, decoding: Decoding, levels: int) -> Array:
    """Images of logits.

    As released, ``sigmoid(y)``, which leaves the contrast at .9: images in (.05, .95). Corrected,
    everything is undone: ``from_logits(to_logits(x)) = x`` with the same noise, within half a gray
    level with its mean. Values then may leave [0, 1] by 1/18.
    """
    if decoding == "released":
        return jax.nn.sigmoid(y)
    return requantize(BoundedLogit().inverse(y), noise, levels)


def check_decoding(decoding: Any, levels: Any) -> None:
    """ValueError for a decoding that there is not, or too few levels."""
    checks.one_of("decoding", decoding, get_args(Decoding))
    checks.count("levels", levels, 2)
