"""Configurations of the X2Static experiments."""

from __future__ import annotations

import dataclasses
from typing import Literal

from experiments.contract import check_counts

METHODS = (
    "X2Static",
    "X2Static paragraph",
    "CBOW",
    "skip-gram",
    "sent2vec",
    "ASE",
    "decontextualised",
)
NEED_DATA = "data must be a folder with corpus_en and wordsim (--data DIR), got None"


@dataclasses.dataclass(frozen=True)
class Vectors:
    """What all experiments share: text, teacher, and how vectors are trained.

    Attributes:
        corpus: "imdb" is text of the data folder, "synthetic" needs none.
        data: folder of text data.
        teacher: folder of a BERT checkpoint; None for the packaged MiniLM (of synthetic text: for
            a tiny one with random weights).
        cache: folder for contexts; None for the user's cache folder.
        tokens: words and marks of the corpus that are read.
        min_count: of a word that gets a vector.
        width: d of the methods that have no teacher, None for the teacher's.
        threshold: t of X2Static: rarer words are always targets. It is 5e-6 in the paper.
        epochs: of X2Static.
        learning_rate: of X2Static (row-sparse Adam); 1e-3 in the paper.
        batch_size: T, targets of a round.
        negatives: N, for each target.
        clip: where scores are cut off.
        bag_threshold: t of CBOW, skip-gram and sent2vec.
        bag_epochs: of these.
        bag_rate: learning rate of these.
        window: of CBOW and skip-gram.
        buckets: rows for pairs of words, of sent2vec.
        seed: of everything.
    """

    corpus: Literal["imdb", "synthetic"] = "imdb"
    data: str | None = None
    teacher: str | None = None
    cache: str | None = None
    tokens: int = 500_000
    min_count: int = 5
    width: int | None = None
    threshold: float = 5e-6
    epochs: int = 10
    learning_rate: float = 2e-3
    batch_size: int = 512
    negatives: int = 10
    clip: float = 20.0
    bag_threshold: float = 1e-4
    bag_epochs: int = 5
    bag_rate: float = 3e-3
    window: int = 5
    buckets: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(
            self, "tokens", "min_count", "epochs", "batch_size", "negatives", "bag_epochs", "window"
        )
        if self.corpus not in ("imdb", "synthetic"):
            raise ValueError(f"corpus must be imdb or synthetic, got {self.corpus!r}")
        for name in ("threshold", "learning_rate", "clip", "bag_threshold", "bag_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.buckets < 0:
            raise ValueError(f"buckets must be at least 0, got {self.buckets}")


@dataclasses.dataclass(frozen=True)
class Comparison(Vectors):
    """Methods on the same text, and on parts of it.

    Attributes:
        methods: which ones.
        shares: parts of the text for the score against the amount of text (X2Static and ASE).
    """

    methods: tuple[str, ...] = METHODS
    shares: tuple[float, ...] = (0.25, 0.5)

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        if unknown := set(self.methods) - set(METHODS):
            raise ValueError(f"methods must be among {METHODS}, got {sorted(unknown)}")
        if not self.methods or not all(0 < share < 1 for share in self.shares):
            raise ValueError(
                f"methods must be at least one and shares in (0, 1), got {self.methods} and "
                f"{self.shares}"
            )


@dataclasses.dataclass(frozen=True)
class Ablations(Vectors):
    """X2Static with one choice changed at a time.

    Attributes:
        clips: other values of ``clip``.
        negative_counts: other numbers of negatives.
        thresholds: other t.
        rates: other learning rates.
    """

    tokens: int = 200_000
    clips: tuple[float, ...] = (5.0,)
    negative_counts: tuple[int, ...] = (1, 5)
    thresholds: tuple[float, ...] = (1e-4,)
    rates: tuple[float, ...] = (5e-4, 5e-3)

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        for name in ("clips", "negative_counts", "thresholds", "rates"):
            if not all(value > 0 for value in getattr(self, name)):
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class Federated(Vectors):
    """Clients with texts of their own that share word tables.

    Attributes:
        clients: n; each has an n-th of the text.
        period: H, local steps between two exchanges.
    """

    tokens: int = 200_000
    clients: int = 4
    period: int = 20

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        check_counts(self, "clients", "period")
