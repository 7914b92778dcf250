"""Primitives that are linear in each of two inputs, with gradients that are written by hand.

The gradients that JAX derives for a convolution are slow inside of loops on a CPU.
``jax.custom_vjp`` would replace them, but does not support forward-mode derivatives. A primitive
that is declared bilinear supports both: its tangents are the operation itself, applied to each
input in turn, and the transposes of these are the gradients given here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Array = jax.Array


def bilinear(
    name: str,
    forward: Callable[..., Array],
    left_gradient: Callable[..., Array],
    right_gradient: Callable[..., Array],
) -> Callable[..., Array]:
    """Builds the operation ``forward(left, right, **settings)`` with its two transposes.

    Derivatives of higher order are the derivatives of the three functions.

    Args:
        name: name of the primitive.
        forward: function that is linear in ``left`` and in ``right``; the settings are static.
        left_gradient: ``left_gradient(dy, like, right, **settings)``; the result has the shape of
            ``like``, which has a shape and a dtype but no values.
        right_gradient: ``right_gradient(dy, left, like, **settings)``, in the same form.

    Example:
        >>> product = bilinear(
        ...     "scaled_product",
        ...     lambda left, right: left * right,
        ...     lambda dy, like, right: dy * right,
        ...     lambda dy, left, like: (dy * left).sum(),
        ... )
        >>> jax.grad(lambda scale: product(jnp.arange(3.0), scale).sum())(2.0).item()
        3.0
    """
    primitive = Primitive(name)

    # Outside of ``jit``, a primitive is evaluated by this function, compiled once for each shape
    # and setting; operation by operation would be slower.
    @functools.partial(jax.jit, static_argnames="settings")
    def compiled(left: Array, right: Array, settings: tuple) -> Array:
        return forward(left, right, **dict(settings))

    def evaluate(left: Array, right: Array, **settings: Any) -> Array:
        return compiled(left, right, tuple(settings.items()))

    def shape(left: Any, right: Any, **settings: Any) -> Any:
        out = jax.eval_shape(functools.partial(forward, **settings), left, right)
        return left.update(shape=out.shape, dtype=out.dtype, weak_type=False)

    def to_left(dy: Array, left: Any, right: Array, **settings: Any) -> Array:
        return left_gradient(dy, left.aval, right, **settings)

    def to_right(dy: Array, left: Array, right: Any, **settings: Any) -> Array:
        return right_gradient(dy, left, right.aval, **settings)

    # ``vmap`` of the plain operation, which JAX can differentiate: ``grad`` and ``vmap`` can be
    # nested in either order.
    def over_batches(args: Any, axes: Any, **settings: Any) -> tuple[Array, int]:
        return jax.vmap(functools.partial(forward, **settings), axes)(*args), 0

    primitive.def_impl(evaluate)
    primitive.def_abstract_eval(shape)
    mlir.register_lowering(primitive, mlir.lower_fun(forward, multiple_results=False))
    ad.defbilinear(primitive, to_left, to_right)
    batching.primitive_batchers[primitive] = over_batches
    return primitive.bind
