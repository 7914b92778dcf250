"""Memory that a compiled program needs, and memory that is free."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jcollab import checks
from jcollab.layout.compiler import compiler_options

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


class Forecast(NamedTuple):
    """Bytes that a call needs on each device, see :func:`forecast`.

    Attributes:
        arguments: bytes of each argument, by name.
        results: bytes of the results, without those in the memory of donated arguments.
        temporary: bytes of intermediate values.
        total: sum of all.
        devices: number of devices. Those of a CPU share the memory of the machine, which then needs
            ``devices * total`` bytes.
    """

    arguments: dict[str, int]
    results: int
    temporary: int
    total: int
    devices: int


def forecast(fn: Callable, *, donate: tuple[str, ...] = (), **arguments: Any) -> Forecast:
    """Predicts the memory of ``fn(**arguments)`` without a call.

    The function is compiled and not executed, so that arguments can be shapes, of arrays that would
    not fit (``jax.eval_shape``). Compare settings, for example ``chunk``, before a long run.

    Args:
        fn: a function that ``jax.jit`` accepts, for example of a state, batches and a key that
            calls :func:`jcollab.run`.
        donate: names of the arguments whose memory the results reuse, as in
            ``run(..., donate=True)``.
        **arguments: arguments by name: pytrees of arrays or ``jax.ShapeDtypeStruct``, with a
            sharding if they are split over devices.

    Raises:
        ValueError: if ``donate`` contains other names.
        NotImplementedError: if the backend does not report the memory of programs.

    Example:
        >>> loss = lambda params, batch, key: jnp.sum((params - batch) ** 2)
        >>> algorithm = jc.decentralized(loss, optax.sgd(0.1), jc.gossip(jc.topology.ring(8)))
        >>> shape = jax.ShapeDtypeStruct((8, 1000), jnp.float32)
        >>> need = jc.layout.forecast(
        ...     lambda state, batches, key: jc.run(algorithm, state, batches, key, num_rounds=10),
        ...     state=jax.eval_shape(algorithm.init, shape),
        ...     batches=jc.data.full_batch(shape),
        ...     key=jax.eval_shape(lambda: jax.random.key(0)),
        ... )
        >>> need.arguments["batches"], need.total > 2 * 32_000
        (32000, True)
    """
    checks.functions(fn=fn)
    for name in donate:
        checks.one_of("donate", name, tuple(arguments))
    compiled = (
        jax.jit(fn, donate_argnames=donate, compiler_options=compiler_options())
        .lower(**arguments)
        .compile()
    )
    analysis = compiled.memory_analysis()
    if analysis is None:
        raise NotImplementedError("this backend does not report the memory of its programs")
    shardings = jax.tree.leaves((compiled.input_shardings, compiled.output_shardings))
    return Forecast(
        arguments={name: _bytes_each(tree) for name, tree in arguments.items()},
        results=int(analysis.output_size_in_bytes - analysis.alias_size_in_bytes),
        temporary=int(analysis.temp_size_in_bytes),
        total=memory_of(compiled) or 0,
        devices=max((len(sharding.device_set) for sharding in shardings), default=1),
    )


def _bytes_each(tree: Any) -> int:
    """Returns the bytes of arrays, or of shapes, on one device."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        sharding = getattr(leaf, "sharding", None)
        shape = leaf.shape if sharding is None else sharding.shard_shape(leaf.shape)
        total += math.prod(shape) * leaf.dtype.itemsize
    return total


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
