"""Data: real sets through TFDS, an embedded one, partitions over clients, batches on the device."""

from jcollab.data.clients import ClientData, client_arrays, client_data, minibatches
from jcollab.data.datasets import Dataset, data_dir, digits, load
from jcollab.data.partitions import by_label, by_size, dirichlet, iid

__all__ = [
    "ClientData",
    "Dataset",
    "by_label",
    "by_size",
    "client_arrays",
    "client_data",
    "data_dir",
    "digits",
    "dirichlet",
    "iid",
    "load",
    "minibatches",
]
