"""Classification tasks that several papers share."""

import dataclasses
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

import jcollab as jc

VALIDATION_FRACTION = 0.2
Dataset = jc.data.Dataset
# mean and standard deviation of each channel of the training images
STATISTICS: dict[str, Any] = {
    "mnist": ((0.1307,), (0.3081,)),
    "cifar10": (jc.data.CIFAR10_MEAN, jc.data.CIFAR10_STD),
}


@dataclasses.dataclass(frozen=True)
class Task:
    """Data and model of a comparison.

    Attributes:
        train: examples of the clients.
        validation: examples for choosing learning rates.
        test: examples for the results.
        model: flax module.
        seen: number of validation and test examples for the curves.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    model: Any
    seen: int

    def evaluate(self, state: jc.State) -> dict[str, Any]:
        """Computes the consensus distance, and accuracies on the first ``seen`` examples."""
        measured = {"consensus_distance": jc.metrics.consensus_distance(state)}
        for part, data in (("validation", self.validation), ("test", self.test)):
            measure = jc.metrics.accuracy(
                self.model.apply, data.x[: self.seen], data.y[: self.seen]
            )
            measured |= {f"{part}_{name}": value for name, value in measure(state).items()}
        return measured


def make_task(dataset: str, hidden: int, seen: int, examples: int | None = None) -> Task:
    """Loads a data set, holds out a fifth for validation, and builds an MLP."""
    known = jc.data.load(dataset, "train")
    if examples is not None:
        known = Dataset(known.x[:examples], known.y[:examples])
    train, validation = hold_out(known)
    model = jc.models.MLP(num_classes=int(known.y.max()) + 1, hidden=(hidden,))
    return Task(train, validation, jc.data.load(dataset, "test"), model, seen)


def hold_out(known: Dataset) -> tuple[Dataset, Dataset]:
    """Splits examples into training and validation, with the same shares of the classes."""
    fit, held_out = train_test_split(
        np.arange(len(known.y)), test_size=VALIDATION_FRACTION, random_state=0, stratify=known.y
    )
    return select(known, fit), select(known, held_out)


def load_normalized(dataset: str) -> tuple[Dataset, Dataset]:
    """Loads training and test examples, with normalized channels if statistics are known."""
    parts = [jc.data.load(dataset, split) for split in ("train", "test")]
    if dataset in STATISTICS:
        images = [np.asarray(jc.data.normalize(part.x, *STATISTICS[dataset])) for part in parts]
        parts = [Dataset(x, part.y) for x, part in zip(images, parts, strict=True)]
    return parts[0], parts[1]


def select(data: Dataset, rows: np.ndarray) -> Dataset:
    """Selects examples by index or by mask."""
    return Dataset(np.asarray(data.x[rows]), np.asarray(data.y[rows]))


def average_squares(x: np.ndarray, factor: int) -> np.ndarray:
    """Averages images ``[N, height, width, ...]`` over squares; a remainder is cut off."""
    height, width = (size // factor for size in x.shape[1:3])
    cut = x[:, : height * factor, : width * factor]
    return cut.reshape(len(x), height, factor, width, factor, -1).mean((2, 4))
