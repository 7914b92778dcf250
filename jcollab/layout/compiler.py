"""Compiler options that make the programs of this library fast."""

from __future__ import annotations

import functools

import jax
from jax.extend.core import get_opaque_trace_state

# XLA can hand convolutions and products to YNNPACK, which computes a convolution of few output
# channels on one core. Without it, convolutions run on all cores, in loops too. Products stay with
# it, since it is several times as fast for those with a vector or with few rows.
CPU = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
_OUTSIDE = get_opaque_trace_state(convention="nnx")  # no transformation is active at import


def compiler_options() -> dict[str, str]:
    """Returns the options for ``jax.jit`` with which programs use all cores of a CPU.

    :func:`jcollab.run`, :func:`jcollab.fit`, :func:`jcollab.sweep` and evaluations use them. JAX
    accepts options only for a program that is not part of another one, so inside of ``jit``,
    ``vmap`` or ``grad`` there are none. There are none either on other backends, and where the
    installed jaxlib does not have them.

    Example:
        >>> algorithm = jc.centralized(lambda w, x, key: jnp.sum((w - x) ** 2), optax.sgd(0.5))
        >>> update = jax.jit(algorithm.update, compiler_options=jc.layout.compiler_options())
        >>> state, _ = update(algorithm.init(jnp.zeros(2)), jnp.ones(2), jax.random.key(0))
        >>> state.shared.params.tolist()
        1.0
    """
    if get_opaque_trace_state(convention="nnx") != _OUTSIDE or jax.default_backend() != "cpu":
        return {}
    return dict(_accepted())


@functools.cache
def _accepted() -> dict[str, str]:
    try:
        jax.jit(lambda: 0, compiler_options=CPU).lower().compile()
    except jax.errors.JaxRuntimeError:  # options differ between versions of jaxlib
        return {}
    return CPU
