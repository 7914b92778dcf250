"""Data sets, their partitions over clients, augmentations, and batches drawn on the device."""

from jcollab.core import Names
from jcollab.data import synthetic
from jcollab.data.augment import CIFAR10_MEAN, CIFAR10_STD, crop_and_flip, cutout, mixup, normalize
from jcollab.data.batches import from_function, full_batch, stacked
from jcollab.data.clients import (
    ClientData,
    ClientRanges,
    by_client,
    by_owner,
    client_arrays,
    from_clients,
)
from jcollab.data.datasets import Dataset, data_dir, digits, load
from jcollab.data.frames import by_column
from jcollab.data.grain_batches import grain_batches
from jcollab.data.heterogeneity import heterogeneity
from jcollab.data.leaf import from_leaf
from jcollab.data.partitions import (
    by_label,
    by_size,
    by_time,
    by_user,
    dirichlet,
    dirichlet_sizes,
    iid,
    stratified,
)
from jcollab.data.sampling import arriving, epochs, minibatches
from jcollab.data.shifts import brighten, rotate, shift_features
from jcollab.data.splits import split
from jcollab.data.streams import stream
from jcollab.data.tfds_clients import from_tfds

__all__ = [
    "CIFAR10_MEAN",
    "CIFAR10_STD",
    "ClientData",
    "ClientRanges",
    "Dataset",
    "Names",
    "arriving",
    "brighten",
    "by_client",
    "by_column",
    "by_label",
    "by_owner",
    "by_size",
    "by_time",
    "by_user",
    "client_arrays",
    "crop_and_flip",
    "cutout",
    "data_dir",
    "digits",
    "dirichlet",
    "dirichlet_sizes",
    "epochs",
    "from_clients",
    "from_function",
    "from_leaf",
    "from_tfds",
    "full_batch",
    "grain_batches",
    "heterogeneity",
    "iid",
    "load",
    "minibatches",
    "mixup",
    "normalize",
    "rotate",
    "shift_features",
    "split",
    "stacked",
    "stratified",
    "stream",
    "synthetic",
]
