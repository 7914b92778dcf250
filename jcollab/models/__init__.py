"""Models in flax.linen."""

from jcollab.models.bert import Bert, BertConfig, load_bert
from jcollab.models.cnn import CNN
from jcollab.models.convolution import Conv, max_pool
from jcollab.models.lenet import FeatureMLP, LeNet5, two_parts
from jcollab.models.mlp import MLP
from jcollab.models.resnet import ResNet20
from jcollab.models.sentences import BagEncoder, SharedEncoder
from jcollab.models.vgg import VGG11

__all__ = [
    "CNN",
    "MLP",
    "VGG11",
    "BagEncoder",
    "Bert",
    "BertConfig",
    "Conv",
    "FeatureMLP",
    "LeNet5",
    "ResNet20",
    "SharedEncoder",
    "load_bert",
    "max_pool",
    "two_parts",
]
