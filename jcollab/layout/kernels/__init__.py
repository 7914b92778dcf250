"""Convolutions in the form that is fastest on the backend.

On accelerators they are JAX's convolutions. On a CPU, clients run one after the other in a loop
(``lax.map``), and XLA uses its fast convolution kernels inside of a loop only for some layouts. The
modules of this package compute the same values and gradients in forms that stay fast there:

    rewriting     puts them into any network
    convolution   chooses the form by shape
    bilinear      primitives with gradients that are written by hand
    direct        convolutions in the layout that stays fast
    products      matrix products, for small images and filters of one pixel
    narrow        matrix products, for few channels on one side
    planes        the batch as the last axis, for few channels on both sides
    shifts        shifted copies of images, of which the products are computed
    rows          biases and statistics of a batch
    pooling       maxima and sums over windows that do not overlap
"""

from jcollab.layout.kernels.convolution import apply_kernel, convolve
from jcollab.layout.kernels.pooling import max_pool
from jcollab.layout.kernels.rewriting import as_written, fast_layers
from jcollab.layout.kernels.rows import add_bias

__all__ = [
    "add_bias",
    "apply_kernel",
    "as_written",
    "convolve",
    "fast_layers",
    "max_pool",
]
