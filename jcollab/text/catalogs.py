"""Pairs of translations from gettext message catalogs, which most Linux systems contain."""

from __future__ import annotations

import os
import pathlib
import re
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence

from jcollab.text.pairs import Pairs

MAGIC = 0x950412DE
LONGEST = 80  # words
LARGEST_RATIO = 3.0  # of lengths in characters
# placeholders and tags: a program replaces or interprets them, so that they are not sentences
MARKUP = re.compile(
    r"""<[^<>\n]*>                                         # tags
    | &(?:[a-z]+|\#\d+);                                     # entities
    | %\([^)]*\)[-+ \#0]*\d*(?:\.\d+)?[a-zA-Z]                # %(name)s
    | %(?:\d+\$)?[-+\#0' I]*(?:\d+|\*(?:\d+\$)?)?(?:\.(?:\d+|\*(?:\d+\$)?)?)?
      (?:hh|h|ll|l|L|q|j|z|t)?(?:p[A-Z]\b|[sd](?![a-z])|[diouxXeEfFgGaAcspnmKPv]\b)  # printf
    | %<[A-Za-z0-9]+>                                      # <inttypes.h>
    | %\d+\b                                                # Qt
    | \$\{[^}]*\} | \$[A-Za-z_]+                           # variables
    | \{[A-Za-z0-9_:.!]*\}                                   # {} of Python
    """,
    re.VERBOSE,
)
MNEMONIC = re.compile(r"(?<!\w)_(?=\w)|&(?=\w)")  # an _ inside a word is part of a name


def gettext_pairs(language: str, directories: Iterable[str | os.PathLike] | None = None) -> Pairs:
    """Reads the English messages of installed programs and their translations, cleaned.

    A message with plural forms gives two pairs: the singulars, and the plural with the last form.
    Paragraphs become separate pairs if both sides have equally many. Context prefixes, printf and
    brace formats, variables, tags and mnemonics are removed.

    A pair is dropped if its sides are equal up to case, a side has no letters, undecodable bytes
    or more than 80 words, the lengths differ by more than a factor of 3, or it repeats an earlier
    pair up to case.

    Args:
        language: locale name, such as ``"fr"`` or ``"zh_CN"``.
        directories: folders with files ``LANGUAGE/LC_MESSAGES/*.mo``; None for the folders of the
            system (those of ``XDG_DATA_DIRS`` and of the Python installation).

    Returns:
        Pairs with the name of the catalog as ``origin``.

    Raises:
        ValueError: if language is not a locale name.
        FileNotFoundError: if there is no catalog of the language.

    Example:
        >>> pairs = jc.text.corpora.gettext_pairs("fr")  # doctest: +SKIP

    Source of the idea of catalogs as a corpus: OPUS (Tiedemann 2012, LREC), GNOME and KDE4.
    """
    if not re.fullmatch(r"[A-Za-z]{2,3}([_@.-]\w+)*", language):
        raise ValueError(
            f"language must be a locale name such as 'fr' or 'zh_CN', got {language!r}"
        )
    folders = [pathlib.Path(d) for d in (system_folders() if directories is None else directories)]
    files = [f for d in folders for f in sorted(d.glob(f"{language}/LC_MESSAGES/*.mo"))]
    if not files:
        looked = ", ".join(map(str, folders))
        raise FileNotFoundError(f"no catalog of language {language!r} exists in {looked}")
    # of both sides: a message with several translations gives several pairs
    seen: set[tuple[str, str]] = set()
    source, target, origin = [], [], []
    done: set[str] = set()
    for file in files:
        # the first folder with a catalog of this name takes precedence
        if file.name in done:
            continue
        done.add(file.name)
        for left, right in _messages(read_catalog(file)):
            for a, b in _paragraphs(left, right):
                a, b = _cleaned(a), _cleaned(b)
                if not _useful(a, b) or (key := (a.casefold(), b.casefold())) in seen:
                    continue
                seen.add(key)
                source.append(a)
                target.append(b)
                origin.append(file.stem)
    return Pairs(source, target, origin)


def system_folders() -> list[str]:
    """Returns the folders of this system that contain catalogs."""
    shares = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    folders = [f"{share}/locale" for share in (*shares.split(":"), f"{sys.base_prefix}/share")]
    return list(dict.fromkeys(folder for folder in folders if os.path.isdir(folder)))


def read_catalog(path: str | os.PathLike) -> list[tuple[str, str]]:
    """Reads the messages and translations of a compiled gettext catalog, without its header.

    Messages include their contexts (before ``\\x04``) and plural forms (separated by ``\\x00``).
    Bytes that are not text in the charset of the catalog become U+FFFD.

    Args:
        path: path of a ``.mo`` file.

    Returns:
        Tuples ``(message, translation)``.

    Raises:
        ValueError: if the file is not a catalog, or is truncated.

    Example:
        >>> import pathlib, struct, tempfile
        >>> # magic, version, number of messages, positions of both tables; length and position
        >>> head = struct.pack("<5I", 0x950412DE, 0, 1, 20, 28) + struct.pack("<4I", 3, 36, 5, 40)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "program.mo")
        ...     _ = path.write_bytes(head + b"cat\\0Katze\\0")
        ...     jc.text.corpora.read_catalog(path)
        [('cat', 'Katze')]
    """
    data = pathlib.Path(path).read_bytes()
    order = next((o for o in "<>" if data[:4] == struct.pack(o + "I", MAGIC)), None)
    if order is None or len(data) < 20:
        raise ValueError(f"path must be a compiled gettext catalog, got {path}")
    # bytes 4 to 8 are the version of the format
    count, originals, translations = struct.unpack(order + "3I", data[8:20])

    def strings(table: int) -> list[bytes]:
        # a table may end early; iter_unpack requires a multiple of its 8 bytes
        numbers = data[table : table + 8 * count]
        places = list(struct.iter_unpack(order + "2I", numbers[: len(numbers) // 8 * 8]))
        if len(places) != count or any(start + length > len(data) for length, start in places):
            raise ValueError(f"path must be a whole gettext catalog, got {path}, which ends early")
        return [data[start : start + length] for length, start in places]

    # the translation of the empty message is the header, which contains the charset
    entries = list(zip(strings(originals), strings(translations), strict=True))
    header = next((value for name, value in entries if not name), b"")
    match = re.search(rb"charset=([\w-]+)", header)
    charset = match[1].decode() if match else "utf-8"
    try:
        "".encode(charset)
    except LookupError:  # an unknown charset, for example the "CHARSET" of templates
        charset = "utf-8"
    return [
        (name.decode(charset, "replace"), value.decode(charset, "replace"))
        for name, value in entries
        if name
    ]


def _messages(entries: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Removes contexts; yields the singular, and the plural with the last plural form."""
    for name, value in entries:
        names, values = name.split("\x04")[-1].split("\x00"), value.split("\x00")
        yield names[0], values[0]
        if len(names) > 1 and len(values) > 1:
            yield names[1], values[-1]


def _paragraphs(left: str, right: str) -> Iterator[tuple[str, str]]:
    a, b = (re.split(r"\n\s*\n", text.strip()) for text in (left, right))
    yield from zip(a, b, strict=True) if len(a) == len(b) else [(left, right)]


def _cleaned(text: str) -> str:
    text = MNEMONIC.sub("", MARKUP.sub(" ", text))
    return " ".join(text.split())


def _useful(a: str, b: str) -> bool:
    if (
        "\ufffd" in a + b  # bytes that could not be decoded
        or a.casefold() == b.casefold()
        or not any(c.isalpha() for c in a)
        or not any(c.isalpha() for c in b)
    ):
        return False
    if max(len(a.split()), len(b.split())) > LONGEST:
        return False
    return max(len(a), len(b)) <= LARGEST_RATIO * min(len(a), len(b))
