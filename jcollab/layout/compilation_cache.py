"""A folder of compiled programs, from which later processes start faster."""

from __future__ import annotations

import hashlib
import os
import pathlib
import platform

import jax

from jcollab import checks

MAX_BYTES = 1 << 30
PROCESSOR = ("model name", "flags", "CPU part", "Features")  # lines of /proc/cpuinfo


def cache_dir() -> pathlib.Path:
    """Returns the folder of cached files: ``jcollab`` in XDG_CACHE_HOME, by default ~/.cache.

    Example:
        >>> jc.layout.cache_dir().name
        'jcollab'
    """
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "jcollab"


def use_compilation_cache(
    folder: str | pathlib.Path | None = None, *, max_bytes: int = MAX_BYTES
) -> pathlib.Path | None:
    """Stores compiled programs in a folder, so that later processes load instead of compile them.

    This sets options of JAX for the whole process, so it is for entry points: scripts and
    notebooks, not libraries. A program is compiled again if its shapes, its options, the version of
    JAX or the processor differ. The folder must not be writable by users that you do not trust,
    since its programs are run.

    Args:
        folder: the folder, which is created if necessary. Each kind of processor has a folder of
            its own in it. None for the one that JAX already uses (``JAX_COMPILATION_CACHE_DIR``),
            otherwise ``xla`` in :func:`cache_dir`.
        max_bytes: size of the folder of one processor. Programs that were not used for the longest
            time are deleted if it is larger when this function is called.

    Returns:
        The folder of this processor; None if the default folder cannot be created.

    Raises:
        ValueError: if max_bytes < 1.
        OSError: if a given folder cannot be created.

    Example:
        >>> jc.layout.use_compilation_cache("runs/programs")  # doctest: +SKIP
        PosixPath('runs/programs/x86_64-4c1f31a0')
    """
    from jax.experimental.compilation_cache.compilation_cache import reset_cache

    checks.count("max_bytes", max_bytes)
    known = jax.config.values["jax_compilation_cache_dir"]
    own = pathlib.Path(folder or cache_dir() / "xla").expanduser() / processor()
    if folder is None and known:
        own = pathlib.Path(known)
    else:
        try:
            own.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:  # for example in a container with a read-only home
            if folder is not None:
                raise
            return None
        _prune(own, max_bytes)
        jax.config.update("jax_compilation_cache_dir", str(own))
    # Most programs at the start of a process are small: operations on single arrays, which compile
    # for 5 to 30 ms each, and load in 1 ms. By default JAX stores only those that take a second.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # JAX decides at its first compilation whether there is a cache, and this may be a later one
    reset_cache()
    return own


def processor() -> str:
    """Returns a name for the kind of processor, with a digest of its instruction sets.

    Example:
        >>> processor() == processor()
        True
    """
    # A program for a CPU uses the instructions of the processor that compiled it, and JAX does not
    # compare them. Several machines may share a home.
    known = [platform.machine(), platform.processor()]
    file = pathlib.Path("/proc/cpuinfo")
    if file.exists():
        lines = file.read_text().split("\n\n")[0].splitlines()  # of the first core
        known += [line for line in lines if line.startswith(PROCESSOR)]
    digest = hashlib.sha256("\n".join(known).encode()).hexdigest()[:8]
    return f"{platform.machine()}-{digest}"


def _prune(folder: pathlib.Path, max_bytes: int) -> None:
    """Deletes the files that were not used for the longest time, until the rest fits."""
    entries = []
    for file in folder.glob("*-cache"):
        try:
            entries.append((file.stat(), file))
        except OSError:  # another process deleted it
            continue
    entries.sort(key=lambda entry: max(entry[0].st_atime, entry[0].st_mtime), reverse=True)
    total = 0
    for stat, file in entries:
        total += stat.st_size
        if total > max_bytes:
            file.unlink(missing_ok=True)
