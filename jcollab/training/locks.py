"""A folder that one process writes to at a time."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # which Windows does not have
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def locked(name: str, folder: str | os.PathLike) -> Iterator[None]:
    """Locks a folder, which is made if it does not exist.

    The lock belongs to the process and leaves no file: that of a process that was killed is gone.
    File systems without locks are not locked.

    Args:
        name: of the argument that has the folder, for error messages.
        folder: the folder.

    Raises:
        ValueError: if it is a file, or another process has locked it.
        OSError: if it cannot be made or written to.
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
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{name} must be a folder that no other process is using, got {path}, which one is"
            ) from None
        except OSError:  # a network file system that locks no folders
            pass
        yield
    finally:
        os.close(descriptor)
