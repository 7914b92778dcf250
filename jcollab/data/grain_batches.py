"""Batches of all clients from a data source with random access, read by grain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jcollab import checks
from jcollab.data.clients import part_of
from jcollab.data.streams import Stream, stream

PyTree = Any


def grain_batches(
    source: Any,
    parts: Sequence[Any],
    batch_size: int,
    *,
    seed: int = 0,
    local_steps: int | None = None,
    num_threads: int = 1,
) -> Stream:
    """Returns batches for :func:`jcollab.fit` of a data source that stays on disk.

    Every client goes through its own examples again and again, each time in another random order,
    and a batch contains the next ``batch_size`` of them. Threads of grain read the batches of the
    next rounds while the devices compute. The batch of a round depends on the seed and the round
    only, and a run that resumes continues at its round, without reading earlier batches.

    Args:
        source: examples with random access, ``len(source)`` and ``source[i]``, which is a pytree of
            arrays: a data source of TFDS, array_record or Hugging Face, a ``grain.MapDataset``, a
            list. If there is ``source.__getitems__(indices)``, it reads all examples of a round at
            once.
        parts: one index array for each client, for example from :func:`jcollab.data.dirichlet`.
        batch_size: b, examples in a batch.
        seed: seed of all orders.
        local_steps: H, for algorithms with H local steps of sampled clients; None for one batch in
            a round.
        num_threads: threads that read; each prepares one round.

    Returns:
        Batches with leaves ``[n, b, ...]``, or ``[n, H, b, ...]``.

    Raises:
        ImportError: if grain is not installed.
        TypeError: if ``source`` has no length or no random access, or indices are not integers.
        ValueError: if there are no clients, a client has no examples, an index is out of range, or
            a number is not positive.

    Example:
        >>> source = [{"x": np.float32(i)} for i in range(6)]  # doctest: +SKIP
        >>> batches = jc.data.grain_batches(source, [[0, 1], [2, 3, 4]], 2)  # doctest: +SKIP
        >>> next(batches.open())["x"]  # doctest: +SKIP
        array([[0., 1.],
               [4., 2.]], dtype=float32)
    """
    try:
        import grain
    except ImportError as error:
        raise ImportError('grain_batches needs grain: pip install "jax-collab[streams]"') from error
    if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        raise TypeError(
            f"source must have a length and random access, got {checks.described(source)}"
        )
    checks.counts(batch_size=batch_size, local_steps=local_steps, num_threads=num_threads)
    checks.seed("seed", seed)
    if not len(parts):
        raise ValueError("parts must have at least one client, got none")
    own = [part_of(f"parts[{i}]", part, len(source)) for i, part in enumerate(parts)]
    shape = (batch_size,) if local_steps is None else (local_steps, batch_size)
    rounds = grain.MapDataset.source(_Rounds(source, own, shape, seed))
    # by default, grain reads 500 elements ahead, which are here batches of all clients
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=num_threads + 1)
    return stream(rounds.to_iter_dataset(options))


class _Rounds:
    """A data source of grain whose element t is the batch of round t."""

    def __init__(self, source: Any, parts: list[np.ndarray], shape: tuple[int, ...], seed: int):
        self._source, self._parts, self._shape, self._seed = source, parts, shape, seed

    def __len__(self) -> int:
        # without an end: grain asks for a length, which no run reaches
        return 1 << 40

    def __getitem__(self, step: int) -> PyTree:
        indices = [int(i) for client in range(len(self._parts)) for i in self._of(client, step)]
        # some data sources read faster if they know all examples
        many = getattr(self._source, "__getitems__", None)
        rows = many(indices) if many else [self._source[i] for i in indices]
        shape = len(self._parts), *self._shape

        def stack(*leaves: Any) -> np.ndarray:
            array = np.stack(leaves)
            return array.reshape(*shape, *array.shape[1:])

        return jax.tree.map(stack, *rows)

    def _of(self, client: int, step: int) -> np.ndarray:
        """Returns the indices of a client's examples in round ``step``."""
        part, size = self._parts[client], math.prod(self._shape)
        # As in ``epochs``: place p of the sequence of all examples ever drawn is in pass p // m.
        # The order of a pass is computed again in each of its rounds, so that there is no state.
        passes, places = np.divmod(step * size + np.arange(size), len(part))
        orders = [
            np.random.default_rng((self._seed, client, p)).permutation(part)
            for p in range(passes[0], passes[-1] + 1)
        ]
        return np.stack(orders)[passes - passes[0], places]
