"""Text files as paragraphs and sentences of lower-cased words, read as they are needed."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterable, Iterator

from jcollab.text.corpora import OPENERS

ENDS = frozenset(".?!")
WORD = re.compile(r"\.{2,}|\w+(?:['’\-]\w+)*|[^\w\s]")


def read_lines(path: str | os.PathLike) -> Iterator[str]:
    """Lines of a text file, plain or compressed (``.gz``, ``.xz``, ``.bz2``), without loading it.

    Args:
        path: of the file, UTF-8.

    Raises:
        FileNotFoundError: if it is not there.
    """
    file = existing(path, "a text file")
    with OPENERS.get(file.suffix, open)(file, "rb") as stream:
        for line in stream:
            if text := line.decode("utf-8").strip():
                yield text


def existing(path: str | os.PathLike, kind: str = "a file") -> pathlib.Path:
    """The path, or FileNotFoundError that says what it must be."""
    file = pathlib.Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"path must be {kind}, and {file} is not there")
    return file


def tokenize(text: str) -> list[str]:
    """Lower-cased words and marks; words keep inner apostrophes and hyphens.

    Example:
        >>> tokenize("The cat's mat, Sir!")
        ['the', "cat's", 'mat', ',', 'sir', '!']
    """
    return WORD.findall(text.lower().replace("’", "'"))


def paragraphs(
    lines: Iterable[str], *, max_tokens: int | None = None, max_words: int = 333
) -> Iterator[list[str]]:
    """Paragraphs of words, cut at ends of sentences where they are long.

    Args:
        lines: texts, one paragraph each.
        max_tokens: words and marks in all, after which reading ends; None for all.
        max_words: of a paragraph; a longer sentence is cut.

    Yields:
        The words of a paragraph.

    Raises:
        ValueError: if a number is not positive, or there is no word at all.
    """
    for name, value in (("max_tokens", max_tokens), ("max_words", max_words)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    left = max_tokens
    empty = True
    for line in lines:
        chunk: list[str] = []
        for sentence in split_sentences(tokenize(line)):
            sentence = sentence[: max_words if left is None else min(max_words, left)]
            if len(chunk) + len(sentence) > max_words:
                yield chunk
                chunk = []
            chunk = chunk + sentence
            left = None if left is None else left - len(sentence)
        if chunk:
            empty = False
            yield chunk
        if left == 0:
            return
    if empty:
        raise ValueError("lines must hold at least one word, got an empty corpus")


def split_sentences(words: Iterable[str]) -> list[list[str]]:
    """Sentences of a paragraph; one ends with each word that is ``.``, ``?`` or ``!``."""
    sentences: list[list[str]] = [[]]
    for word in words:
        sentences[-1].append(word)
        if word in ENDS:
            sentences.append([])
    return sentences if sentences[-1] else sentences[:-1]
