"""Configurations of the cross-lingual experiments."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Literal

from experiments.contract import check_among, check_counts

METHODS = (
    "bag",
    "SMLM",
    "XTR",
    "UGT",
    "UGT+ALIGN",
    "UGT+SIM",
    "UGT+ALIGN+SIM",
    "XTR+ALIGN (EMS)",
)
MIXERS = ("nothing", "chain", "all")


@dataclasses.dataclass(frozen=True)
class Text:
    """What all experiments share: data, vocabulary and the bag of embeddings.

    Attributes:
        data: folder of text data, see the README.
        corpus: "files" of that folder, or sentences of a toy grammar.
        pieces: V, size of the vocabulary.
        width: d of the bag.
        batch_size: pairs in a batch.
        epochs: passes of the bag.
        learning_rate: of Adam, which falls to a twentieth of it.
        temperature: of cosines.
        max_len: longest sentence while training, in pieces.
        num_seeds: repetitions.
        seed: of the first.
    """

    data: str = ""
    corpus: Literal["files", "toy"] = "files"
    pieces: int = 8000
    width: int = 128
    batch_size: int = 512
    epochs: int = 5
    learning_rate: float = 5e-3
    temperature: float = 0.05
    max_len: int = 24
    num_seeds: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        check_counts(self, "width", "batch_size", "epochs", "max_len", "num_seeds")
        check_among("corpus", (self.corpus,), ("files", "toy"))
        if self.pieces < 4:
            raise ValueError(f"pieces must be at least 4, got {self.pieces}")
        if self.learning_rate <= 0 or self.temperature <= 0:
            raise ValueError(
                "learning_rate and temperature must be positive, got "
                f"{self.learning_rate} and {self.temperature}"
            )

    def folder(self, *needed: str) -> pathlib.Path:
        """The data folder; ValueError if it was not given or lacks one of the files."""
        place = pathlib.Path(self.data)
        missing = [name for name in needed if not (place / name).exists()]
        if not self.data or missing:
            raise ValueError(
                f"data must be a folder with {', '.join(needed)} (--data DIR), got {self.data!r}"
                + (f" without {missing[0]}" if self.data else "")
            )
        return place


@dataclasses.dataclass(frozen=True)
class Losses(Text):
    """The released losses one by one and together, and the bag.

    Attributes:
        languages: of the pairs, the first with each of the others.
        methods: what is compared.
        shared_width: d of the shared encoder.
        heads: of its attention.
        hidden: width of its feed-forward part.
        shared_batch: pairs in a batch of the shared encoder.
        shared_epochs: its passes.
        shared_rate: of its Adam (amsgrad); falls to a tenth after 3/4 of the passes.
        warmup: rounds over which that rises.
        examples: training pairs that are used, None for all.
    """

    languages: tuple[str, ...] = ("en", "de")
    methods: tuple[str, ...] = METHODS[:-1]
    shared_width: int = 128
    heads: int = 4
    hidden: int = 256
    shared_batch: int = 128
    shared_epochs: int = 4
    shared_rate: float = 1e-3
    warmup: int = 200
    examples: int | None = None

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        check_counts(self, "shared_width", "heads", "hidden", "shared_batch", "shared_epochs")
        check_among("methods", self.methods, METHODS)
        if len(self.languages) != 2:
            raise ValueError(f"languages must be two, got {self.languages}")
        if self.shared_width % self.heads:
            raise ValueError(
                f"shared_width must be a multiple of heads={self.heads}, got {self.shared_width}"
            )
        if self.shared_rate <= 0 or self.warmup < 1:
            raise ValueError(
                "shared_rate must be positive and warmup at least 1, got "
                f"{self.shared_rate} and {self.warmup}"
            )


@dataclasses.dataclass(frozen=True)
class Tatoeba(Text):
    """Trained on Tatoeba's pairs, tested on LASER's sets, also among very many keys.

    Attributes:
        languages: beside English, of ``deu`` and ``fra``; one encoder for all of them.
        best_pieces: V of the best encoder.
        best_width: its d.
        best_epochs: its passes.
        best_batch: pairs in its batches.
        group: pairs that lie near each other in its batches, from the second pass on.
        drop: chance that a piece is left out of a sentence while it trains.
        margin: by which translations have to be nearer than other sentences while it trains.
        examples: training pairs of each language that are used, None for all.
    """

    languages: tuple[str, ...] = ("deu", "fra")
    best_pieces: int = 16_000
    best_width: int = 256
    best_epochs: int = 6
    best_batch: int = 1024
    group: int = 32
    drop: float = 0.1
    margin: float = 0.2
    examples: int | None = None

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        check_counts(self, "best_width", "best_epochs", "best_batch", "group")
        check_among("languages", self.languages, ("deu", "fra"))
        if not 0 <= self.drop < 1:
            raise ValueError(f"drop must be in [0, 1), got {self.drop}")
        if self.margin < 0:
            raise ValueError(f"margin must be at least 0, got {self.margin}")


@dataclasses.dataclass(frozen=True)
class Topics(Text):
    """Zero-shot transfer of a topic classifier from English to other languages (SIB-200).

    Attributes:
        languages: beside English, of ``deu`` and ``fra``.
    """

    languages: tuple[str, ...] = ("deu", "fra")

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        check_among("languages", self.languages, ("deu", "fra"))


@dataclasses.dataclass(frozen=True)
class Gettext(Text):
    """Message catalogs of this system as a parallel corpus.

    Attributes:
        language: beside English.
        held_out: pairs that are not trained on.
        min_words: English words that a pair must have.
    """

    language: str = "fr"
    held_out: int = 1000
    min_words: int = 3

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        check_counts(self, "held_out", "min_words")


@dataclasses.dataclass(frozen=True)
class Federated(Text):
    """Clients with pairs of different languages share one encoder.

    Attributes:
        languages: beside English; one client for each.
        mixers: how encoders are shared.
        local_rounds: rounds between two exchanges.
        examples: training pairs of each client, None for a disjoint part of the captions.
    """

    languages: tuple[str, ...] = ("de", "fr", "cs")
    mixers: tuple[str, ...] = MIXERS
    local_rounds: int = 4
    examples: int | None = None

    def __post_init__(self) -> None:
        """Refuses values that could only fail later."""
        super().__post_init__()
        check_counts(self, "local_rounds")
        check_among("mixers", self.mixers, MIXERS)
        if len(self.languages) < 2:
            raise ValueError(f"languages must be at least two, got {self.languages}")
