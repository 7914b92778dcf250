"""One vocabulary of subwords for several languages."""

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
    """Splits sentences into numbered pieces; 0 is padding, 1 unknown, 2 the mask.

    Attributes:
        tokenizer: of the tokenizers library.
    """

    tokenizer: Any

    @property
    def size(self) -> int:
        """V, the number of pieces."""
        return self.tokenizer.get_vocab_size()

    def pieces(self, text: str) -> list[str]:
        """The pieces of a sentence; ``▁`` stands before a word."""
        return self.tokenizer.encode(text).tokens

    def ids(self, texts: Sequence[str], max_len: int = 200) -> np.ndarray:
        """Numbers of the pieces of every sentence, int32 ``[N, L]``, padded with 0.

        Args:
            texts: N sentences.
            max_len: longest length; what is longer is cut off. L is that of the longest sentence.

        Raises:
            TypeError: if it is one string, or with the place of what is none.
            ValueError: if max_len < 1.
        """
        checks.count("max_len", max_len)
        rows = [e.ids[:max_len] for e in self.tokenizer.encode_batch(checks.texts("texts", texts))]
        out = np.zeros((len(rows), max((len(row) for row in rows), default=1) or 1), np.int32)
        for i, row in enumerate(rows):
            out[i, : len(row)] = row
        return out

    @functools.cached_property
    def maskable(self) -> np.ndarray:
        """Bool ``[V]``: pieces with a letter or a digit, the others are never masked."""
        inside = [self.tokenizer.id_to_token(i).lstrip("▁") for i in range(self.size)]
        return np.array(
            [
                i >= len(SPECIAL) and any(unicodedata.category(c)[0] in "LN" for c in piece)
                for i, piece in enumerate(inside)
            ]
        )

    def save(self, path: str | os.PathLike) -> None:
        """Writes the vocabulary as JSON, the format of the tokenizers library."""
        self.tokenizer.save(os.fspath(path))

    @staticmethod
    def load(path: str | os.PathLike) -> Subwords:
        """Reads what :meth:`save` has written.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if its first pieces are not padding, unknown and mask.
        """
        if not os.path.exists(path):
            raise FileNotFoundError(f"path must be a saved vocabulary, got {path}")
        tokenizer = _library().Tokenizer.from_file(os.fspath(path))
        first = tuple(tokenizer.id_to_token(i) for i in range(len(SPECIAL)))
        if first != SPECIAL:
            raise ValueError(f"the first pieces must be {SPECIAL}, got {first} in {path}")
        return Subwords(tokenizer)


def train_subwords(
    texts: Iterable[str],
    size: int = 8000,
    kind: Literal["bpe", "unigram"] = "bpe",
    *,
    lowercase: bool = True,
    min_frequency: int = 2,
) -> Subwords:
    """Learns the pieces that several languages share from sentences of all of them.

    Args:
        texts: sentences, those of all languages.
        size: V, the largest number of pieces, with the three special ones.
        kind: byte-pair merges or a unigram language model.
        lowercase: whether case is folded away.
        min_frequency: how often a pair must occur to be merged (bpe).

    Raises:
        ValueError: if there is no text, size leaves no room for pieces, or ``kind`` is another.
        TypeError: if ``texts`` is a string, or with the place of what is none.
        ImportError: if the tokenizers library is missing.

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
    steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
    tokenizer.normalizer = normalizers.Sequence(steps)
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
