"""Reading of text files, compressed or not, for every format."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import importlib
import itertools
import lzma
import os
import pathlib
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

Path = str | os.PathLike


# in the standard library from Python 3.14 on
ZSTD = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


def _zstd(file: pathlib.Path, mode: str) -> Any:
    try:
        zstd = importlib.import_module(ZSTD)
    except ImportError as error:
        raise ImportError(f'.zst files need {ZSTD}: pip install "jax-collab[text]"') from error
    return zstd.open(file, mode)


def _damage() -> tuple[type[Exception], ...]:
    """Returns the errors that damaged files raise."""
    module = sys.modules.get(ZSTD)  # imported when such a file is opened
    own = (module.ZstdError,) if module else ()
    return (EOFError, OSError, lzma.LZMAError, zlib.error, *own)


OPENERS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
    ".zst": _zstd,
}
# white space and characters without a width: zero width space, word joiner, byte order mark
BLANKS = "".join(c for c in map(chr, range(0x3001)) if c.isspace()) + "\u200b\u2060\ufeff"


def existing(path: Path, kind: str = "a file") -> pathlib.Path:
    """Returns the path of a file; FileNotFoundError if it does not exist."""
    file = pathlib.Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"path must be {kind}, got {file}, which is missing or a folder")
    return file


@contextlib.contextmanager
def opened(path: Path, kind: str = "a file") -> Iterator[IO[bytes]]:
    """Opens a file as bytes, decompressed by its suffix; ValueError if it is damaged."""
    file = existing(path, kind)
    try:
        with OPENERS.get(file.suffix, open)(file, "rb") as stream:
            yield stream
    except _damage() as error:
        # with an error number, it is a fault of the file system, not of the content
        if getattr(error, "errno", None) is not None:
            raise
        raise ValueError(f"path must be a whole {file.suffix} file, got {file}: {error}") from error


def raw_lines(path: Path, encoding: str = "utf-8", kind: str = "a text file") -> Iterator[str]:
    """Yields the lines of a text file without line ends and without a byte order mark.

    A line ends with ``\\n`` or ``\\r\\n``; with ``\\r`` only in a file without ``\\n``. Other
    separators (U+0085, U+2028) are part of lines, so that two parallel files stay aligned.

    Args:
        path: path of the file, which may be compressed (``.gz``, ``.xz``, ``.bz2``, ``.zst``).
        encoding: encoding of the text, a name that Python accepts.
        kind: description of the file, for error messages.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the encoding is unknown; while reading, if the file is damaged or a line
            is not text in this encoding, with the number of the line.
    """
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except (LookupError, TypeError):
        raise ValueError(f"encoding must be a Python encoding, got {encoding!r}") from None
    return _decoded(existing(path, kind), decoder, encoding)


def _decoded(
    file: pathlib.Path, decoder: codecs.IncrementalDecoder, encoding: str
) -> Iterator[str]:
    # Bytes are decoded first and split afterwards: in UTF-16, the byte of "\n" is also part of
    # other characters. str.splitlines would also split at U+0085 and U+2028.
    number, rest = 1, ""
    with opened(file) as stream:
        for piece in itertools.chain(stream, (b"",)):
            try:
                rest += decoder.decode(piece, not piece)
            except UnicodeError as error:
                what = getattr(error, "reason", error)
                if isinstance(error, UnicodeDecodeError):
                    what = f"{error.object[error.start : error.end]!r} ({error.reason})"
                raise _no_text(number, file, encoding, what) from error
            *lines, rest = rest.split("\n")
            for line in lines:
                yield _checked(line, number, file, encoding)
                number += 1
    # no "\n" in the file: line ends of the classic Mac OS
    if rest and number == 1:
        yield from _checked(rest, number, file, encoding).split("\r")
    elif rest:
        yield _checked(rest, number, file, encoding)


def _checked(line: str, number: int, file: pathlib.Path, encoding: str) -> str:
    if "\0" in line:  # UTF-16 without a byte order mark can decode as UTF-8
        raise _no_text(number, file, encoding, "the character NUL")
    return (line.removeprefix("\ufeff") if number == 1 else line).removesuffix("\r")


def _no_text(number: int, file: pathlib.Path, encoding: str, what: Any) -> ValueError:
    return ValueError(
        f"line {number} of {file} must be text in {encoding}, got {what}; pass another encoding "
        "with the argument encoding"
    )
