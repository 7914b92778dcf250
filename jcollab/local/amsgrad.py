"""AMSGrad as implemented in PyTorch."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jcollab import checks


class AmsgradState(NamedTuple):
    """Moments of the gradient.

    Attributes:
        step: int32 ``[]``, number of finished steps.
        first: first moment m.
        second: second moment v.
        largest: largest second moment so far, w.
    """

    step: jax.Array
    first: Any
    second: Any
    largest: Any


def scale_by_raw_amsgrad(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    """Builds AMSGrad, which divides by the largest second moment, taken before bias correction.

        m <- b1 m + (1-b1) g,   v <- b2 v + (1-b2) g^2,   w <- max(w, v)
        u = m/(1-b1^t) / (sqrt(w/(1-b2^t)) + eps)

    ``optax.scale_by_amsgrad`` stores the largest of the corrected moments. This differs in early
    steps: the corrected moment of the first step is large, and later ones seldom exceed it.

    Args:
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the denominator, positive.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> optimizer = jc.local.scale_by_raw_amsgrad()
        >>> state, update = optimizer.init(jnp.zeros(2)), jax.jit(optimizer.update)
        >>> updates, state = update(jnp.array([2.0, -3.0]), state)
        >>> [round(float(u), 3) for u in updates]  # the first update is the sign of the gradient
        [1.0, -1.0]

    Source: Reddi, Kale and Kumar 2018, arXiv 1904.09237; ``torch.optim.Adam(amsgrad=True)``.
    """
    checks.number("b1", b1, at_least=0, below=1)
    checks.number("b2", b2, at_least=0, below=1)
    checks.number("eps", eps, above=0)

    def init(params: Any) -> AmsgradState:
        # Three separate arrays: one buffer that is shared by three leaves cannot be donated.
        zeros = (optax.tree.zeros_like(params) for _ in range(3))
        return AmsgradState(jnp.int32(0), *zeros)

    def update(grads: Any, state: AmsgradState, params: Any = None) -> tuple[Any, AmsgradState]:
        count = state.step + 1
        m = optax.tree.update_moment(grads, state.first, b1, 1)
        v = optax.tree.update_moment(grads, state.second, b2, 2)
        w = jax.tree.map(jnp.maximum, state.largest, v)
        first, second = (
            optax.tree.bias_correction(moment, b, count) for moment, b in ((m, b1), (w, b2))
        )
        # The maximum is over raw moments, so bias correction applies to the result.
        updates = jax.tree.map(lambda a, c: a / (jnp.sqrt(c) + eps), first, second)
        return updates, AmsgradState(count, m, v, w)

    return optax.GradientTransformation(init, update)
