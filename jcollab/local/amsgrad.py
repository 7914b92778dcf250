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
        zeros = (jax.tree.map(jnp.zeros_like, params) for _ in range(3))
        return AmsgradState(jnp.int32(0), *zeros)

    def update(grads: Any, state: AmsgradState, params: Any = None) -> tuple[Any, AmsgradState]:
        count = state.step + 1
        m = jax.tree.map(lambda a, g: b1 * a + (1 - b1) * g, state.first, grads)
        v = jax.tree.map(lambda a, g: b2 * a + (1 - b2) * g * g, state.second, grads)
        w = jax.tree.map(jnp.maximum, state.largest, v)

        def scaled(a: jax.Array, c: jax.Array) -> jax.Array:
            one, two = (1 - jnp.asarray(b, a.dtype) ** count for b in (b1, b2))
            return a / one / (jnp.sqrt(c / two) + eps)

        return jax.tree.map(scaled, m, w), AmsgradState(count, m, v, w)

    return optax.GradientTransformation(init, update)
