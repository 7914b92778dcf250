"""How much memory a compiled program takes, and how much there is."""

from __future__ import annotations

import pathlib
from typing import Any

import jax

GIB = 2**30


def memory_of(compiled: Any) -> int | None:
    """Bytes that a compiled program needs on each device; None if the compiler does not report it.

    Args:
        compiled: from ``jax.jit(fn).lower(...).compile()``.
    """
    analysis = compiled.memory_analysis()
    if analysis is None:
        return None
    total = (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.temp_size_in_bytes
    )
    return int(total - analysis.alias_size_in_bytes)


def free_memory() -> int | None:
    """Bytes that are free on the first device (in the machine, for a CPU); None if not known."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        limit = stats.get("bytes_limit")
        return None if limit is None else int(limit - stats.get("bytes_in_use", 0))
    file = pathlib.Path("/proc/meminfo")
    if not file.exists():
        return None
    lines = dict(line.split(":") for line in file.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None


def check_memory(compiled: Any, allocated: int = 0) -> int | None:
    """The need of a program, after checking that it fits.

    Args:
        compiled: as for :func:`memory_of`.
        allocated: bytes of its arguments that are allocated already.

    Raises:
        MemoryError: if it needs more than there is, with what helps.
    """
    need, free = memory_of(compiled), free_memory()
    if need is None or free is None:
        return need
    copies = 1
    if jax.local_devices()[0].platform == "cpu":  # whose devices share the memory
        used = [len(s.device_set) for s in jax.tree.leaves(compiled.output_shardings)]
        copies = max(used, default=1)
    if need * copies - allocated > free:
        raise MemoryError(
            f"the run needs about {need * copies / GIB:.1f} GiB, but {free / GIB:.1f} GiB are "
            "free; fewer clients at a time (chunk=...), fewer replicas, a smaller batch or "
            "jax.checkpoint(loss) help"
        )
    return need * copies
