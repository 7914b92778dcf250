"""Execution on one device: vectorized within a chunk, chunks one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Jaxpr, jaxpr_as_fun, subjaxprs

from jcollab import checks
from jcollab.layout.clients import num_clients

PyTree = Any

# On a CPU, clients that are larger than this run one after the other: stacked weights turn every
# matrix product into a batched one, which leaves the cache. Smaller ones are vectorized together.
CPU_CHUNK_BYTES = 1 << 18
# Functions that read each client once gain nothing from a loop, which copies the rows of a client
# out of the stack and back; up to this size, all clients are vectorized together.
CPU_STACK_BYTES = 1 << 26
# On an accelerator all clients run together, except where each needs temporary memory (an inbox of
# K messages): chunks bound the sum of these.
ACCELERATOR_CHUNK_BYTES = 1 << 31


def loops() -> bool:
    """Returns whether large clients run in a loop, as on a CPU, instead of all vectorized.

    Example:
        >>> jc.layout.loops() == (jax.default_backend() == "cpu")
        True
    """
    return jax.default_backend() == "cpu"


def vectorized(fn: Callable, chunk: int | None = None) -> Callable:
    """Lifts a function like ``jax.vmap``, in chunks, on one device: for use within a client.

    Args:
        fn: a function of arrays of one member of a batch.
        chunk: as for :func:`per_client`.

    Returns:
        A function whose arguments and results lead with the mapped axis.

    Raises:
        ValueError: if chunk < 1.

    Example:
        >>> jc.layout.vectorized(lambda x: x.sum())(jnp.ones((3, 2))).tolist()
        [2.0, 2.0, 2.0]
    """
    checks.counts(chunk=chunk)
    return lambda *args: in_chunks(fn, args, chunk)


def split_axes(args: tuple, in_axes: Any) -> tuple[list, list, Callable[[list, list], tuple]]:
    """Returns the leaves that lead with the mapped axis, the shared leaves, and their merge.

    Two flat lists need no tree of axes: each list has one PartitionSpec, and one meaning for vmap.
    """
    axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
    for axis in jax.tree.leaves(axes, is_leaf=_is_axis):
        checks.one_of("in_axes", axis, (0, None))
    leaves, structure = jax.tree.flatten(args)
    mapped = jax.tree.map(lambda axis: axis is not None, axes, is_leaf=_is_axis)
    flags = jax.tree.leaves(jax.tree.broadcast(mapped, args))
    own = [leaf for leaf, flag in zip(leaves, flags, strict=True) if flag]
    shared = [leaf for leaf, flag in zip(leaves, flags, strict=True) if not flag]

    def merge(own: list, shared: list) -> tuple:
        mine, common = iter(own), iter(shared)
        merged = [next(mine) if flag else next(common) for flag in flags]
        return jax.tree.unflatten(structure, merged)

    return own, shared, merge


def _is_axis(axis: Any) -> bool:
    return axis is None or isinstance(axis, int)


def in_chunks(
    fn: Callable, args: tuple, chunk: int | None, bytes_each: int | None = None
) -> PyTree:
    """Calls ``jax.vmap(fn)(*args)`` chunk by chunk, see :func:`per_client` for the arguments."""
    fn, size, _ = chunked(fn, args, chunk, bytes_each)
    if size == num_clients(args, "arguments"):
        return jax.vmap(fn)(*args)
    # batch_size=None runs fn without a vmap; batch_size=1 would batch over a single client
    return jax.lax.map(lambda a: fn(*a), args, batch_size=None if size == 1 else size)


def chunked(
    fn: Callable, args: tuple, chunk: int | None, bytes_each: int | None
) -> tuple[Callable, int, PyTree]:
    """Traces a function of one client, and chooses how many clients are vectorized together.

    Returns:
        The traced function, which is called instead of ``fn`` so that it is traced only once; the
        number of clients in a chunk; and the shapes of the results.
    """
    n = num_clients(args, "arguments")
    one = jax.eval_shape(lambda args: jax.tree.map(lambda leaf: leaf[0], args), args)
    closed, shape = jax.make_jaxpr(fn, return_shape=True)(*one)
    run, structure = jaxpr_as_fun(closed), jax.tree.structure(shape)
    size = min(n, chunk or default_chunk(closed.jaxpr, args, n, bytes_each))

    def traced(*args: PyTree) -> PyTree:
        return jax.tree.unflatten(structure, run(*jax.tree.leaves(args)))

    return traced, size, shape


def default_chunk(jaxpr: Jaxpr, args: tuple[PyTree, ...], n: int, bytes_each: int | None) -> int:
    """Returns the number of clients in a chunk: about as many as the budget of the backend allows.

    If possible it divides n. A last chunk of another size would be compiled on its own, which takes
    as long as the compilation of all others.
    """
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(args))
    budget = CPU_CHUNK_BYTES if loops() else ACCELERATOR_CHUNK_BYTES
    if bytes_each is None:
        # A client that takes several steps finds its parameters in the cache after the first one.
        if not loops() or (size <= CPU_STACK_BYTES and not contains(jaxpr, {"scan", "while"})):
            budget = size
        # the arguments of a client (its parameters, mostly) estimate its working set
        bytes_each = size // n
    # A convolution whose kernel differs between clients becomes a grouped one, which is several
    # times slower on a CPU than one client after the other. The second name is that of our kernels.
    if loops() and contains(jaxpr, {"conv_general_dilated", "convolution"}):
        budget = 0
    most = min(n, max(1, budget // max(bytes_each, 1)))
    return next((size for size in range(most, most // 2, -1) if n % size == 0), most)


def contains(jaxpr: Jaxpr, primitives: set[str]) -> bool:
    """Returns whether a jaxpr contains one of the primitives, at any depth."""
    return any(eqn.primitive.name in primitives for eqn in jaxpr.eqns) or any(
        contains(inner, primitives) for inner in subjaxprs(jaxpr)
    )
