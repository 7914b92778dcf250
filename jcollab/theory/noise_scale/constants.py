"""The constants of the bound on the noise, fitted along a trajectory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Fit(NamedTuple):
    """The constants of the bound ``noise <= M signal + sigma^2`` along a trajectory.

    Attributes:
        noise_ratio: M.
        variance: sigma^2.
    """

    noise_ratio: float
    variance: float


def fit(signal: Any, noise: Any, *, weights: Any = None) -> Fit:
    """Fits ``noise = M signal + sigma^2`` by non-negative least squares.

    Args:
        signal: ``|grad f|^2`` along a trajectory, ``[T]``.
        noise: ``E|xi|^2``, ``[T]``.
        weights: of the squared errors, ``[T]``; None for equal weights. ``1 / noise^2`` makes the
            errors relative, so that the end of a trajectory counts as much as its start.

    Returns:
        M and sigma^2, both at least 0.

    Raises:
        ValueError: if there are fewer than 2 points, or lengths differ.

    Example:
        >>> result = jc.theory.noise_scale.fit(signal=[4.0, 1.0], noise=[9.0, 3.0])
        >>> round(result.noise_ratio, 3), round(result.variance, 3)  # 9 = 2 * 4 + 1
        (2.0, 1.0)
    """
    import scipy.optimize  # slow to import

    x, y = np.asarray(signal, float), np.asarray(noise, float)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise ValueError(
            f"signal and noise must have one shape [T] with T >= 2, got {x.shape} and {y.shape}"
        )
    root = np.ones_like(x) if weights is None else np.sqrt(np.asarray(weights, float))
    if root.shape != x.shape:
        raise ValueError(f"weights must have shape {x.shape}, got {root.shape}")
    columns = np.stack([x, np.ones_like(x)], 1)
    # signals span many orders of magnitude: columns of equal size keep the problem well conditioned
    scale = np.maximum(np.abs(columns * root[:, None]).max(0), 1e-300)
    solution, _ = scipy.optimize.nnls(columns * root[:, None] / scale, y * root)
    return Fit(float(solution[0] / scale[0]), float(solution[1] / scale[1]))
