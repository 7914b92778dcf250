"""Batches that an iterator yields, one for each round.

The iterator runs on the host: a PyTorch DataLoader, tf.data, grain, or a generator. So these
batches are for :func:`jcollab.fit`, and not for the compiled scan of :func:`jcollab.run`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

import jax

from jcollab import checks
from jcollab.data.batches import Given, register_batches

PyTree = Any
Array = jax.Array


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
    """Batches that an iterator yields; see :func:`stream`."""

    source: Iterable[PyTree] | Callable[[], Iterable[PyTree]]

    @property
    def length(self) -> int | None:
        """The number of rounds, None if it is unknown."""
        try:
            return len(self.source)  # type: ignore[arg-type]
        except TypeError:
            return None

    @property
    def restarts(self) -> bool:
        """Whether a second iterator begins with the first batch again."""
        return not isinstance(self.source, Iterator)

    def open(self) -> Iterator[PyTree]:
        """Returns an iterator over the batches of all rounds."""
        if isinstance(self.source, Iterable):
            return iter(self.source)
        made = self.source()
        if not isinstance(made, Iterable):
            raise TypeError(f"source must return an iterable, got {checks.described(made)}")
        return iter(made)

    def draw(self, key: Array, step: Array) -> PyTree:
        """Raises TypeError: the batches are not in the program."""
        raise TypeError(
            "batches must be on the device for a compiled run, got a stream, which only jc.fit "
            "takes (in place of batches, not from a function of the state); jc.data.stacked "
            "takes arrays [T, n, ...]"
        )

    def local(self, key: Array, step: Array) -> PyTree:
        """Raises TypeError: the batches are not in the program."""
        return self.draw(key, step)


@functools.partial(register_batches, meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Pulled:
    """The batch of one round of a stream."""

    data: PyTree
    length: ClassVar[None] = None

    def draw(self, key: Array, step: Array) -> PyTree:
        """Returns the batch."""
        return self.data

    def local(self, key: Array, step: Array) -> Given:
        """One batch for each local step of the round, leaves ``[n, H, ...]``."""
        return Given(self.data)


def stream(source: Iterable[PyTree] | Callable[[], Iterable[PyTree]]) -> Stream:
    """Returns batches for :func:`jcollab.fit` that an iterator yields, one for each round.

    Round t uses batch t. While the devices compute a round, the next batch is pulled from the
    iterator and copied to them; within :func:`jcollab.layout.use` it is split over the devices. All
    batches must have the same structure, shapes and dtypes.

    A run that resumes from a checkpoint continues with the batch after the last round. The position
    of an iterator with ``get_state`` and ``set_state`` (grain) is part of the checkpoint. Of other
    iterators, the first t batches are pulled again and skipped, with a message in the log: for the
    same result, they must yield the same batches every time, for example with a fixed seed.

    Args:
        source: an iterable over batches, or a function without arguments that returns one. A batch
            is a pytree of arrays (or of what ``np.asarray`` takes, such as tensors on the CPU) with
            leaves ``[n, ...]``; with H local steps of sampled clients ``[n, H, ...]``. An iterator,
            for example a generator, serves for one run and cannot resume, unless it has
            ``set_state``; a function that returns it can.

    Raises:
        TypeError: if ``source`` is neither an iterable nor a function, or is a mapping or a string.

    Example:
        >>> def batches():
        ...     rng = np.random.default_rng(0)
        ...     while True:
        ...         yield rng.normal(size=(4, 8, 1))  # n = 4 clients with 8 examples each
        >>> loss = lambda params, batch, key: jnp.mean((params - batch) ** 2)
        >>> algorithm = jc.decentralized(loss, optax.sgd(0.1), jc.gossip(jc.topology.ring(4)))
        >>> result = jc.fit(algorithm, algorithm.init(jnp.zeros((4, 1))), jc.data.stream(batches),
        ...                 jax.random.key(0), num_rounds=3, listeners=())
        >>> result.log["loss"].shape
        (3,)
    """
    wrong = isinstance(source, (str, bytes, Mapping, type))
    if wrong or not (isinstance(source, Iterable) or callable(source)):
        raise TypeError(
            "source must be an iterable over batches or a function that returns one, got "
            f"{checks.described(source)}"
        )
    return Stream(source)
