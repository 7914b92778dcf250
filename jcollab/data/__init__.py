"""Data: real sets through TFDS, an embedded one, partitions over clients, batches on the device."""

from jcollab.data import corpora
from jcollab.data.augment import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    crop_and_flip,
    cutout,
    mixup,
    normalize,
)
from jcollab.data.clients import (
    ClientData,
    ClientRanges,
    client_arrays,
    client_data,
    client_ranges,
    minibatches,
    whole,
)
from jcollab.data.datasets import Dataset, data_dir, digits, load
from jcollab.data.pairs import Pairs
from jcollab.data.partitions import by_label, by_size, by_user, dirichlet, iid
from jcollab.data.quadratics import (
    Quadratics,
    quadratic_loss,
    random_quadratics,
    suboptimality,
)
from jcollab.data.regression import (
    Examples,
    Regression,
    gaussian_regression,
    one_hot_regression,
    regression_loss,
    regression_samples,
    regression_value,
)
from jcollab.data.shortcuts import (
    COLORS,
    colored,
    dominoes,
    permute_half,
    slabs,
    stack,
    theorem_cells,
    unlabeled_dominoes,
)
from jcollab.data.subwords import Subwords, train_subwords
from jcollab.data.translations import (
    Ordered,
    PieceData,
    epochs,
    in_order,
    neighbor_epoch,
    piece_data,
)

__all__ = [
    "CIFAR10_MEAN",
    "CIFAR10_STD",
    "COLORS",
    "ClientData",
    "ClientRanges",
    "Dataset",
    "Examples",
    "Ordered",
    "Pairs",
    "PieceData",
    "Quadratics",
    "Regression",
    "Subwords",
    "by_label",
    "by_size",
    "by_user",
    "client_arrays",
    "client_data",
    "client_ranges",
    "colored",
    "corpora",
    "crop_and_flip",
    "cutout",
    "data_dir",
    "digits",
    "dirichlet",
    "dominoes",
    "epochs",
    "gaussian_regression",
    "iid",
    "in_order",
    "load",
    "minibatches",
    "mixup",
    "neighbor_epoch",
    "normalize",
    "one_hot_regression",
    "permute_half",
    "piece_data",
    "quadratic_loss",
    "random_quadratics",
    "regression_loss",
    "regression_samples",
    "regression_value",
    "slabs",
    "stack",
    "suboptimality",
    "theorem_cells",
    "train_subwords",
    "unlabeled_dominoes",
    "whole",
]
