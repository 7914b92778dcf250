"""Text: plain lines, pairs of translations, and what held-out sentences must not be trained on."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import pathlib
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from jcollab.text.catalogs import gettext_pairs, read_catalog
from jcollab.text.pairs import Pairs

__all__ = [
    "Labeled",
    "Pairs",
    "disjoint",
    "folded",
    "gettext_pairs",
    "joined",
    "labeled_tsv",
    "lines",
    "parallel_lines",
    "read_catalog",
    "tfds_text",
    "tsv_pairs",
    "unique",
]

Path = str | os.PathLike
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}


class Labeled(NamedTuple):
    """Sentences with a class.

    Attributes:
        text: N strings.
        label: N strings.
        key: N strings by which the same sentence is found in another language; empty if there are
            none.
    """

    text: list[str]
    label: list[str]
    key: list[str]


def lines(path: Path) -> list[str]:
    """Lines of a UTF-8 file, which may be compressed (``.gz``, ``.xz``, ``.bz2``), stripped.

    Empty lines are kept, so that two files stay aligned.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it holds no text.
    """
    path = pathlib.Path(path)
    with OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8") as stream:
        # splitlines would also break at separators inside of sentences
        stripped = [line.strip() for line in stream.read().split("\n")]
    while stripped and not stripped[-1]:
        stripped.pop()
    if not stripped:
        raise ValueError(f"path must be a file with text, got {path} without any")
    return stripped


def tsv_pairs(path: Path, columns: tuple[int, int] = (0, 1)) -> Pairs:
    """Pairs from two columns of a file whose fields are parted by tabs.

    Args:
        path: the file, maybe compressed.
        columns: of the two languages.

    Raises:
        ValueError: if a line is without one of them, or a column is negative.
    """
    if len(columns) != 2 or min(columns) < 0:
        raise ValueError(f"columns must be two numbers of at least 0, got {columns}")
    source, target = [], []
    for number, line in enumerate(lines(path), 1):
        if not line:
            continue
        fields = line.split("\t")
        if len(fields) <= max(columns):
            raise ValueError(
                f"columns {columns} must be in every line, got {len(fields)} fields in line "
                f"{number} of {path}"
            )
        source.append(fields[columns[0]].strip())
        target.append(fields[columns[1]].strip())
    return Pairs(source, target)


def parallel_lines(source: Path, target: Path) -> Pairs:
    """Pairs from two files, line i of one with line i of the other.

    Lines that are empty on either side are dropped.

    Raises:
        ValueError: if the files differ in their number of lines.
    """
    left, right = lines(source), lines(target)
    if len(left) != len(right):
        raise ValueError(
            f"source and target must have equally many lines, got {len(left)} in {source} and "
            f"{len(right)} in {target}"
        )
    kept = [(a, b) for a, b in zip(left, right, strict=True) if a and b]
    return Pairs([a for a, _ in kept], [b for _, b in kept])


def labeled_tsv(path: Path, text: str = "text", label: str = "category", key: str = "") -> Labeled:
    """Sentences with classes from a file of tab-separated fields whose first line names them.

    Args:
        path: the file, maybe compressed.
        text: name of the column of sentences.
        label: name of the column of classes.
        key: name of the column that aligns languages; empty for none.

    Raises:
        ValueError: if there is no such column, or a line is too short.
    """
    head, *rows = (line.split("\t") for line in lines(path) if line)
    for name in filter(None, (text, label, key)):
        if name not in head:
            raise ValueError(f"column must be one of {', '.join(head)}, got {name!r} ({path})")
    if bad := next((row for row in rows if len(row) != len(head)), None):
        raise ValueError(f"every line must have {len(head)} fields, got {bad} in {path}")
    columns = [[row[head.index(name)] for row in rows] for name in filter(None, (text, label, key))]
    return Labeled(columns[0], columns[1], columns[2] if key else [])


def tfds_text(name: str, split: str = "train", field: str = "text", data_dir: Any = None) -> list:
    """Sentences of a prepared TFDS set in array_record format, read without TensorFlow.

    Args:
        name: of the set.
        split: of it, or a part (``"train[:10%]"``).
        field: which feature holds the text.
        data_dir: TFDS directory; None for ``JCOLLAB_DATA`` or TFDS's own default.

    Raises:
        ValueError: if there is no such set, or no such field.
        FileNotFoundError: if the set has not been prepared.
    """
    from jcollab.data.datasets import prepared  # loads tensorflow-datasets

    source = prepared(name, data_dir).as_data_source(split)
    items = source.__getitems__(range(len(source)))
    if items and field not in items[0]:
        raise ValueError(f"field must be one of {', '.join(sorted(items[0]))}, got {field!r}")
    return [x.decode() if isinstance(x := item[field], bytes) else str(x) for item in items]


class _Blanks(dict[int, str]):
    """Blanks in place of punctuation, symbols, separators and control characters."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = " " if unicodedata.category(character)[0] in "PSZC" else character
        return self[code]


_BLANKS = _Blanks()


def folded(text: str) -> str:
    """Text without case, punctuation and repeated blanks: what makes two sentences the same.

    Example:
        >>> folded("Where ARE  you?")
        'where are you'
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(text.translate(_BLANKS).split())


def disjoint(pairs: Pairs, *held_out: Iterable[str]) -> Pairs:
    """Pairs neither side of which is a held-out sentence, up to case and punctuation.

    Args:
        pairs: to be trained on.
        *held_out: sentences of any language.

    Example:
        >>> disjoint(Pairs(["A cat.", "Hi"], ["Eine Katze.", "Hallo"]), ["eine katze"]).source
        ['Hi']
    """
    excluded = {folded(text) for texts in held_out for text in texts} - {""}
    return pairs.keep(
        [folded(a) not in excluded and folded(b) not in excluded for a, b in pairs.both()]
    )


def unique(pairs: Pairs) -> Pairs:
    """The first of each pair that is the same up to case and punctuation."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for a, b in pairs.both():
        pair = folded(a), folded(b)
        kept.append(pair not in seen)
        seen.add(pair)
    return pairs.keep(kept)


def joined(pairs: Sequence[Pairs]) -> Pairs:
    """All pairs after one another.

    Raises:
        ValueError: if there are none.
    """
    if not pairs:
        raise ValueError("pairs must hold at least one corpus, got none")
    source, target, origin = (
        [text for corpus in pairs for text in corpus[field]] for field in range(3)
    )
    return Pairs(source, target, origin)
