"""Convolutions in the form that is fastest on the backend.

On accelerators they are JAX's convolutions. On a CPU, clients run one after the other in a loop
(``lax.map``), and XLA uses its fast convolution kernels inside of a loop only for some layouts. The
modules of this package compute the same values and gradients in forms that stay fast there:

    convolution   chooses the form by shape, and contains the layers
    bilinear      primitives with gradients that are written by hand
    products      matrix products, for small images and filters of one pixel
    narrow        matrix products, for few channels on one side
    planes        the batch as the last axis, for few channels on both sides
    shifts        shifted copies of images, of which the products are computed
"""

from jcollab.models.kernels.convolution import Conv, max_pool

__all__ = [
    "Conv",
    "max_pool",
]
