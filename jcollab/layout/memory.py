"""Memory that a compiled program needs, and memory that is free."""

from __future__ import annotations

import pathlib
from typing import Any

import jax

GIB = 2**30


def memory_of(compiled: Any) -> int | None:
    """Returns the bytes that a compiled program needs per device, None if they are not reported.

    Args:
        compiled: from ``jax.jit(fn).lower(...).compile()``.

    Example:
        >>> compiled = jax.jit(lambda x: x + 1).lower(jnp.ones(1000)).compile()
        >>> jc.layout.memory_of(compiled) >= 8000  # argument and result
        True
    """
    analysis = compiled.memory_analysis()
    if analysis is None:
        return None
    total = (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.temp_size_in_bytes
    )
    # outputs in the memory of donated arguments are in both sizes
    return int(total - analysis.alias_size_in_bytes)


def free_memory() -> int | None:
    """Returns the free bytes of the first device (of the machine, for a CPU), None if unknown.

    Example:
        >>> free = jc.layout.free_memory()
        >>> free is None or free > 0
        True
    """
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        limit = stats.get("bytes_limit")
        return None if limit is None else int(limit - stats.get("bytes_in_use", 0))
    # MemAvailable includes caches that the system can drop, which MemFree does not
    file = pathlib.Path("/proc/meminfo")
    if not file.exists():
        return None
    lines = dict(line.split(":") for line in file.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None


def check_memory(compiled: Any, allocated: int = 0) -> int | None:
    """Checks that a program fits into memory, and returns the bytes that it needs.

    Args:
        compiled: as for :func:`memory_of`.
        allocated: bytes of its arguments that are allocated already.

    Returns:
        Bytes; None if they are unknown.

    Raises:
        MemoryError: if the program needs more memory than is free.

    Example:
        >>> compiled = jax.jit(lambda x: x + 1).lower(jnp.ones(1000)).compile()
        >>> jc.layout.check_memory(compiled) >= 8000
        True
    """
    need, free = memory_of(compiled), free_memory()
    if need is None or free is None:
        return need
    copies = 1
    if jax.local_devices()[0].platform == "cpu":  # host devices share the memory of the machine
        used = [len(s.device_set) for s in jax.tree.leaves(compiled.output_shardings)]
        copies = max(used, default=1)
    if need * copies - allocated > free:
        raise MemoryError(
            f"the run needs about {need * copies / GIB:.1f} GiB, but {free / GIB:.1f} GiB are "
            "free; fewer clients at a time (chunk=...), fewer replicas, a smaller batch or "
            "jax.checkpoint(loss) help"
        )
    return need * copies
