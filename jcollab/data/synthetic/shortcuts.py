"""Data with a shortcut feature: two features predict the label in training, only one in tests.

All functions are pure and return NumPy arrays; random ones take a NumPy generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jcollab import checks
from jcollab.data.datasets import Dataset

# factors of red, green and blue for the digits 0..9; the last one is white
COLORS = np.array(
    [
        (0.5, 1, 1),
        (1, 0.5, 1),
        (1, 1, 0.5),
        (0.2, 0.2, 1),
        (0.1, 1, 0.1),
        (1, 0.6, 0),
        (1, 0.3, 0.2),
        (0, 1, 0.6),
        (0.5, 0.2, 1),
        (1, 1, 1),
    ],
    np.float32,
)
INK = 0.1  # brighter pixels are colored


class Cells(NamedTuple):
    """Labeled and unlabeled points (c, s) with two binary features.

    Attributes:
        x: float32 ``[2, 2]``, labeled points.
        y: int32 ``[2]``, their labels.
        unlabeled: float32 ``[2, 2]``, unlabeled points.
        all: float32 ``[4, 2]``, all points, in the order 00, 01, 10, 11.
    """

    x: np.ndarray
    y: np.ndarray
    unlabeled: np.ndarray
    all: np.ndarray


def stack(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Stacks each image of ``top`` above one of ``bottom`` into a domino, ``[N, h + h', w, c]``.

    Raises:
        ValueError: if numbers of images, widths or channels differ.

    Example:
        >>> jc.data.synthetic.stack(np.zeros((2, 8, 8, 1)), np.ones((2, 4, 8, 1))).shape
        (2, 12, 8, 1)
    """
    sizes = [(len(part), *part.shape[2:]) for part in (top, bottom)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"top and bottom must have equal numbers of images, widths and channels, got "
            f"{list(top.shape)} and {list(bottom.shape)}"
        )
    return np.concatenate([top, bottom], axis=1)


def dominoes(
    top: Dataset,
    bottom: Dataset,
    pairs: Sequence[tuple[int, int]],
    rng: np.random.Generator,
) -> Dataset:
    """Builds dominoes: label k is an image of class ``pairs[k][0]`` above one of ``pairs[k][1]``.

    Images of a label are paired at random, as many as the smaller of its two classes has.

    Args:
        top: images ``[N, h, w, c]`` and labels; the shortcut in the paper (MNIST).
        bottom: images ``[N', h', w, c]`` and labels (Fashion-MNIST, CIFAR-10).
        pairs: the class of the top and of the bottom image for each label.
        rng: generator for the pairing and the order.

    Raises:
        ValueError: if a class has no images.

    Example:
        >>> data = jc.data.digits()
        >>> pairs = [(0, 3), (1, 4)]  # zeros above threes, ones above fours
        >>> jc.data.synthetic.dominoes(data, data, pairs, np.random.default_rng(0)).x.shape[1:]
        (16, 8, 1)

    Source: Shah et al. 2020, arXiv 2006.07710; Pagliardini et al. 2022, arXiv 2202.04414.
    """
    tops, bottoms, labels = [], [], []
    for label, (above, below) in enumerate(pairs):
        upper = rng.permutation(of_classes(top, [above], "top"))
        lower = rng.permutation(of_classes(bottom, [below], "bottom"))
        n = min(len(upper), len(lower))
        tops.append(upper[:n])
        bottoms.append(lower[:n])
        labels.append(np.full(n, label, np.int32))
    order = rng.permutation(sum(map(len, labels)))
    t, b, y = (np.concatenate(part)[order] for part in (tops, bottoms, labels))
    return Dataset(stack(top.x[t], bottom.x[b]), y)


def unlabeled_dominoes(
    top: Dataset,
    bottom: Dataset,
    classes: tuple[Sequence[int], Sequence[int]],
    rng: np.random.Generator,
) -> np.ndarray:
    """Builds dominoes of independent halves, ``[N, h + h', w, c]``, in which all pairs occur.

    Args:
        top: images ``[N, h, w, c]`` and labels.
        bottom: images ``[N', h', w, c]`` and labels.
        classes: classes of the top images, and of the bottom images.
        rng: generator for the pairing. The smaller set is repeated to the size of the larger.

    Raises:
        ValueError: if there are no images of these classes.

    Example:
        >>> data = jc.data.Dataset(np.arange(4.0).reshape(4, 1, 1, 1), np.array([0, 0, 1, 1]))
        >>> rng = np.random.default_rng(0)
        >>> x = jc.data.synthetic.unlabeled_dominoes(data, data, ([0], [0, 1]), rng)
        >>> np.sort(x[:, :, 0, 0], axis=0).tolist()
        [[0.0, 0.0], [0.0, 1.0], [1.0, 2.0], [1.0, 3.0]]
    """
    upper, lower = of_classes(top, classes[0], "top"), of_classes(bottom, classes[1], "bottom")
    n = max(len(upper), len(lower))
    # Permuted before the repetition, so that the images that are repeated once more are random,
    # and after it, for the pairing.
    t, b = (rng.permutation(np.resize(rng.permutation(part), n)) for part in (upper, lower))
    return stack(top.x[t], bottom.x[b])


def permute_half(
    x: np.ndarray,
    rng: np.random.Generator,
    half: Literal["top", "bottom"] = "top",
    height: int | None = None,
) -> np.ndarray:
    """Permutes the top (or bottom) halves over all dominoes, so that they do not predict labels.

    With two balanced labels, half of the permuted halves still match by chance.

    Args:
        x: ``[N, h + h', w, c]``.
        rng: generator for the permutation.
        half: ``"top"`` or ``"bottom"``.
        height: h, height of the top image; None for half the height of x.

    Raises:
        ValueError: for another half, or a height outside the image.

    Example:
        >>> x = np.arange(6).reshape(3, 2, 1, 1)  # tops are even and bottoms are odd
        >>> moved = jc.data.synthetic.permute_half(x, np.random.default_rng(1))
        >>> sorted(moved[:, 0].ravel().tolist()), moved[:, 1].ravel().tolist()
        ([0, 2, 4], [1, 3, 5])
    """
    if half not in ("top", "bottom"):
        raise ValueError(f"half must be 'top' or 'bottom', got {half!r}")
    height = x.shape[1] // 2 if height is None else height
    if not 0 < height < x.shape[1]:
        raise ValueError(f"height must be in 1..{x.shape[1] - 1}, got {height}")
    part = slice(0, height) if half == "top" else slice(height, None)
    moved = x.copy()
    moved[:, part] = x[rng.permutation(len(x)), part]
    return moved


def colored(x: np.ndarray, color: Any) -> np.ndarray:
    """Colors gray images: pixels above 0.1 are multiplied by the three factors of a color.

    Args:
        x: ``[N, height, width, 1]`` in [0, 1].
        color: int ``[N]``, the row of :data:`COLORS` for each image.

    Returns:
        float32 ``[N, height, width, 3]``.

    Raises:
        ValueError: if x is not gray or outside [0, 1], or color does not fit.

    Example:
        >>> jc.data.synthetic.colored(np.ones((1, 1, 1, 1)), [0]).round(1).tolist()
        [[[[0.5, 1.0, 1.0]]]]

    Source: Pagliardini et al. 2022, arXiv 2202.04414.
    """
    x, color = np.asarray(x, np.float32), np.asarray(color)
    if x.ndim != 4 or x.shape[-1] != 1:
        raise ValueError(f"x must be gray, [N, height, width, 1], got {list(x.shape)}")
    if x.size and (x.min() < 0 or x.max() > 1):
        raise ValueError(f"x must be in [0, 1], got {x.min()} to {x.max()}")
    if color.shape != (len(x),) or not np.issubdtype(color.dtype, np.integer):
        raise ValueError(
            f"color must be int [N={len(x)}], got {color.dtype} of shape {list(color.shape)}"
        )
    if color.size and not (color.min() >= 0 and color.max() < len(COLORS)):
        raise ValueError(f"color must be in 0..{len(COLORS) - 1}, got {color.min()}..{color.max()}")
    return np.where(x > INK, x * COLORS[color][:, None, None], x)


def slabs(n: int, rng: np.random.Generator) -> Dataset:
    """Draws two classes in the plane that both a line and horizontal slabs separate.

    Label 1 has x = 1 and y in {-2, 0, 2}, label 0 has x = -1 and y in {-1, 1}, plus uniform offsets
    of up to 0.8 in x and 0.2 in y.

    Args:
        n: number of points, at least 1.
        rng: generator for labels and points.

    Returns:
        Dataset with x float32 ``[n, 2]`` and y int32 ``[n]``.

    Raises:
        ValueError: if n < 1.

    Example:
        >>> data = jc.data.synthetic.slabs(100, np.random.default_rng(0))
        >>> bool(((data.x[:, 0] > 0) == data.y).all())
        True

    Source: figure 1 of Pagliardini et al. 2022, arXiv 2202.04414; slabs after Shah et al. 2020.
    """
    checks.count("n", n)
    checks.kind(np.random.Generator, rng=rng)
    y = (rng.random(n) < 0.5).astype(np.int32)
    height = np.where(y == 1, rng.choice([-2, 0, 2], n), rng.choice([-1, 1], n))
    across = np.where(y == 1, 1, -1) + rng.uniform(-0.8, 0.8, n)
    points = np.stack([across, height + rng.uniform(-0.2, 0.2, n)], 1)
    return Dataset(points.astype(np.float32), y)


def theorem_cells() -> Cells:
    """Returns the points (c, s) with c = s = label for training, and the two others unlabeled.

    Example:
        >>> cells = jc.data.synthetic.theorem_cells()
        >>> cells.x.tolist(), cells.unlabeled.tolist()
        ([[0.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]])

    Source: theorem 3.1 of Pagliardini et al. 2022, arXiv 2202.04414.
    """
    every = np.array([(0, 0), (0, 1), (1, 0), (1, 1)], np.float32)
    return Cells(every[[0, 3]], np.array([0, 1], np.int32), every[[1, 2]], every)


def of_classes(data: Dataset, classes: Sequence[int], name: str = "data") -> np.ndarray:
    """Returns the indices of the examples of the given classes, int ``[r]``.

    Raises:
        ValueError: if there are none.
    """
    chosen = np.flatnonzero(np.isin(data.y, list(classes)))
    if not len(chosen):
        raise ValueError(f"{name} must contain images of classes {list(classes)}, got none")
    return chosen
