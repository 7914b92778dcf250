"""Subword vocabularies that several languages share."""

from __future__ import annotations

import dataclasses
import functools
import os
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from jcollab import checks

PAD, UNKNOWN, MASK = 0, 1, 2
SPECIAL = ("<pad>", "<unk>", "<MASK>")
KINDS = ("bpe", "unigram")


@dataclasses.dataclass(frozen=True)
class Subwords:
    """A vocabulary that splits sentences into subword pieces.

    Piece 0 is padding, piece 1 stands for unknown characters and piece 2 is the mask.

    Attributes:
        tokenizer: a ``tokenizers.Tokenizer``.

    Example:
        >>> words = jc.text.train_subwords(["a cat", "a dog", "a cat"], size=16)
        >>> words.pieces("a cat")
        ['▁a', '▁cat']
        >>> words.ids(["a cat", "a"]).shape
        (2, 2)
    """

    tokenizer: Any

    @property
    def size(self) -> int:
        """V, the number of pieces, with the three special ones."""
        return self.tokenizer.get_vocab_size()

    def pieces(self, text: str) -> list[str]:
        """Returns the pieces of a sentence; ``▁`` marks the start of a word."""
        return self.tokenizer.encode(text).tokens

    def ids(self, texts: Sequence[str], max_len: int = 200) -> np.ndarray:
        """Returns the indices of the pieces of each sentence, int32 ``[N, L]``, padded with 0.

        Args:
            texts: N sentences.
            max_len: longest sentence in pieces; longer sentences are truncated. L is the length
                of the longest sentence after truncation, at least 1.

        Raises:
            TypeError: if texts is not a list of strings; the message gives the position.
            ValueError: if max_len < 1.
        """
        checks.count("max_len", max_len)
        rows = [e.ids[:max_len] for e in self.tokenizer.encode_batch(checks.texts("texts", texts))]
        # at least one column, also for empty sentences alone
        out = np.zeros((len(rows), max((len(row) for row in rows), default=1) or 1), np.int32)
        for i, row in enumerate(rows):
            out[i, : len(row)] = row
        return out

    @functools.cached_property
    def maskable(self) -> np.ndarray:
        """The pieces that may be masked, bool ``[V]``: those with a letter or a digit."""
        inside = [self.tokenizer.id_to_token(i).lstrip("▁") for i in range(self.size)]
        return np.array(
            [
                i >= len(SPECIAL) and any(unicodedata.category(c)[0] in "LN" for c in piece)
                for i, piece in enumerate(inside)
            ]
        )

    def save(self, path: str | os.PathLike) -> None:
        """Writes the vocabulary as JSON in the format of the tokenizers library."""
        self.tokenizer.save(os.fspath(path))

    @staticmethod
    def load(path: str | os.PathLike) -> Subwords:
        """Reads a vocabulary written by :meth:`save`.

        Raises:
            FileNotFoundError: if the file is missing.
            ValueError: if its first pieces are not padding, unknown and mask.
        """
        if not os.path.exists(path):
            raise FileNotFoundError(f"path must be a saved vocabulary, got {path}")
        tokenizer = _library().Tokenizer.from_file(os.fspath(path))
        first = tuple(tokenizer.id_to_token(i) for i in range(len(SPECIAL)))
        if first != SPECIAL:
            raise ValueError(f"the first pieces of path must be {SPECIAL}, got {first} in {path}")
        return Subwords(tokenizer)


def train_subwords(
    texts: Iterable[str],
    size: int = 8000,
    kind: Literal["bpe", "unigram"] = "bpe",
    *,
    lowercase: bool = True,
    min_frequency: int = 2,
) -> Subwords:
    """Trains one subword vocabulary on sentences of all languages.

    Args:
        texts: sentences of all languages.
        size: V, the largest number of pieces, with the three special ones.
        kind: ``"bpe"`` for byte-pair merges, ``"unigram"`` for a unigram language model.
        lowercase: whether texts are lower-cased.
        min_frequency: smallest count of a pair of pieces to be merged (``"bpe"``).

    Raises:
        ValueError: if all texts are empty, size is at most 3, or kind is unknown.
        TypeError: if texts is not a list of strings; the message gives the position.
        ImportError: if the tokenizers library is missing.

    Example:
        >>> words = jc.text.train_subwords(["a cat", "the cat", "a cat"], size=16)
        >>> words.size, words.pieces("The cat")[-1]
        (13, '▁cat')

    Source: Sennrich, Haddow and Birch 2016, arXiv 1508.07909; Kudo 2018, arXiv 1804.10959.
    """
    checks.one_of("kind", kind, KINDS)
    if size <= len(SPECIAL):
        raise ValueError(f"size must be more than {len(SPECIAL)} (special pieces), got {size}")
    texts = checks.texts("texts", texts)
    if not any(text.strip() for text in texts):
        raise ValueError(f"texts must have at least one sentence, got {len(texts)} empty ones")
    library = _library()
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    model = models.BPE(unk_token=SPECIAL[UNKNOWN]) if kind == "bpe" else models.Unigram()
    tokenizer = library.Tokenizer(model)
    # NFKC maps variants of a character, such as full-width letters, to the same pieces
    steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
    tokenizer.normalizer = normalizers.Sequence(steps)
    # pieces never cross words or punctuation marks; the words of a language without spaces
    # (Chinese, Japanese) are split by the trained model alone
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation("isolated")]
    )
    shared: dict[str, Any] = {
        "vocab_size": size,
        "special_tokens": list(SPECIAL),
        "show_progress": False,
    }
    if kind == "bpe":
        trainer: Any = trainers.BpeTrainer(min_frequency=min_frequency, **shared)
    else:
        trainer = trainers.UnigramTrainer(unk_token=SPECIAL[UNKNOWN], **shared)
    tokenizer.train_from_iterator(texts, trainer)
    return Subwords(tokenizer)


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError('subwords need tokenizers: pip install "jax-collab[text]"') from error
    return tokenizers
