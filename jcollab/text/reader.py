"""Splitting of text files into paragraphs and sentences of lower-cased words, read lazily."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from jcollab import checks
from jcollab.data.files import BLANKS, Path, raw_lines

ENDS = frozenset(".?!")
# an ellipsis; a word with inner apostrophes and hyphens; or one punctuation mark
WORD = re.compile(r"\.{2,}|\w+(?:['’\-]\w+)*|[^\w\s]")
INVISIBLE = str.maketrans({"\u200b": " ", "\u2060": None, "\ufeff": None, "\xad": None})


def read_lines(path: Path, *, encoding: str = "utf-8") -> Iterator[str]:
    """Yields the lines of a text file, stripped and without empty lines, one at a time.

    Args:
        path: path of the file, which may be compressed (``.gz``, ``.xz``, ``.bz2``,
            ``.zst``).
        encoding: encoding of the text.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the encoding is unknown; while reading, if the file is damaged or a line
            is not text in this encoding, with the number of the line.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "a.txt")
        ...     _ = path.write_text("The cat.\\n\\n  The dog.\\n")
        ...     list(jc.text.read_lines(path))
        ['The cat.', 'The dog.']
    """
    return filter(None, (line.strip(BLANKS) for line in raw_lines(path, encoding)))


def tokenize(text: str) -> list[str]:
    """Splits a text into lower-cased words and punctuation marks.

    Words keep inner apostrophes and hyphens. Characters without a width (soft hyphens, byte order
    marks) are removed, and accents are combined with their letters (NFC).

    Example:
        >>> jc.text.tokenize("The cat's mat, Sir!")
        ['the', "cat's", 'mat', ',', 'sir', '!']
    """
    text = unicodedata.normalize("NFC", text.translate(INVISIBLE)).lower()
    return WORD.findall(text.replace("’", "'"))


def paragraphs(
    lines: Iterable[str], *, max_tokens: int | None = None, max_words: int = 333
) -> Iterator[list[str]]:
    """Splits lines into paragraphs of words; long paragraphs are split at ends of sentences.

    Args:
        lines: texts of one paragraph each.
        max_tokens: number of words and marks after which reading ends; None for all.
        max_words: longest paragraph, in words; a longer sentence is truncated.

    Yields:
        The words of a paragraph.

    Raises:
        TypeError: if lines is one string, or a line is not a string; the message gives its
            position.
        ValueError: if a number is not positive, or the lines have no words.

    Example:
        >>> list(jc.text.paragraphs(["The cat sat. It slept."], max_words=4))
        [['the', 'cat', 'sat', '.'], ['it', 'slept', '.']]
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
            # a sentence has at most max_words words: an empty chunk is never yielded
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
    """Splits a paragraph into sentences, after each word that is ``.``, ``?`` or ``!``.

    Raises:
        TypeError: if words is not a list of words.

    Example:
        >>> jc.text.split_sentences(["why", "?", "the", "cat", "."])
        [['why', '?'], ['the', 'cat', '.']]
    """
    sentences: list[list[str]] = [[]]
    for word in checks.texts("words", words):
        sentences[-1].append(word)
        if word in ENDS:
            sentences.append([])
    return sentences if sentences[-1] else sentences[:-1]
