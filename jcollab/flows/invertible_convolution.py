"""Invertible 1 x 1 convolutions, with a full matrix or with its LU factors."""

from __future__ import annotations

from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

Array = jax.Array


class InvertibleConvolution(distrax.Bijector):
    """An invertible 1 x 1 convolution with a full matrix.

        y_o = sum_i W_oi x_i at every place,   log_det = height width log|det W|

    Args:
        weight: W, ``[channels, channels]``, of full rank.

    Example:
        >>> swap = jc.flows.InvertibleConvolution(jnp.array([[0.0, 2.0], [1.0, 0.0]]))
        >>> y, log_det = swap.forward_and_log_det(jnp.array([[[3.0, 5.0]]]))
        >>> y.tolist(), round(float(log_det), 2)  # log 2 for the one place
        ([[[10.0, 3.0]]], 0.69)

    Source: Kingma and Dhariwal 2018, arXiv 1807.03039.
    """

    def __init__(self, weight: Array):
        super().__init__(event_ndims_in=3, is_constant_jacobian=True)
        self._weight = weight

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        """Returns y ``[..., height, width, channels]`` and its log-determinant ``[...]``."""
        return _everywhere(x, self._weight), self._log_det(x)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Returns x ``[..., height, width, channels]`` and its log-determinant ``[...]``."""
        return _everywhere(y, jnp.linalg.inv(self._weight)), -self._log_det(y)

    def _log_det(self, x: Array) -> Array:
        return _spread(jnp.linalg.slogdet(self._weight)[1], x)


class LUConvolution(distrax.Bijector):
    """An invertible 1 x 1 convolution with an LU-factorized matrix.

        W = P L (U + diag(sign exp(log_diagonal))),   log|det W| = sum log_diagonal

    Args:
        lower: ``[channels, channels]``; L has its entries below the diagonal and 1 on it.
        upper: ``[channels, channels]``; U has its entries above the diagonal.
        log_diagonal: ``[channels]``.
        permutation: P as int ``[channels]``: ``(P v)_i = v[permutation_i]``.
        sign: -1 or 1, ``[channels]``.

    Example:
        >>> zeros = jnp.zeros((2, 2))
        >>> swap = jc.flows.LUConvolution(
        ...     zeros, zeros, jnp.zeros(2), permutation=jnp.array([1, 0]), sign=jnp.ones(2)
        ... )
        >>> swap.weight().tolist()
        [[0.0, 1.0], [1.0, 0.0]]

    Source: Kingma and Dhariwal 2018, arXiv 1807.03039, section 3.2.
    """

    def __init__(
        self, lower: Array, upper: Array, log_diagonal: Array, permutation: Any, sign: Any
    ):
        super().__init__(event_ndims_in=3, is_constant_jacobian=True)
        self._lower = jnp.tril(lower, -1) + jnp.eye(len(lower), dtype=lower.dtype)
        self._upper = jnp.triu(upper, 1) + jnp.diag(sign * jnp.exp(log_diagonal))
        self._log_diagonal = log_diagonal
        self._permutation = permutation

    def weight(self) -> Array:
        """Computes W, ``[channels, channels]``."""
        # the inverse uses the factors themselves, so the product must be accurate
        product = jnp.matmul(self._lower, self._upper, precision="highest")
        return product[self._permutation]

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        """Returns y ``[..., height, width, channels]`` and its log-determinant ``[...]``."""
        return _everywhere(x, self.weight()), _spread(self._log_diagonal.sum(), x)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Returns x ``[..., height, width, channels]`` and its log-determinant ``[...]``."""
        # two triangular solves are more accurate than the inverse of the product
        back = jnp.argsort(self._permutation)
        eye = jnp.eye(len(self._lower), dtype=self._lower.dtype)
        half = jax.scipy.linalg.solve_triangular(self._lower, eye, lower=True, unit_diagonal=True)
        inverse = jax.scipy.linalg.solve_triangular(self._upper, half)
        return _everywhere(y[..., back], inverse), _spread(-self._log_diagonal.sum(), y)


def random_rotation(key: Array, channels: int, dtype: Any = jnp.float32) -> Array:
    """Draws an orthogonal matrix ``[channels, channels]``, Q of the QR of a Gaussian matrix."""
    return jnp.linalg.qr(jax.random.normal(key, (channels, channels), dtype))[0]


def factors(weight: Any) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Computes the LU factors of a matrix for :class:`LUConvolution`.

    Args:
        weight: ``[c, c]``, of full rank.

    Returns:
        The trained factors ``{"lower", "upper", "log_diagonal"}``, with 0 for unused entries, the
        permutation ``[c]`` and the signs ``[c]``.

    Raises:
        ValueError: if weight is not a square matrix.
    """
    weight = np.asarray(weight)
    if weight.ndim != 2 or weight.shape[0] != weight.shape[1]:
        raise ValueError(f"weight must be a square matrix, got shape {list(weight.shape)}")
    order, lower, upper = scipy.linalg.lu(weight, p_indices=True)
    diagonal = np.diag(upper)
    trained = {
        "lower": np.tril(lower, -1),
        "upper": np.triu(upper, 1),
        "log_diagonal": np.log(np.abs(diagonal)),
    }
    return trained, order, np.sign(diagonal)


def _everywhere(x: Array, weight: Array) -> Array:
    # at the default precision of accelerators, the inverse would not recover the input
    return jnp.einsum("...i,oi->...o", x, weight, precision="highest")


def _spread(log_det: Array, x: Array) -> Array:
    return jnp.broadcast_to(x.shape[-3] * x.shape[-2] * log_det, x.shape[:-3])
