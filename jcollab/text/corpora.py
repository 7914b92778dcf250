"""Readers of text corpora, and preparation of pairs of translations."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from jcollab import checks
from jcollab.data.files import BLANKS, Path, raw_lines
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


class Labeled(NamedTuple):
    """Sentences with classes.

    Attributes:
        text: N sentences.
        label: N classes.
        key: N keys, equal for the same sentence in different languages; empty if there are none.
    """

    text: list[str]
    label: list[str]
    key: list[str]


def lines(path: Path, *, encoding: str = "utf-8") -> list[str]:
    """Reads the lines of a file, stripped.

    Empty lines are kept, so that two parallel files stay aligned. A line ends with ``\\n`` or
    ``\\r\\n``; other separators (U+2028) are part of lines.

    Args:
        path: path of the file, which may be compressed (``.gz``, ``.xz``, ``.bz2``,
            ``.zst``).
        encoding: encoding of the text; a byte order mark is removed.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file has no text or is damaged, or a line is not text in this encoding,
            with the number of the line.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "a.txt")
        ...     _ = path.write_text("The cat.\\n\\n  The dog.\\n")
        ...     jc.text.corpora.lines(path)
        ['The cat.', '', 'The dog.']
    """
    stripped = [line.strip(BLANKS) for line in raw_lines(path, encoding)]
    if not any(stripped):
        raise ValueError(f"path must be a file with text, got {path} without any")
    return stripped


def tsv_pairs(path: Path, columns: tuple[int, int] = (0, 1), *, encoding: str = "utf-8") -> Pairs:
    """Reads pairs of sentences from two columns of a file of tab-separated fields.

    Pairs with an empty side are dropped.

    Args:
        path: path of the file, which may be compressed.
        columns: indices of the columns of the two languages.
        encoding: as for :func:`lines`.

    Raises:
        ValueError: as for :func:`lines`, if a line lacks one of the columns, or a column is
            negative.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "pairs.tsv")
        ...     _ = path.write_text("a cat\\teine Katze\\na dog\\t\\n")
        ...     pairs = jc.text.corpora.tsv_pairs(path)
        >>> pairs.source, pairs.target
        (['a cat'], ['eine Katze'])
    """
    if len(columns) != 2 or min(columns) < 0:
        raise ValueError(f"columns must be two indices of at least 0, got {columns}")
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
    """The number and the fields of each line that is not empty; fields may be empty."""
    rows = [
        (number, [field.strip(BLANKS) for field in line.split("\t")])
        for number, line in enumerate(raw_lines(path, encoding), 1)
        if line.strip(BLANKS)
    ]
    if not rows:
        raise ValueError(f"path must be a file with text, got {path} without any")
    return rows


def parallel_lines(source: Path, target: Path, *, encoding: str = "utf-8") -> Pairs:
    """Reads pairs of sentences from two files; line i of one translates line i of the other.

    Pairs with an empty side are dropped. Additional empty lines at the end of one file are
    ignored.

    Args:
        source: path of a file, which may be compressed.
        target: path of the file of the translations, which may be compressed.
        encoding: encoding of both files, as for :func:`lines`.

    Raises:
        ValueError: as for :func:`lines`, or if the files differ in their number of lines.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     english, german = pathlib.Path(folder, "en"), pathlib.Path(folder, "de")
        ...     _ = english.write_text("a cat\\na dog\\n")
        ...     _ = german.write_text("eine Katze\\nein Hund\\n")
        ...     pairs = jc.text.corpora.parallel_lines(english, german)
        >>> list(pairs.both())
        [('a cat', 'eine Katze'), ('a dog', 'ein Hund')]
    """
    left, right = lines(source, encoding=encoding), lines(target, encoding=encoding)
    # at most one of the slices has lines: those of the longer file past the end of the other
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
    """Reads sentences with classes from a file of tab-separated fields with a header line.

    Args:
        path: path of the file, which may be compressed.
        text: name of the column of sentences.
        label: name of the column of classes.
        key: name of the column of the keys of :class:`Labeled`; empty for none.
        encoding: as for :func:`lines`.

    Raises:
        ValueError: as for :func:`lines`, if a column is missing, or a line does not have as many
            fields as the header, with the number of the line.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "topics.tsv")
        ...     _ = path.write_text("category\\ttext\\nsport\\tThey won.\\n")
        ...     data = jc.text.corpora.labeled_tsv(path)
        >>> data.text, data.label
        (['They won.'], ['sport'])
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
    """Reads the sentences of a prepared TFDS data set in array_record format, without TensorFlow.

    Args:
        name: name of the data set.
        split: a split or a part of it, such as ``"train[:10%]"``.
        field: name of the feature with the text.
        data_dir: TFDS directory; None for ``JCOLLAB_DATA`` or the default of TFDS.

    Raises:
        TypeError: if the feature is not text.
        ValueError: if the data set or the field does not exist.
        FileNotFoundError: if the data set has not been prepared.

    Example:
        >>> reviews = jc.text.corpora.tfds_text("imdb_reviews")  # doctest: +SKIP
    """
    from jcollab.data.datasets import prepared  # here, as it imports tensorflow-datasets

    source = prepared(name, data_dir).as_data_source(split)
    items = source.__getitems__(range(len(source)))
    if items and field not in items[0]:
        raise ValueError(f"field must be one of {', '.join(sorted(items[0]))}, got {field!r}")
    values = [x.decode() if isinstance(x := item[field], bytes) else x for item in items]
    return checks.texts(f"field {field!r}", values)


class _Blanks(dict[int, str]):
    """Table for str.translate: punctuation, symbols, separators and controls become blanks.

    It is filled on demand; a table of all Unicode characters would be large and slow to build.
    """

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = " " if unicodedata.category(character)[0] in "PSZC" else character
        return self[code]


_BLANKS = _Blanks()


def folded(text: str) -> str:
    """Removes case, punctuation and repeated blanks, for comparisons of sentences.

    Example:
        >>> jc.text.corpora.folded("Where ARE  you?")
        'where are you'
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(text.translate(_BLANKS).split())


def disjoint(pairs: Pairs, *held_out: Iterable[str]) -> Pairs:
    """Removes the pairs with a test sentence on either side, up to case and punctuation.

    Args:
        pairs: training pairs.
        *held_out: lists of test sentences, in any language.

    Raises:
        TypeError: if an argument is not a list of strings; the message gives the position.
        ValueError: if the sides of pairs differ in length.

    Example:
        >>> pairs = jc.text.Pairs(["A cat.", "Hi"], ["Eine Katze.", "Hallo"])
        >>> jc.text.corpora.disjoint(pairs, ["eine katze"]).source
        ['Hi']
    """
    named = enumerate(held_out)
    excluded = {folded(text) for i, own in named for text in checks.texts(f"held_out[{i}]", own)}
    excluded -= {""}  # a test sentence of punctuation alone would remove all such pairs
    return pairs.keep(
        [folded(a) not in excluded and folded(b) not in excluded for a, b in pairs.both()]
    )


def unique(pairs: Pairs) -> Pairs:
    """Removes repeated pairs, up to case and punctuation; the first one of each is kept.

    Example:
        >>> pairs = jc.text.Pairs(["A cat.", "a cat"], ["Eine Katze.", "eine Katze"])
        >>> jc.text.corpora.unique(pairs).source
        ['A cat.']
    """
    seen: set[tuple[str, str]] = set()
    kept = []
    for a, b in pairs.both():
        pair = folded(a), folded(b)
        kept.append(pair not in seen)
        seen.add(pair)
    return pairs.keep(kept)


def joined(pairs: Sequence[Pairs]) -> Pairs:
    """Concatenates several corpora of pairs; an unknown origin among known ones becomes ``""``.

    Raises:
        TypeError: if an element is not :class:`Pairs`.
        ValueError: if there are no corpora.

    Example:
        >>> cats, dogs = jc.text.Pairs(["cat"], ["Katze"]), jc.text.Pairs(["dog"], ["Hund"])
        >>> jc.text.corpora.joined([cats, dogs]).target
        ['Katze', 'Hund']
    """
    if not pairs:
        raise ValueError("pairs must have at least one corpus, got none")
    if bad := [corpus for corpus in pairs if not isinstance(corpus, Pairs)]:
        raise TypeError(f"pairs must be a list of Pairs, got {type(bad[0]).__name__} in it")
    source, target = ([text for corpus in pairs for text in corpus[side]] for side in range(2))
    # an origin for every pair, so that those of corpora with origins stay aligned
    origin = [name for corpus in pairs for name in corpus.origin or [""] * len(corpus.source)]
    return Pairs(source, target, origin if any(origin) else [])
