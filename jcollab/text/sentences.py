"""Encoders of sentences that are ready to use: text in, vectors out."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import flax.serialization
import jax
import numpy as np

from jcollab import checks, models
from jcollab.core import PyTree
from jcollab.text.retrieval import nearest, unit
from jcollab.text.subwords import Subwords

MODELS = {"bag": models.BagEncoder, "shared": models.SharedEncoder}


def check_table(model: Any, vocabulary: Subwords) -> None:
    """ValueError if a model has fewer embeddings than there are pieces."""
    most = getattr(model, "vocab_size", vocabulary.size)
    if most < vocabulary.size:
        raise ValueError(
            f"model must have an embedding for each of {vocabulary.size} pieces of vocabulary, got "
            f"vocab_size={most}"
        )


@dataclasses.dataclass(frozen=True)
class SentenceEncoder:
    """A vocabulary, a model and its weights.

    Attributes:
        vocabulary: splits sentences into pieces.
        model: flax module with a method ``sentence(ids, train)``.
        params: its weights.
        max_len: longest sentence in pieces; what is longer is cut off.
    """

    vocabulary: Subwords
    model: nn.Module
    params: PyTree
    max_len: int = 64

    def __post_init__(self) -> None:
        """ValueError if the model has fewer embeddings than there are pieces."""
        check_table(self.model, self.vocabulary)

    def encode(self, texts: Sequence[str], batch_size: int = 1024) -> np.ndarray:
        """Sentence vectors, float32 ``[N, d]``, of sentences of any of the languages.

        Args:
            texts: N sentences.
            batch_size: sentences at a time; those of similar length go together.

        Raises:
            TypeError: if it is one string, or with the place of what is none.
            ValueError: if there are none, or batch_size < 1.
        """
        if not (texts := checks.texts("texts", texts)):
            raise ValueError("texts must have at least one sentence, got none")
        return self.encode_ids(self.vocabulary.ids(texts, self.max_len), batch_size)

    def encode_ids(self, ids: np.ndarray, batch_size: int = 1024) -> np.ndarray:
        """Sentence vectors of sentences in pieces, ``[N, L]`` padded with 0."""
        checks.count("batch_size", batch_size)
        ids = ids[:, : self.max_len]
        lengths = (ids > 0).sum(1)
        order = np.argsort(lengths, kind="stable")
        batch_size = min(batch_size, _power(len(ids)))
        outputs: list[np.ndarray] = []
        for start in range(0, len(ids), batch_size):
            rows = order[start : start + batch_size]
            # few shapes: each is compiled
            width = min(max(16, _power(int(lengths[rows].max()))), self.max_len)
            batch = np.zeros((batch_size, width), np.int32)
            seen = min(width, ids.shape[1])
            batch[: len(rows), :seen] = ids[rows, :seen]
            outputs.append(np.asarray(_vectors(self.model, self.params, batch))[: len(rows)])
        out = np.empty((len(ids), outputs[0].shape[1]), np.float32)
        out[order] = np.concatenate(outputs)
        return out

    def similarity(self, left: Sequence[str], right: Sequence[str]) -> np.ndarray:
        """Cosines of all sentences of one list and of another, float32 ``[N, M]``."""
        return unit(self.encode(left)) @ unit(self.encode(right)).T

    def nearest(self, texts: Sequence[str], keys: Sequence[str], k: int = 1) -> list[list[str]]:
        """For each sentence the k of ``keys`` that are nearest, the best first."""
        keys = checks.texts("keys", keys)
        rows, _ = nearest(self.encode(texts), self.encode(keys), k)
        return [[keys[j] for j in row] for row in rows]

    def save(self, folder: str | os.PathLike) -> None:
        """Writes vocabulary, form of the model and weights into a folder.

        Raises:
            TypeError: if the model is none of the library's.
        """
        kind = next((name for name, form in MODELS.items() if type(self.model) is form), None)
        if kind is None:
            raise TypeError(
                f"model must be a BagEncoder or SharedEncoder, got {type(self.model).__name__}"
            )
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        hidden = {"parent", "name"}
        fields = {
            f.name: getattr(self.model, f.name)
            for f in dataclasses.fields(self.model)
            if f.name not in hidden
        }
        form = {"model": kind, "fields": fields, "max_len": self.max_len}
        (folder / "model.json").write_text(json.dumps(form, indent=2) + "\n")
        weights = flax.serialization.to_bytes(jax.tree.map(np.asarray, self.params))
        (folder / "weights.msgpack").write_bytes(weights)
        self.vocabulary.save(folder / "vocabulary.json")

    @staticmethod
    def load(folder: str | os.PathLike) -> SentenceEncoder:
        """Reads what :meth:`save` has written.

        Raises:
            FileNotFoundError: if there is no encoder in the folder.
        """
        folder = pathlib.Path(folder)
        if not (folder / "model.json").exists():
            raise FileNotFoundError(f"folder must have a saved encoder, got {folder}")
        form = json.loads((folder / "model.json").read_text("utf-8"))
        params = flax.serialization.msgpack_restore((folder / "weights.msgpack").read_bytes())
        model = MODELS[form["model"]](**form["fields"])
        vocabulary = Subwords.load(folder / "vocabulary.json")
        return SentenceEncoder(vocabulary, model, params, form["max_len"])


@functools.partial(jax.jit, static_argnums=0)
def _vectors(model: nn.Module, params: PyTree, ids: np.ndarray) -> Any:
    sentence: Callable = type(model).sentence  # type: ignore[attr-defined]
    return model.apply(params, ids, method=sentence)


def _power(length: int) -> int:
    """The smallest power of two that is not smaller."""
    return 1 << max(length - 1, 0).bit_length()
