"""A convolutional layer whose gradients are fast in a loop over clients on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from jcollab.layout.kernels import add_bias, apply_kernel, planes

Array = jax.Array


class Conv(nn.Module):
    """A two-dimensional ``flax.linen.Conv``, with the same parameters and initial values.

    Attributes:
        features: output channels O.
        kernel_size: height and width of a filter.
        strides: steps in height and width, or one number for both.
        padding: ``"SAME"``, ``"VALID"``, or zeros before and after in height and in width.
        use_bias: whether to add a bias.
        dtype: dtype of the computation; None for the common dtype of inputs and parameters.
        param_dtype: dtype of the parameters.
        kernel_init: initializer of the filters.
        bias_init: initializer of the bias.
        batch_last: whether inputs and outputs are ``[I, H, W, b]`` and ``[O, H', W', b]``, which is
            faster on a CPU for few channels. Strides must be 1.

    Example:
        >>> conv = jc.models.Conv(features=4, kernel_size=(3, 3), strides=2)
        >>> y, params = conv.init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
        >>> y.shape, params["params"]["kernel"].shape
        ((1, 4, 4, 4), (3, 3, 3, 4))
    """

    features: int
    kernel_size: Sequence[int]
    strides: int | Sequence[int] = 1
    padding: str | Sequence[tuple[int, int]] = "SAME"
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: Any = nn.linear.default_kernel_init
    bias_init: Any = nn.initializers.zeros_init()
    batch_last: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps ``[b, H, W, I]`` to ``[b, H', W', O]``."""
        height, width = self.kernel_size
        shape = (height, width, x.shape[0 if self.batch_last else -1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, shape[-1:], self.param_dtype)
        down, across = (self.strides,) * 2 if isinstance(self.strides, int) else self.strides
        strides = (int(down), int(across))
        pads = self.padding
        if isinstance(pads, str):
            pads = jax.lax.padtype_to_pads(x.shape[1:3], (height, width), strides, pads)
        pads = tuple((int(low), int(high)) for low, high in pads)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        if self.batch_last:
            # on accelerators too, so that the layout of the outputs does not depend on the backend
            if strides != (1, 1):
                raise ValueError(f"strides must be 1 with batch_last, got {strides}")
            x = planes.convolve(x, kernel, pads)
            return x if bias is None else x + bias[:, None, None, None]
        x = apply_kernel(x, kernel, strides, pads)
        return x if bias is None else add_bias(x, bias)
