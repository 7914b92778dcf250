"""Amsgrad in the form that PyTorch gives it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jcollab import checks


class AmsgradState(NamedTuple):
    """Moments of the gradient.

    Attributes:
        step: int32 ``[]``, finished steps.
        first: m.
        second: v.
        largest: the largest v so far.
    """

    step: jax.Array
    first: Any
    second: Any
    largest: Any


def scale_by_raw_amsgrad(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    """Adam whose second moment never falls; of the raw moments, the largest is kept.

        m <- b1 m + (1-b1) g,   v <- b2 v + (1-b2) g^2,   w <- max(w, v)
        u = m/(1-b1^t) / (sqrt(w/(1-b2^t)) + eps)

    ``optax.scale_by_amsgrad`` keeps the largest of the corrected moments, which early on is another
    method: its first step sets a bound that later ones seldom leave.

    Args:
        b1: in [0, 1).
        b2: in [0, 1).
        eps: positive.

    Raises:
        ValueError: if a number lies outside its range.

    Source: Reddi, Kale and Kumar 2018, arXiv 1904.09237; ``torch.optim.Adam(amsgrad=True)``.
    """
    checks.number("b1", b1, at_least=0, below=1)
    checks.number("b2", b2, at_least=0, below=1)
    checks.number("eps", eps, above=0)

    def init(params: Any) -> AmsgradState:
        # three arrays, not one three times: they are donated
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
        updates = jax.tree.map(lambda a, c: a / (jnp.sqrt(c) + eps), first, second)
        return updates, AmsgradState(count, m, v, w)

    return optax.GradientTransformation(init, update)
