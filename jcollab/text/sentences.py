"""Trained sentence encoders: vectors of texts, similarities, saving and loading."""

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
    """Checks that a model has an embedding for each piece; ValueError otherwise."""
    most = getattr(model, "vocab_size", vocabulary.size)
    if most < vocabulary.size:
        raise ValueError(
            f"model must have an embedding for each of {vocabulary.size} pieces of vocabulary, got "
            f"vocab_size={most}"
        )


@dataclasses.dataclass(frozen=True)
class SentenceEncoder:
    """A sentence encoder: a vocabulary, a model and its weights.

    Attributes:
        vocabulary: vocabulary that splits sentences into pieces.
        model: flax module with a method ``sentence(ids, train)``.
        params: weights of the model.
        max_len: longest sentence in pieces; longer sentences are truncated.

    Raises:
        ValueError: if the model has fewer embeddings than the vocabulary has pieces.

    Example:
        >>> words = jc.text.train_subwords(["a cat", "un chat"], size=32)
        >>> model = jc.models.BagEncoder(words.size, width=4)
        >>> params = model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))
        >>> encoder = jc.text.SentenceEncoder(words, model, params)
        >>> encoder.encode(["a cat", "un chat"]).shape
        (2, 4)
        >>> encoder.nearest(["a cat"], keys=["un chat", "A cat"])
        [['A cat']]
    """

    vocabulary: Subwords
    model: nn.Module
    params: PyTree
    max_len: int = 64

    def __post_init__(self) -> None:
        """Checks that the model fits the vocabulary."""
        check_table(self.model, self.vocabulary)

    def encode(self, texts: Sequence[str], batch_size: int = 1024) -> np.ndarray:
        """Computes the vectors of sentences in any of the languages, float32 ``[N, d]``.

        Args:
            texts: N sentences.
            batch_size: number of sentences in a call of the model.

        Raises:
            TypeError: if texts is not a list of strings; the message gives the position.
            ValueError: if there are no sentences, or batch_size < 1.
        """
        if not (texts := checks.texts("texts", texts)):
            raise ValueError("texts must have at least one sentence, got none")
        return self.encode_ids(self.vocabulary.ids(texts, self.max_len), batch_size)

    def encode_ids(self, ids: np.ndarray, batch_size: int = 1024) -> np.ndarray:
        """Computes the vectors of sentences from indices of pieces, ``[N, L]`` padded with 0."""
        checks.count("batch_size", batch_size)
        ids = ids[:, : self.max_len]
        lengths = (ids > 0).sum(1)
        # sorted by length, the sentences of a batch are similarly long, which limits padding
        order = np.argsort(lengths, kind="stable")
        batch_size = min(batch_size, _power(len(ids)))
        outputs: list[np.ndarray] = []
        for start in range(0, len(ids), batch_size):
            rows = order[start : start + batch_size]
            # powers of two, because each shape is compiled; a smaller last batch is filled up
            width = min(max(16, _power(int(lengths[rows].max()))), self.max_len)
            batch = np.zeros((batch_size, width), np.int32)
            seen = min(width, ids.shape[1])
            batch[: len(rows), :seen] = ids[rows, :seen]
            outputs.append(np.asarray(_vectors(self.model, self.params, batch))[: len(rows)])
        out = np.empty((len(ids), outputs[0].shape[1]), np.float32)
        out[order] = np.concatenate(outputs)
        return out

    def similarity(self, left: Sequence[str], right: Sequence[str]) -> np.ndarray:
        """Computes the cosines of all pairs of sentences of two lists, float32 ``[N, M]``."""
        return unit(self.encode(left)) @ unit(self.encode(right)).T

    def nearest(self, texts: Sequence[str], keys: Sequence[str], k: int = 1) -> list[list[str]]:
        """Returns the k nearest of ``keys`` to each sentence by cosine, the best first."""
        keys = checks.texts("keys", keys)
        rows, _ = nearest(self.encode(texts), self.encode(keys), k)
        return [[keys[j] for j in row] for row in rows]

    def save(self, folder: str | os.PathLike) -> None:
        """Writes the vocabulary, the configuration of the model and its weights into a folder.

        Raises:
            TypeError: if the model is not a BagEncoder or a SharedEncoder.
        """
        kind = next((name for name, form in MODELS.items() if type(self.model) is form), None)
        if kind is None:
            raise TypeError(
                f"model must be a BagEncoder or SharedEncoder, got {type(self.model).__name__}"
            )
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # fields that flax adds to each module and that are not part of its configuration
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
        """Reads an encoder written by :meth:`save`.

        Raises:
            FileNotFoundError: if the folder does not contain an encoder.
        """
        folder = pathlib.Path(folder)
        if not (folder / "model.json").exists():
            raise FileNotFoundError(f"folder must contain a saved encoder, got {folder}")
        form = json.loads((folder / "model.json").read_text("utf-8"))
        params = flax.serialization.msgpack_restore((folder / "weights.msgpack").read_bytes())
        model = MODELS[form["model"]](**form["fields"])
        vocabulary = Subwords.load(folder / "vocabulary.json")
        return SentenceEncoder(vocabulary, model, params, form["max_len"])


# flax modules of equal fields are equal, so that an encoder that is loaded again does not compile
# again; the weights are an argument, because constants would be copied into the program
@functools.partial(jax.jit, static_argnums=0)
def _vectors(model: nn.Module, params: PyTree, ids: np.ndarray) -> Any:
    sentence: Callable = type(model).sentence  # type: ignore[attr-defined]
    return model.apply(params, ids, method=sentence)


def _power(length: int) -> int:
    """The smallest power of two that is at least ``length``."""
    return 1 << max(length - 1, 0).bit_length()
