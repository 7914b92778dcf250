"""Text: plain lines, pairs of translations, and training pairs without test sentences."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from jcollab import checks
from jcollab.text.catalogs import gettext_pairs, read_catalog
from jcollab.text.files import BLANKS, Path, raw_lines
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


class Labeled(NamedTuple):
    """Sentences with a class.

    Attributes:
        text: N strings.
        label: N strings.
        key: N strings that identify the same sentence in other languages; empty if there are
            none.
    """

    text: list[str]
    label: list[str]
    key: list[str]


def lines(path: Path, *, encoding: str = "utf-8") -> list[str]:
    """Lines of a file, stripped. Empty lines are kept, so that two files stay aligned.

    A line ends with ``\\n`` or ``\\r\\n``; other separators (U+2028) are part of lines.

    Args:
        path: the file, which may be compressed (``.gz``, ``.xz``, ``.bz2``).
        encoding: of the text; a byte order mark is removed.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it has no text, is damaged, or with the number of a line that is no text in
            this encoding.
    """
    stripped = [line.strip(BLANKS) for line in raw_lines(path, encoding)]
    if not any(stripped):
        raise ValueError(f"path must be a file with text, got {path} without any")
    return stripped


def tsv_pairs(path: Path, columns: tuple[int, int] = (0, 1), *, encoding: str = "utf-8") -> Pairs:
    """Pairs from two columns of a file whose fields are parted by tabs.

    Pairs that are empty on either side are dropped.

    Args:
        path: the file, maybe compressed.
        columns: of the two languages.
        encoding: as for :func:`lines`.

    Raises:
        ValueError: as for :func:`lines`, if a line is without one of the columns, or a column is
            negative.
    """
    if len(columns) != 2 or min(columns) < 0:
        raise ValueError(f"columns must be two numbers of at least 0, got {columns}")
    source, target = [], []
    for number, fields in _fields(path, encoding):
        if len(fields) <= max(columns):
            raise ValueError(
                f"columns {columns} must be in every line, got {len(fields)} fields in line "
                f"{number} of {path}"
            )
        left, right = (fields[column] for column in columns)
        if left and right:
            source.append(left)
            target.append(right)
    return Pairs(source, target)


def _fields(path: Path, encoding: str) -> list[tuple[int, list[str]]]:
    """The number and the fields of each line that is not empty; a field may be empty."""
    rows = [
        (number, [field.strip(BLANKS) for field in line.split("\t")])
        for number, line in enumerate(raw_lines(path, encoding), 1)
        if line.strip(BLANKS)
    ]
    if not rows:
        raise ValueError(f"path must be a file with text, got {path} without any")
    return rows


def parallel_lines(source: Path, target: Path, *, encoding: str = "utf-8") -> Pairs:
    """Pairs from two files, line i of one with line i of the other.

    Lines that are empty on either side are dropped, and so are empty lines at the end that only
    one file has.

    Args:
        source: a file, maybe compressed.
        target: the file of its translations.
        encoding: of both, as for :func:`lines`.

    Raises:
        ValueError: as for :func:`lines`, or if the files differ in their number of lines.
    """
    left, right = lines(source, encoding=encoding), lines(target, encoding=encoding)
    if any(left[len(right) :] + right[len(left) :]):
        raise ValueError(
            f"source and target must have equally many lines, got {len(left)} in {source} and "
            f"{len(right)} in {target}"
        )
    kept = [(a, b) for a, b in zip(left, right, strict=False) if a and b]
    return Pairs([a for a, _ in kept], [b for _, b in kept])


def labeled_tsv(
    path: Path,
    text: str = "text",
    label: str = "category",
    key: str = "",
    *,
    encoding: str = "utf-8",
) -> Labeled:
    """Sentences with classes from a file of tab-separated fields whose first line names them.

    Args:
        path: the file, maybe compressed.
        text: name of the column of sentences.
        label: name of the column of classes.
        key: name of the column that aligns languages; empty for none.
        encoding: as for :func:`lines`.

    Raises:
        ValueError: as for :func:`lines`, if there is no such column, or with the number of a line
            that has another number of fields.
    """
    (_, head), *rows = _fields(path, encoding)
    for name in filter(None, (text, label, key)):
        if name not in head:
            raise ValueError(f"column must be one of {', '.join(head)}, got {name!r} ({path})")
    for number, row in rows:
        if len(row) != len(head):
            raise ValueError(
                f"line {number} of {path} must have {len(head)} fields, got {len(row)}: {row}"
            )
    columns = [
        [row[head.index(name)] for _, row in rows] for name in filter(None, (text, label, key))
    ]
    return Labeled(columns[0], columns[1], columns[2] if key else [])


def tfds_text(name: str, split: str = "train", field: str = "text", data_dir: Any = None) -> list:
    """Sentences of a prepared TFDS set in array_record format, read without TensorFlow.

    Args:
        name: of the set.
        split: of it, or a part (``"train[:10%]"``).
        field: the feature that has the text.
        data_dir: TFDS directory; None for ``JCOLLAB_DATA`` or TFDS's own default.

    Raises:
        TypeError: if the feature is no text.
        ValueError: if there is no such set, or no such field.
        FileNotFoundError: if the set has not been prepared.
    """
    from jcollab.data.datasets import prepared  # loads tensorflow-datasets

    source = prepared(name, data_dir).as_data_source(split)
    items = source.__getitems__(range(len(source)))
    if items and field not in items[0]:
        raise ValueError(f"field must be one of {', '.join(sorted(items[0]))}, got {field!r}")
    values = [x.decode() if isinstance(x := item[field], bytes) else x for item in items]
    return checks.texts(f"field {field!r}", values)


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
    """Pairs without test sentences on either side, up to case and punctuation.

    Args:
        pairs: to be trained on.
        *held_out: sentences of any language.

    Raises:
        TypeError: if sentences are no lists of strings, with the place of what is none.
        ValueError: if the sides of pairs differ in length.

    Example:
        >>> disjoint(Pairs(["A cat.", "Hi"], ["Eine Katze.", "Hallo"]), ["eine katze"]).source
        ['Hi']
    """
    named = enumerate(held_out)
    excluded = {folded(text) for i, own in named for text in checks.texts(f"held_out[{i}]", own)}
    excluded -= {""}
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
        TypeError: if one of them is no :class:`Pairs`.
        ValueError: if there are none.
    """
    if not pairs:
        raise ValueError("pairs must have at least one corpus, got none")
    if bad := [corpus for corpus in pairs if not isinstance(corpus, Pairs)]:
        raise TypeError(f"pairs must be a list of Pairs, got {type(bad[0]).__name__} in it")
    source, target, origin = (
        [text for corpus in pairs for text in corpus[field]] for field in range(3)
    )
    return Pairs(source, target, origin)
