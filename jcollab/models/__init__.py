"""Models in flax.linen.

Layers and shapes follow the papers. Convolutions are those of :mod:`jcollab.layout.kernels`, which
are fast in a loop over clients on a CPU.
"""

from jcollab.layout.kernels import max_pool
from jcollab.models.bert import Bert, BertConfig, load_bert
from jcollab.models.cnn import CNN
from jcollab.models.convolution import Conv
from jcollab.models.feature_resnet import FeatureResNet, parts_with_statistics
from jcollab.models.lenet import FeatureMLP, LeNet5, two_parts
from jcollab.models.mlp import MLP
from jcollab.models.resnet import ResNet20
from jcollab.models.resnet18 import ResNet18, with_statistics
from jcollab.models.sentences import BagEncoder, SharedEncoder
from jcollab.models.vae import VAE, vae
from jcollab.models.vgg import VGG11

__all__ = [
    "CNN",
    "MLP",
    "VAE",
    "VGG11",
    "BagEncoder",
    "Bert",
    "BertConfig",
    "Conv",
    "FeatureMLP",
    "FeatureResNet",
    "LeNet5",
    "ResNet18",
    "ResNet20",
    "SharedEncoder",
    "load_bert",
    "max_pool",
    "parts_with_statistics",
    "two_parts",
    "vae",
    "with_statistics",
]
