"""Checkpoints of long runs, written by orbax: a run goes on as if it had never ended."""

from __future__ import annotations

import os
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcollab.core import PyTree, State
from jcollab.training.run_log import plain

KEPT = 2  # the newest, and the one before in case that is damaged


class Saved(NamedTuple):
    """A run up to some round.

    Attributes:
        state: the state.
        log: metrics over all rounds so far.
        evaluations: evaluations so far, stacked; nested dicts of arrays.
        lines: of the run log.
    """

    state: State
    log: dict[str, np.ndarray]
    evaluations: dict[str, Any]
    lines: list[str]


class Checkpoints:
    """Checkpoints of one run in one folder.

    A checkpoint is complete or does not exist: a process that is killed while it writes leaves the
    one before.

    Args:
        folder: for this run alone; made if it does not exist.
        identity: what must be the same for a run to go on, as JSON has it.
    """

    def __init__(self, folder: str | os.PathLike, identity: Mapping[str, Any]):
        import orbax.checkpoint as ocp  # slow to import

        self.folder = pathlib.Path(folder).absolute()
        self.identity = plain(dict(identity))
        self._ocp = ocp
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=KEPT, enable_async_checkpointing=False
            ),
        )

    def save(self, number: int, saved: Saved) -> None:
        """Writes what the run is after ``number`` rounds."""
        args = self._ocp.args
        history = {"log": saved.log, "evaluations": _no_containers(saved.evaluations)}
        self._manager.save(
            number,
            args=args.Composite(
                state=args.StandardSave(saved.state),
                history=args.StandardSave(history),
                about=args.JsonSave({"identity": self.identity, "lines": saved.lines}),
            ),
            force=True,
        )

    def newest(self, state: State) -> Saved | None:
        """The newest checkpoint that can be read, None if there is none at all.

        A damaged one is named in a warning and put aside as ``damaged-NUMBER``.

        Args:
            state: of the form, and with the placement, that the saved one should have.

        Raises:
            ValueError: if checkpoints are of another run, with the field in which they differ, or
                if none of them can be read.
        """
        numbers = sorted(self._manager.all_steps(), reverse=True)
        args = self._ocp.args
        for number in numbers:
            try:
                about = self._manager.restore(number, args=args.Composite(about=args.JsonRestore()))
                self._compare(about["about"]["identity"])
                loaded = self._manager.restore(
                    number,
                    args=args.Composite(
                        state=args.StandardRestore(state), history=args.StandardRestore()
                    ),
                )
            except _AnotherRun as error:
                raise ValueError(str(error)) from None
            except Exception as error:  # whatever a damaged file makes orbax raise
                self._put_aside(number, error)
                continue
            history, restored = loaded["history"], jax.tree.map(_free, loaded["state"], state)
            return Saved(restored, history["log"], history["evaluations"], about["about"]["lines"])
        if numbers:
            raise ValueError(
                f"checkpoint {self.folder} holds none that can be read; the damaged ones are "
                "beside it as damaged-NUMBER, and another folder starts anew"
            )
        return None

    def close(self) -> None:
        """Frees what orbax holds."""
        self._manager.close()

    def _compare(self, stored: Mapping[str, Any]) -> None:
        if changed := difference(stored, self.identity):
            raise _AnotherRun(
                f"checkpoint {self.folder} is of another run: {changed}; take another folder, or "
                "delete this one to start anew"
            )

    def _put_aside(self, number: int, error: Exception) -> None:
        place = self.folder / str(number)
        aside = self.folder / f"damaged-{number}"
        while aside.exists():
            aside = aside.with_name(f"{aside.name}-again")
        if place.exists():
            place.rename(aside)
        self._manager.reload()
        first = (str(error).splitlines() or [""])[0]
        warnings.warn(
            f"checkpoint {place} is damaged ({type(error).__name__}: {first}); "
            "the one before it is used",
            stacklevel=4,
        )


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first field in which two configurations differ, with both values; None if in none."""
    for name in dict.fromkeys([*now, *before]):
        if before.get(name) != now.get(name):
            return f"{name} was {before.get(name)!r}, now it is {now.get(name)!r}"
    return None


def _free(restored: Any, given: Any) -> Any:
    """An array that is bound to a device only if the given one is."""
    if getattr(given, "committed", False):
        return restored
    if jnp.issubdtype(restored.dtype, jax.dtypes.prng_key):
        data = jnp.asarray(np.asarray(jax.random.key_data(restored)))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(restored))
    return jnp.asarray(np.asarray(restored))


class _AnotherRun(ValueError):
    """A checkpoint whose run differs."""


def form(tree: PyTree) -> dict[str, str]:
    """Types and shapes of the leaves by path, ``{"state.clients.params['w']": "float32[4,3]"}``."""
    return {
        f"state{jax.tree_util.keystr(path)}": jax.typeof(jnp.asarray(leaf)).str_short()
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _no_containers(tree: Any) -> Any:
    """The tree, if it is nested dicts of arrays, which alone come back as what they were."""
    if isinstance(tree, dict):
        return {name: _no_containers(item) for name, item in tree.items()}
    if isinstance(tree, (list, tuple)) or tree is None:
        raise TypeError(
            f"evaluate must return nested dicts of arrays for checkpoints, got a "
            f"{type(tree).__name__} inside"
        )
    return np.asarray(tree)
