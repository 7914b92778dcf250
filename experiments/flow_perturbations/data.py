"""Images of an experiment: what is labelled, what the flow sees, and what is held out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import jcollab as jc
from experiments.flow_perturbations.kinds import Comparison, Federated, FlowSettings
from experiments.tasks import average_squares

Dataset = jc.data.Dataset
SPLIT_SEED = 9999  # as in the released code: the same labelled images for all seeds
# of training images in [0, 1], as in the released code
STATISTICS: dict[str, tuple[Any, Any]] = {
    "mnist": ((0.1307,), (0.3081,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
GREY_LEVELS = {"digits": 17}


class Images(NamedTuple):
    """Data of one experiment.

    Attributes:
        train: labelled images.
        flow: images that the flow is trained on, ``[N, ...]``.
        test: held-out images.
        mean: of each channel, for the classifier.
        std: of each channel.
        grey_levels: 256, or 17 for scikit-learn's digits.
    """

    train: Dataset
    flow: np.ndarray
    test: Dataset
    mean: np.ndarray
    std: np.ndarray
    grey_levels: int


def make(config: FlowSettings) -> Images:
    """The images of a configuration."""
    known, test = (
        smaller(jc.data.load(config.dataset, part), config.shrink) for part in ("train", "test")
    )
    order = np.random.default_rng(SPLIT_SEED).permutation(len(known.y))
    count = max(1, round(config.fraction * len(order)))
    rows, seen = order[:count], order[:count]
    if isinstance(config, Federated):
        seen = order[count : count + max(1, round(config.public * len(order)))]
    elif isinstance(config, Comparison) and config.flow_data == "all":
        seen = order
    train = Dataset(np.asarray(known.x[np.sort(rows)]), known.y[np.sort(rows)])
    if isinstance(config, Comparison) and config.tested is not None:
        test = Dataset(test.x[: config.tested], test.y[: config.tested])
    given = STATISTICS.get(config.dataset)
    if given is None:
        given = train.x.mean((0, 1, 2)), train.x.std((0, 1, 2))
    mean, std = (np.asarray(value, np.float32) for value in given)
    levels = GREY_LEVELS.get(config.dataset, 256)
    return Images(train, np.asarray(known.x[np.sort(seen)]), test, mean, std, levels)


def smaller(images: Dataset, factor: int) -> Dataset:
    """Images averaged over squares of ``factor`` pixels, as bytes over 255."""
    if factor == 1:
        return images
    x = average_squares(images.x, factor)
    return Dataset((np.round(255 * x) / 255).astype(np.float32), images.y)
