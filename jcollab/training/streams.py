"""Rounds with the batches of a stream, which are pulled while the devices compute."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcollab.core import Batches, Metrics, PyTree, State
from jcollab.data.streams import Pulled, Stream
from jcollab.layout.devices import place_rows
from jcollab.training.checkpoints import difference, form
from jcollab.training.pieces import Start

END = object()  # takes the place of a batch after the last one


class Feed:
    """Pulls the batches of a stream and starts rounds with them: ``feed(state, batches, length)``.

    Args:
        stream: the stream, which is opened by the first call.
        start: from :func:`jcollab.training.pieces.starting`.
        axis: axis of the clients in the state, 1 with replicas.
        num_rounds: T. No batch after the last round is pulled from the stream.
        position: position of the stream in a checkpoint, None without one.

    Attributes:
        position: position of the stream after the last round, None if its iterator has none.
    """

    def __init__(
        self, stream: Stream, start: Start, axis: int, num_rounds: int, position: str | None
    ):
        self._stream, self._start, self._axis, self._num_rounds = stream, start, axis, num_rounds
        self.position = position
        self._iterator: Iterator[PyTree] | None = None
        self._coming: tuple[PyTree, str | None] | None = None
        self._form: tuple[Any, dict[str, str]] | None = None

    def __call__(
        self, state: State, batches: Batches, length: int
    ) -> tuple[State, dict[str, np.ndarray]]:
        """Computes ``length`` rounds, and returns the state and the log."""
        first, n = int(np.max(state.step)), _num_clients(state, self._axis)
        if self._iterator is None:
            self._iterator = _opened(self._stream, first, self.position)
        logs: list[Metrics] = []
        for step in range(first, first + length):
            batch, self.position = self._coming or self._pull(step, n)
            if batch is END:
                raise ValueError(_ended(step, self._num_rounds))
            # returns before the devices have finished, so that the next batch is pulled meanwhile
            state, log = self._start(state, Pulled(batch), 1)
            logs.append(log)
            # from here on, the memory of the batch is free as soon as the round has ended
            self._coming = batch = None
            if step + 1 < self._num_rounds:
                self._coming = self._pull(step + 1, n)
            if len(logs) > 1:  # a fast iterator must not fill the memory with batches
                jax.block_until_ready(logs[-2])
        fetched = jax.device_get(logs)
        return state, {
            name: np.concatenate([each[name] for each in fetched], self._axis)
            for name in fetched[0]
        }

    def _pull(self, step: int, n: int | None) -> tuple[PyTree, str | None]:
        """Returns the batch of a round on the devices, and the position after it."""
        batch = next(self._iterator, END)  # type: ignore[arg-type]
        if batch is END:  # an error when the round begins: the rounds before it are still saved
            return END, None
        batch = _arrays(batch, step)
        shown = jax.tree.structure(batch), form(batch, "batch")
        if self._form is None:
            _check_clients(batch, step, n)
            self._form = shown
        elif shown != self._form:
            changed = difference(self._form[1], shown[1]) or f"{self._form[0]}, now {shown[0]}"
            raise ValueError(
                "the batches of a stream must have one structure, one dtype and one shape, got "
                f"another batch in round {step + 1}: {changed}"
            )
        # replicas share the batch, and may be on all devices
        placed = jax.device_put(batch) if self._axis else place_rows(batch)
        return placed, _position(self._iterator)


def _opened(stream: Stream, done: int, position: str | None) -> Iterator[PyTree]:
    """Returns an iterator whose next batch is that of round ``done``."""
    iterator = stream.open()
    if position is not None and hasattr(iterator, "set_state"):
        known = json.loads(position)
        iterator.set_state(known["json"] if "json" in known else base64.b64decode(known["bytes"]))
        return iterator
    if done and not stream.restarts:
        raise ValueError(
            f"batches must be a stream that can begin again, for a run that is at round {done}, "
            "got a stream of an iterator; use jc.data.stream(function), with a function that "
            "returns the iterator"
        )
    for step in range(done):
        if next(iterator, END) is END:
            raise ValueError(_ended(step, done))
    if done:
        logging.getLogger(__name__).warning(
            "skipped the first %d batches of the stream, whose iterator has no saved position", done
        )
    return iterator


def _position(iterator: Any) -> str | None:
    """Returns the position of an iterator as JSON, since it may change its own state in place."""
    if not (hasattr(iterator, "get_state") and hasattr(iterator, "set_state")):
        return None
    position = iterator.get_state()
    if isinstance(position, bytes):
        return json.dumps({"bytes": base64.b64encode(position).decode()})
    try:
        return json.dumps({"json": position})
    except TypeError as error:
        raise TypeError(
            f"get_state of a stream must return bytes or JSON values: {error}"
        ) from None


def _arrays(batch: PyTree, step: int) -> PyTree:
    """Returns a batch of arrays; raises TypeError unless all leaves are numbers."""

    def convert(path: Any, leaf: Any) -> Any:
        array = leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
        if not any(jnp.issubdtype(array.dtype, kind) for kind in (np.number, np.bool_)):
            raise TypeError(
                f"the batches of a stream must be arrays of numbers, got {type(leaf).__name__} in "
                f"round {step + 1} as batch{jax.tree_util.keystr(path)}"
            )
        return array

    return jax.tree_util.tree_map_with_path(convert, batch)


def _check_clients(batch: PyTree, step: int, n: int | None) -> None:
    leaves = jax.tree_util.tree_leaves_with_path(batch)
    if not leaves:
        raise ValueError(f"the batches of a stream must have arrays, got none in round {step + 1}")
    n = np.shape(leaves[0][1])[0] if n is None and np.ndim(leaves[0][1]) else n
    for path, leaf in leaves:
        if np.shape(leaf)[:1] != (n,):
            raise ValueError(
                f"the batches of a stream must have shape [n={n}, ...], got "
                f"{list(np.shape(leaf))} in round {step + 1} as batch{jax.tree_util.keystr(path)}"
            )


def _num_clients(state: State, axis: int) -> int | None:
    leaves = jax.tree.leaves(state.clients)
    return np.shape(leaves[0])[axis] if leaves else None


def _ended(step: int, num_rounds: int) -> str:
    return (
        f"batches must be a stream of at least {num_rounds} batches, one for each round, got one "
        f"that ended after {step}; it may repeat its data, or num_rounds may be {step}"
    )
