"""Convolutions in the form that is fastest on the backend."""

from jcollab.models.kernels.convolution import Conv, max_pool

__all__ = [
    "Conv",
    "max_pool",
]
