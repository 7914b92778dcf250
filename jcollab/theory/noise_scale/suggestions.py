"""Batch sizes and learning rates that follow from the critical parameter."""

from __future__ import annotations

import math
from typing import Any

from jcollab import checks


def critical(noise_ratio: Any, variance: Any = 0.0, accuracy: Any = 1.0) -> Any:
    """Computes the critical parameter ``C = M + sigma^2 / eps``.

    Batches larger than C speed training up little, and delays larger than C slow it down.

    Args:
        noise_ratio: M >= 0.
        variance: sigma^2 >= 0.
        accuracy: eps > 0, the target for the squared gradient norm; it is at most
            ``2 L (f - f*)`` for suboptimality ``f - f*`` and smoothness L.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> jc.theory.noise_scale.critical(9.0, variance=1.0, accuracy=0.5)
        11.0
    """
    checks.number("noise_ratio", noise_ratio, at_least=0, arrays=True)
    checks.number("variance", variance, at_least=0, arrays=True)
    checks.number("accuracy", accuracy, above=0, arrays=True)
    return noise_ratio + variance / accuracy


def suggest_batch_size(critical: float, *, efficiency: float = 0.5) -> int:
    """Computes the largest batch size with a given efficiency per example.

    A batch of b reduces the number of steps by the factor ``b (1 + C) / (b + C)``. The efficiency
    of an example, relative to a batch of 1, is ``(1 + C) / (b + C)``; it is 1/2 at ``b = C + 2``.

    Args:
        critical: C >= 0, from :func:`critical` or the ratio of a :class:`NoiseScale`.
        efficiency: smallest efficiency of an example, in (0, 1].

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> jc.theory.noise_scale.suggest_batch_size(9.0)
        11
    """
    checks.finite(at_least=0, critical=critical)
    checks.number("efficiency", efficiency, above=0, at_most=1)
    # the small term keeps a result that is an integer from being rounded down by one
    return max(1, math.floor((1 + critical) / efficiency - critical + 1e-9))


def suggest_learning_rate(
    batch_size: Any = 1, delay: Any = 0, *, critical: Any, base: Any = 1.0
) -> Any:
    """Computes a learning rate from the one that is tuned for batch size 1 without delay.

        gamma = gamma_1 (1 + C) / (1 + C/b + 2 tau)

    The result grows about linearly with the batch size up to ``b = C``. It is about constant in the
    delay up to ``tau = (1 + C) / 2``.

    Args:
        batch_size: b >= 1.
        delay: tau >= 0.
        critical: C >= 0.
        base: gamma_1 > 0; ``1 / (L (1 + C))`` is a default without tuning.

    Raises:
        ValueError: if an argument is out of range. Traced arguments are not checked.

    Example:
        >>> round(jc.theory.noise_scale.suggest_learning_rate(8, critical=8.0, base=0.1), 4)
        0.45
    """
    checks.number("batch_size", batch_size, at_least=1, arrays=True)
    checks.number("delay", delay, at_least=0, arrays=True)
    checks.number("critical", critical, at_least=0, arrays=True)
    checks.number("base", base, above=0, arrays=True)
    return base * (1 + critical) / (1 + critical / batch_size + 2 * delay)
