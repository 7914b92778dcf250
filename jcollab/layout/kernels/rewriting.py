"""The layers of any network, in the form that is fastest inside of a loop over clients.

A loss is traced to a jaxpr, in which convolutions, pools, biases, statistics of a batch, products
with matrices and recurrent loops are replaced by those of this package. The result does not depend
on the library that the network is written with: flax, haiku, Equinox and plain JAX all end in the
same primitives.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, jaxpr_as_fun

from jcollab import checks, layout
from jcollab.layout.kernels import pooling
from jcollab.layout.kernels.convolution import convolve
from jcollab.layout.kernels.matmul import multiply
from jcollab.layout.kernels.recurrence import loop
from jcollab.layout.kernels.rows import combine


def fast_layers(fn: Callable) -> Callable:
    """Returns ``fn`` with fast layers where clients run in a loop.

    In a loop on a CPU, XLA computes the gradients of a convolution up to 40 times slower than
    outside of one, those of a dense layer for a small batch up to 10 times slower than its value,
    and those of a recurrent network step by step. The returned function computes the same values
    and derivatives, to rounding, in faster forms. It replaces one- and two-dimensional convolutions
    in any layout, pools, biases and statistics of a batch, products with matrices and ``scan`` over
    time, also inside of ``jit``, ``scan``, ``cond`` and ``checkpoint``; it leaves grouped and
    dilated convolutions, and functions with derivatives of their own, as they are. On accelerators,
    ``fn`` is called unchanged.

    Every builder applies it to its loss, so it is needed only for gradients in a loop that you
    write yourself. :func:`as_written` excludes a function.

    Args:
        fn: a function of pytrees of arrays that returns one.

    Raises:
        TypeError: if ``fn`` is not callable.

    Example:
        >>> def network(kernel, x):
        ...     return jax.lax.conv(x, kernel, (1, 1), "SAME")
        >>> fast, (kernel, x) = jc.layout.fast_layers(network), jnp.ones((2, 1, 1, 3, 3))
        >>> fast(kernel, x)[0, 0].tolist()
        [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]
    """
    checks.functions(fn=fn)

    @functools.wraps(fn)
    def rewritten(*args: Any) -> Any:
        if not layout.loops():
            return fn(*args)
        return _fast(fn)(*args)

    return rewritten


def _fast(fn: Callable) -> Callable:
    def run(*args: Any) -> Any:
        closed, shape = jax.make_jaxpr(fn, return_shape=True)(*args)
        flat = jaxpr_as_fun(ClosedJaxpr(_rewrite(closed.jaxpr), closed.consts))
        return jax.tree.unflatten(jax.tree.structure(shape), flat(*jax.tree.leaves(args)))

    return run


def as_written(fn: Callable) -> Callable:
    """Marks a function whose layers :func:`fast_layers` does not replace.

    Args:
        fn: a loss, a model, or a part of one; a function of pytrees of arrays.

    Raises:
        TypeError: if ``fn`` is not callable.

    Example:
        >>> loss = jc.layout.as_written(lambda params, batch, key: jnp.sum(params * batch))
        >>> algorithm = jc.decentralized(loss, optax.sgd(0.1), jc.all_reduce())
    """
    checks.functions(fn=fn)

    def as_written(*args: Any) -> Any:
        return fn(*args)

    # the mark is the name of the call in the jaxpr, which survives every transformation
    return jax.jit(as_written)


def _rewrite(jaxpr: Jaxpr) -> Jaxpr:
    return jaxpr.replace(eqns=[_equation(eqn) for eqn in jaxpr.eqns])


def _equation(eqn: JaxprEqn) -> JaxprEqn:
    avals = [v.aval for v in eqn.invars]
    form = FORMS.get(eqn.primitive.name)
    fast = form(*avals, **eqn.params) if form else None
    if fast is None:
        return eqn.replace(params=_inner(eqn.params))
    # jit makes one equation of the replacement, which takes the place of the old one
    with jax.disable_jit(False):  # where a user disabled it, it would make several
        (call,) = jax.make_jaxpr(jax.jit(fast))(*avals).eqns
    return call.replace(invars=eqn.invars, outvars=eqn.outvars)


def _inner(params: dict[str, Any]) -> dict[str, Any]:
    """Rewrites the jaxprs among the parameters of an equation (of jit, scan, cond and others)."""
    if _as_written(params):
        return params

    def new(value: Any) -> Any:
        if isinstance(value, ClosedJaxpr):
            return value.replace(jaxpr=_rewrite(value.jaxpr))
        if isinstance(value, Jaxpr):
            return _rewrite(value)
        return tuple(map(new, value)) if type(value) is tuple else value

    return {name: new(value) for name, value in params.items()}


def _as_written(params: dict[str, Any]) -> bool:
    return params.get("name") == as_written.__name__


def _loop(*avals: Any, jaxpr: ClosedJaxpr, **params: Any) -> Callable | None:
    names = ("num_consts", "num_carry", "length", "reverse", "unroll")
    settings = {name: params[name] for name in names}
    return loop(jaxpr, keep=lambda eqn: _as_written(eqn.params), fast=_fast, **settings)


def _convolution(x: Any, kernel: Any, **params: Any) -> Callable | None:
    """Returns the convolution between transposes, which XLA cancels between layers of one form."""
    numbers, rank = params["dimension_numbers"], x.ndim - 2
    if (
        rank not in (1, 2)
        or not jnp.issubdtype(x.dtype, jnp.floating)
        or x.dtype != kernel.dtype
        or params["preferred_element_type"] not in (None, x.dtype)
        or params["feature_group_count"] * params["batch_group_count"] != 1
        or any(step != 1 for step in params["rhs_dilation"])
    ):
        return None
    (batch, channels, *space), spread = numbers.lhs_spec, params["lhs_dilation"]
    features, inputs, *window = numbers.rhs_spec
    strides, pads = params["window_strides"], tuple(map(tuple, params["padding"]))
    out_batch, out_channels, *out_space = numbers.out_spec
    order = [0] * x.ndim
    for place, axis in enumerate((out_batch, *out_space, out_channels)):
        order[axis] = place

    def fast(x: Any, kernel: Any) -> Any:
        x = x.transpose(batch, *space, channels)
        kernel = kernel.transpose(*window, inputs, features)
        if any(step != 1 for step in spread):  # a transposed convolution
            zeros = [(0, 0, 0), *((0, 0, step - 1) for step in spread), (0, 0, 0)]
            x = jax.lax.pad(x, jnp.zeros((), x.dtype), zeros)
        if rank == 2:
            y = convolve(x, kernel, strides, pads)
        else:  # an image of height 1
            y = convolve(x[:, None], kernel[None], (1, *strides), ((0, 0), *pads))[:, 0]
        return y.transpose(order)

    return fast


def _pool(reduce: Callable) -> Callable:
    def form(x: Any, **params: Any) -> Callable | None:
        window = params["window_dimensions"]
        if (
            params["window_strides"] != window
            or any(low or high for low, high in params["padding"])
            or any(step != 1 for step in (*params["base_dilation"], *params["window_dilation"]))
            or not jnp.issubdtype(x.dtype, jnp.floating)
        ):
            return None
        return lambda x: reduce(x, window)

    return form


def _row(operation: Callable) -> Callable:
    """Returns the form of an operation on an array and a row, such as a bias or a batch's mean."""

    def form(x: Any, y: Any, **params: Any) -> Callable | None:
        row, full = sorted((x, y), key=lambda side: side.size)
        axes = next((k for k, size in enumerate(row.shape) if size != 1), 0)
        if (
            not axes
            or not row.size  # nothing to combine
            or row.shape == full.shape
            or row.shape[axes:] != full.shape[axes:]
            or not jnp.issubdtype(x.dtype, jnp.floating)
        ):
            return None
        return functools.partial(combine, operation)

    return form


def _product(x: Any, y: Any, **params: Any) -> Callable | None:
    """Returns the product of an array with a matrix, as in a dense layer."""
    ((of_x, of_y), (batch, _)), precision = params["dimension_numbers"], params["precision"]
    if (
        batch
        or not (x.size and y.size)  # nothing to multiply
        or y.ndim != 2
        or x.ndim < 2
        or tuple(of_x) != (x.ndim - 1,)
        or not jnp.issubdtype(x.dtype, jnp.floating)
        or x.dtype != y.dtype
        or params["preferred_element_type"] not in (None, x.dtype)
    ):
        return None
    return lambda x, y: multiply(x, y, of_y[0] == 1, precision)


FORMS: dict[str, Callable] = {
    "conv_general_dilated": _convolution,
    "dot_general": _product,
    "scan": _loop,
    "reduce_window_max": _pool(pooling.maximum),
    "reduce_window_sum": _pool(pooling.total),
    "add": _row(jax.lax.add),
    "sub": _row(jax.lax.sub),
    "mul": _row(jax.lax.mul),
    "div": _row(jax.lax.div),
}
