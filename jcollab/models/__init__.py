"""Models in flax.linen."""

from jcollab.models.cnn import CNN
from jcollab.models.convolution import Conv, max_pool
from jcollab.models.mlp import MLP
from jcollab.models.resnet import ResNet20
from jcollab.models.vgg import VGG11

__all__ = ["CNN", "MLP", "VGG11", "Conv", "ResNet20", "max_pool"]
