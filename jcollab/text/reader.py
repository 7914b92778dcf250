"""Text files as paragraphs and sentences of lower-cased words, read as they are needed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from jcollab import checks
from jcollab.text.files import BLANKS, Path, raw_lines

ENDS = frozenset(".?!")
WORD = re.compile(r"\.{2,}|\w+(?:['’\-]\w+)*|[^\w\s]")
INVISIBLE = str.maketrans({"\u200b": " ", "\u2060": None, "\ufeff": None, "\xad": None})


def read_lines(path: Path, *, encoding: str = "utf-8") -> Iterator[str]:
    """Lines of a text file without loading it, stripped; empty ones are left out.

    Args:
        path: of the file, which may be compressed (``.gz``, ``.xz``, ``.bz2``).
        encoding: of the text.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: for an encoding that Python does not know; while reading, with the number of a
            line that is no text in this encoding, or if the file is damaged.
    """
    return filter(None, (line.strip(BLANKS) for line in raw_lines(path, encoding)))


def tokenize(text: str) -> list[str]:
    """Lower-cased words and marks; words keep inner apostrophes and hyphens.

    Characters without a width (soft hyphens, byte order marks) are removed, and accents are joined
    with their letters (NFC).

    Example:
        >>> tokenize("The cat's mat, Sir!")
        ['the', "cat's", 'mat', ',', 'sir', '!']
    """
    text = unicodedata.normalize("NFC", text.translate(INVISIBLE)).lower()
    return WORD.findall(text.replace("’", "'"))


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
        TypeError: if lines is one string, or a line is none (with its place).
        ValueError: if a number is not positive, or there is no word at all.
    """
    checks.counts(max_tokens=max_tokens, max_words=max_words)
    if isinstance(lines, str):
        raise TypeError(f"lines must be a list of strings, got the string {lines[:40]!r}")
    left = max_tokens
    empty = True
    for i, line in enumerate(lines):
        if not isinstance(line, str):
            raise TypeError(f"lines must be a list of strings, got {line!r} at [{i}]")
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
        raise ValueError("lines must have at least one word, got an empty corpus")


def split_sentences(words: Iterable[str]) -> list[list[str]]:
    """Sentences of a paragraph; one ends with each word that is ``.``, ``?`` or ``!``."""
    sentences: list[list[str]] = [[]]
    for word in checks.texts("words", words):
        sentences[-1].append(word)
        if word in ENDS:
            sentences.append([])
    return sentences if sentences[-1] else sentences[:-1]
