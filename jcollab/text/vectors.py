"""Tables of word vectors: look-up, comparison, saving and loading."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import IO

import numpy as np

from jcollab import checks
from jcollab.data.files import existing, opened
from jcollab.text.retrieval import normalized
from jcollab.text.teacher import EXTRA

KIND = "a file of word vectors"


@dataclasses.dataclass(frozen=True)
class WordVectors:
    """A table of static word vectors.

    Attributes:
        words: V different words.
        table: float32 ``[V, d]``, the vector of each word.

    Raises:
        ValueError: if the table is not ``[V, d]``, contains NaN or infinity, or a word occurs
            twice.

    Example:
        >>> table = np.array([[1, 0], [1, 1], [-1, 0.2]])
        >>> vectors = jc.text.WordVectors(("cat", "dog", "car"), table)
        >>> vectors["dog"].tolist(), round(vectors.similarity("cat", "dog"), 3)
        ([1.0, 1.0], 0.707)
        >>> vectors.nearest("cat", 1)[0][0]
        'dog'
    """

    words: tuple[str, ...]
    table: np.ndarray

    def __post_init__(self) -> None:
        """Checks that the table fits the words."""
        # the dataclass is frozen, which does not allow assignments
        object.__setattr__(self, "words", tuple(checks.texts("words", self.words)))
        object.__setattr__(self, "table", np.asarray(self.table, np.float32))
        if self.table.ndim != 2 or len(self.table) != len(self.words) or not len(self.words):
            raise ValueError(
                f"table must be [V={len(self.words)}, d] with V at least 1, got {self.table.shape}"
            )
        if len(self.ids) != len(self.words):
            word, count = collections.Counter(self.words).most_common(1)[0]
            raise ValueError(f"words must differ, got {word!r} {count} times")
        if not np.isfinite(self.table).all():
            bad = int(np.isfinite(self.table).all(1).argmin())
            raise ValueError(f"table must be finite, got NaN or infinity for {self.words[bad]!r}")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.ids

    def __getitem__(self, word: str) -> np.ndarray:
        """Returns the vector of a word, ``[d]``; KeyError if the word is unknown."""
        if word not in self.ids:
            raise KeyError(f"word must be one of {len(self)} words, got {word!r}")
        return self.table[self.ids[word]]

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        """The row index of each word."""
        return {word: i for i, word in enumerate(self.words)}

    @functools.cached_property
    def directions(self) -> np.ndarray:
        """The rows scaled to length 1, float32 ``[V, d]``; a row of zeros stays 0."""
        return normalized(self.table)

    def similarity(self, left: str, right: str) -> float:
        """Computes the cosine of the vectors of two words.

        Raises:
            KeyError: if a word is unknown.
        """
        self[left], self[right]  # raises the KeyError with the word in its message
        return float(self.directions[self.ids[left]] @ self.directions[self.ids[right]])

    def nearest(self, word: str | np.ndarray, k: int = 10) -> list[tuple[str, float]]:
        """Returns the k words of largest cosine with a word or a vector ``[d]``, with cosines.

        A word is not among its own neighbors.

        Raises:
            KeyError: if the word is unknown.
            ValueError: if k < 1 or the vector does not have shape ``[d]``.
        """
        known = [word] if isinstance(word, str) else []
        query = self[word] if isinstance(word, str) else np.asarray(word, np.float32)
        return self._ranked(query, known, k)

    def analogy(self, a: str, b: str, c: str, k: int = 1) -> list[tuple[str, float]]:
        """Returns the k best answers to "a is to b as c is to": largest cosine with ``b - a + c``.

        Vectors are scaled to length 1 first; a, b and c are excluded from the answers.

        Raises:
            KeyError: if a word is unknown.
            ValueError: if k < 1.

        Example:
            >>> table = np.array([[1, 0], [1, 1], [-1, 0], [-1, 1]])
            >>> vectors = jc.text.WordVectors(("man", "king", "woman", "queen"), table)
            >>> vectors.analogy("man", "king", "woman")[0][0]
            'queen'

        Source: Mikolov, Yih and Zweig 2013, NAACL.
        """
        for word in (a, b, c):
            self[word]
        rows = self.directions[[self.ids[word] for word in (b, a, c)]]
        return self._ranked(rows[0] - rows[1] + rows[2], [a, b, c], k)

    def mean(self, words: Iterable[str]) -> np.ndarray:
        """Computes the mean vector of the known words, ``[d]``; 0 if no word is known.

        Raises:
            TypeError: if words is one string, or contains a value that is not a string; the
                message gives its position.
        """
        rows = [self.ids[word] for word in checks.texts("words", words) if word in self.ids]
        return self.table[rows].mean(0) if rows else np.zeros(self.table.shape[1], np.float32)

    def _ranked(self, query: np.ndarray, without: Sequence[str], k: int) -> list[tuple[str, float]]:
        checks.count("k", k)
        if query.shape != self.table.shape[1:]:
            raise ValueError(f"word must be a vector {self.table.shape[1:]}, got {query.shape}")
        scores = self.directions @ normalized(query[None])[0]
        scores[[self.ids[word] for word in without]] = -np.inf
        # at most as many as there are answers, so that excluded words never appear at the end
        k = min(k, len(self) - len(set(without)))
        best = np.argsort(-scores, kind="stable")[:k]
        return [(self.words[i], float(scores[i])) for i in best]

    def save_word2vec(self, path: str | os.PathLike, *, binary: bool = False) -> None:
        """Writes the word2vec format: a line ``V d``, then each word with its vector.

        Args:
            path: path of the file.
            binary: whether vectors are written as float32 instead of decimal numbers.

        Raises:
            ValueError: if a word is empty or contains a space, a tab or a line end, which
                separate the fields of the format.
        """
        for word in self.words:
            if not word or re.search(r"[ \t\r\n]", word):
                raise ValueError(f"words must be without blanks, got {word!r}")
        with pathlib.Path(path).open("wb") as file:
            file.write(f"{len(self)} {self.table.shape[1]}\n".encode())
            for word, row in zip(self.words, self.table, strict=True):
                if binary:
                    file.write(f"{word} ".encode() + row.astype("<f4").tobytes() + b"\n")
                else:  # nine significant digits determine a float32 exactly
                    file.write(f"{word} {' '.join(f'{x:.9g}' for x in row)}\n".encode())

    def save_safetensors(self, path: str | os.PathLike) -> None:
        """Writes a safetensors file: tensor ``vectors`` with the table, header with the words."""
        try:
            from safetensors.numpy import save_file
        except ImportError as error:
            raise ImportError(f"save_safetensors needs safetensors: {EXTRA}") from error
        words = {"words": json.dumps(self.words, ensure_ascii=False)}
        save_file({"vectors": np.ascontiguousarray(self.table)}, path, metadata=words)


def load_word2vec(
    path: str | os.PathLike, *, binary: bool = False, encoding: str = "utf-8"
) -> WordVectors:
    """Reads word vectors in the word2vec format: a line ``V d``, then each word with its vector.

    Args:
        path: path of the file, which may be compressed (``.gz``, ``.xz``, ``.bz2``,
            ``.zst``).
        binary: whether vectors are stored as float32 instead of decimal numbers.
        encoding: encoding of the words.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if a line does not have this format, with the number of the line, or a word
            occurs twice.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "vectors.txt")
        ...     _ = path.write_text("2 3\\ncat 1 0 0\\ndog 1 1 0\\n")
        ...     vectors = jc.text.load_word2vec(path)
        >>> vectors["dog"].tolist()
        [1.0, 1.0, 0.0]
    """
    words, rows = [], []
    with opened(path, KIND) as file:
        head = file.readline().split()
        if len(head) != 2 or not all(part.isdigit() for part in head):
            raise ValueError(f"{path} must start with a line 'V d', got {b' '.join(head)[:80]!r}")
        count, width = map(int, head)
        for number in range(2, count + 2):
            read = _binary_row if binary else _decimal_row
            word, row = read(file, width, f"line {number} of {path}")
            try:
                words.append(word.decode(encoding))
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"line {number} of {path} must have a word in {encoding}, got {word!r}"
                ) from error
            rows.append(row)
        if file.read().strip():
            raise ValueError(f"{path} must have {count} words, as in its first line, got more")
    return WordVectors(tuple(words), np.stack(rows) if rows else np.zeros((0, width)))


def _binary_row(file: IO[bytes], width: int, where: str) -> tuple[bytes, np.ndarray]:
    # A word ends at a space; the vector has a fixed number of bytes, any of which may be a space
    # or a line end, so that the file cannot be split into lines.
    word = bytearray()
    while (byte := file.read(1)) not in (b" ", b""):
        word += byte
    body = file.read(4 * width)
    if len(body) != 4 * width:
        raise ValueError(f"{where} must be a word and {width} numbers, got the end of the file")
    # some programs write a line end after each vector, others do not
    return bytes(word.lstrip(b"\n")), np.frombuffer(body, "<f4")


def _decimal_row(file: IO[bytes], width: int, where: str) -> tuple[bytes, np.ndarray]:
    # str.split would also split at other white space (U+00A0, U+3000), which is part of words
    parts = re.split(rb"[ \t]+", file.readline().strip(b" \t\r\n"))
    if len(parts) != width + 1:
        raise ValueError(f"{where} must be a word and {width} numbers, got {len(parts)} parts")
    try:
        return parts[0], np.array(parts[1:], np.float32)
    except ValueError as error:
        raise ValueError(f"{where} must be a word and {width} numbers: {error}") from error


def load_safetensors(path: str | os.PathLike) -> WordVectors:
    """Reads a file written by :meth:`WordVectors.save_safetensors`.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if it does not contain the vectors or the words.
        ImportError: if the safetensors library is missing.

    Example:
        >>> import pathlib, tempfile
        >>> vectors = jc.text.WordVectors(("cat", "dog"), np.eye(2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     vectors.save_safetensors(pathlib.Path(folder, "vectors.safetensors"))
        ...     copy = jc.text.load_safetensors(pathlib.Path(folder, "vectors.safetensors"))
        >>> copy.words, copy["dog"].tolist()
        (('cat', 'dog'), [0.0, 1.0])
    """
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise ImportError(f"load_safetensors needs safetensors: {EXTRA}") from error
    with safe_open(existing(path, KIND), framework="np") as file:
        if "vectors" not in set(file.keys()) or "words" not in (file.metadata() or {}):
            raise ValueError(f"{path} must have the tensor 'vectors' and words in its header")
        return WordVectors(tuple(json.loads(file.metadata()["words"])), file.get_tensor("vectors"))
