"""Data with a shortcut: two features predict the label in training, and only one does in tests.

All functions are pure: arrays in, arrays out, and a NumPy generator where they draw.
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
INK = 0.1  # pixels above it are colored


class Cells(NamedTuple):
    """Labeled and unlabeled cells of a table.

    Attributes:
        x: float32 ``[2, 2]``, labeled cells (c, s).
        y: int32 ``[2]``.
        unlabeled: float32 ``[2, 2]``.
        all: float32 ``[4, 2]``, every cell, in the order 00, 01, 10, 11.
    """

    x: np.ndarray
    y: np.ndarray
    unlabeled: np.ndarray
    all: np.ndarray


def stack(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Dominoes: each image of ``top`` over one of ``bottom``, ``[N, h + h', w, c]``.

    Raises:
        ValueError: if there are not as many of both, or widths or channels differ.
    """
    sizes = [(len(part), *part.shape[2:]) for part in (top, bottom)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"top and bottom must agree in number, width and channels, got {list(top.shape)} and "
            f"{list(bottom.shape)}"
        )
    return np.concatenate([top, bottom], axis=1)


def dominoes(
    top: Dataset,
    bottom: Dataset,
    pairs: Sequence[tuple[int, int]],
    rng: np.random.Generator,
) -> Dataset:
    """Label k is an image of class ``pairs[k][0]`` over one of class ``pairs[k][1]``.

    Images are paired at random within a label, and as many as the smaller of the two classes has.

    Args:
        top: images ``[N, h, w, c]`` and labels, the shortcut in the paper (MNIST).
        bottom: images ``[N', h', w, c]`` and labels (Fashion-MNIST, CIFAR-10).
        pairs: two classes for each label.
        rng: for the pairing and the order.

    Raises:
        ValueError: if a class has no images.

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
    """Any image of the first classes over any of the second, ``[N, h + h', w, c]``.

    The smaller of the two sets is repeated to the size of the larger one.

    Raises:
        ValueError: if there are no images of these classes.
    """
    upper, lower = of_classes(top, classes[0], "top"), of_classes(bottom, classes[1], "bottom")
    n = max(len(upper), len(lower))
    t, b = (rng.permutation(np.resize(rng.permutation(part), n)) for part in (upper, lower))
    return stack(top.x[t], bottom.x[b])


def permute_half(
    x: np.ndarray,
    rng: np.random.Generator,
    half: Literal["top", "bottom"] = "top",
    height: int | None = None,
) -> np.ndarray:
    """Dominoes whose tops (or bottoms) are shuffled over the whole set, and so predict nothing.

    Of two balanced labels, half of the tops still match by chance.

    Args:
        x: ``[N, h + h', w, c]``.
        rng: for the order.
        half: which half.
        height: h of the tops; None for half of it.

    Raises:
        ValueError: for another half, or a height outside the image.
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
    """Gray images in colors: pixels above .1 are multiplied by a colour's three factors.

    Args:
        x: ``[N, height, width, 1]`` in [0, 1].
        color: int ``[N]``, a row of :data:`COLORS` for each image.

    Returns:
        float32 ``[N, height, width, 3]``.

    Raises:
        ValueError: if x is not gray or outside [0, 1], or color does not fit.

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
    """Two classes in the plane: the first coordinate's sign separates them, and so do slabs.

    Label 1 lies around x = 1 and y in {-2, 0, 2}, label 0 around x = -1 and y in {-1, 1}; uniformly
    within .8 of x and .2 of y.

    Args:
        n: number of points, at least 1.
        rng: for labels and points.

    Returns:
        x float32 ``[n, 2]`` and y int32 ``[n]``.

    Raises:
        ValueError: if n < 1.

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
    """Cells (c, s) of which c = s = label in training, and the two others are unlabeled.

    Source: theorem 3.1 of Pagliardini et al. 2022, arXiv 2202.04414.
    """
    every = np.array([(0, 0), (0, 1), (1, 0), (1, 1)], np.float32)
    return Cells(every[[0, 3]], np.array([0, 1], np.int32), every[[1, 2]], every)


def of_classes(data: Dataset, classes: Sequence[int], name: str = "data") -> np.ndarray:
    """Which examples have one of the classes, int ``[r]``.

    Raises:
        ValueError: if none has.
    """
    chosen = np.flatnonzero(np.isin(data.y, list(classes)))
    if not len(chosen):
        raise ValueError(f"{name} has no images of classes {list(classes)}")
    return chosen
