"""Models in flax.linen."""

from jcollab.models.cnn import CNN
from jcollab.models.convolution import Conv, max_pool
from jcollab.models.lenet import FeatureMLP, LeNet5, two_parts
from jcollab.models.mlp import MLP
from jcollab.models.resnet import ResNet20
from jcollab.models.resnet18 import ResNet18, with_statistics
from jcollab.models.vae import VAE, vae
from jcollab.models.vgg import VGG11

__all__ = [
    "CNN",
    "MLP",
    "VAE",
    "VGG11",
    "Conv",
    "FeatureMLP",
    "LeNet5",
    "ResNet18",
    "ResNet20",
    "max_pool",
    "two_parts",
    "vae",
    "with_statistics",
]
