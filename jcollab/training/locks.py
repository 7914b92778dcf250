"""Locks of folders, so that one process at a time writes to them."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def locked(name: str, folder: str | os.PathLike) -> Iterator[None]:
    """Locks a folder, which is created if it does not exist.

    The lock ends with the process, also if it is killed, and leaves no file. On file systems
    without locks there is no lock.

    Args:
        name: name of the argument in error messages.
        folder: the folder.

    Raises:
        ValueError: if it is a file, or another process has locked it.
        OSError: if it cannot be created or written to.
    """
    path = pathlib.Path(folder)
    if path.exists() and not path.is_dir():
        raise ValueError(f"{name} must be a folder, got the file {path}")
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(f"{name} must be a folder that can be written to, got {path}")
    if fcntl is None:
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            # The kernel releases it when the process dies; a lock file would remain, and block the
            # next run until a user deletes it.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{name} must be a folder that no other process is using, got {path}, in use"
            ) from None
        except OSError:  # a network file system without locks of folders
            pass
        yield
    finally:
        os.close(descriptor)
