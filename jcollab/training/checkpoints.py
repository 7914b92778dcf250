"""Checkpoints of long runs, written by orbax: a run goes on as if it had never ended."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import warnings
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import checks
from jcollab.core import Array, PyTree, State
from jcollab.training.locks import locked
from jcollab.training.records import Record, check_json, plain

KEPT = 2  # the newest, and the one before in case that is damaged
UNFINISHED = ".orbax-checkpoint-tmp"  # in the names of folders that orbax has not completed


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Where and how often a run is saved.

    One process at a time uses a folder; the lock of one that was killed is gone. What is read is
    compared with the checksums of what was written.

    Attributes:
        folder: for this run alone; made if it does not exist.
        every_seconds: seconds between checkpoints, at least 0. They are written after pieces of
            ``eval_every`` rounds, and at the end.
        identity: JSON values that must be as they were for a run to go on: the configuration. The
            key, the pieces, and the form of the state are always compared.

    Raises:
        TypeError: if folder is no path, or identity holds something that JSON does not have.
        ValueError: if every_seconds is negative, or identity has one of the names that are always
            compared, ``key`` and ``eval_every``.
    """

    folder: str | os.PathLike
    every_seconds: float = 30.0
    identity: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.folder, (str, os.PathLike)):
            raise TypeError(f"folder must be a path, got {type(self.folder).__name__}")
        checks.number("every_seconds", self.every_seconds, at_least=0)
        identity = {} if self.identity is None else self.identity
        if not isinstance(identity, Mapping):
            raise TypeError(f"identity must be a dictionary, got {type(identity).__name__}")
        check_json("identity", dict(identity))
        if names := {"key", "eval_every"} & set(identity):
            raise ValueError(
                f"identity must not have {sorted(names)}, which are always compared, got "
                f"{dict(identity)!r}"
            )


class Saved(NamedTuple):
    """A run up to some round.

    Attributes:
        state: the state.
        log: metrics over all rounds so far.
        evaluations: evaluations so far, stacked; nested dicts of arrays.
        records: what listeners got.
    """

    state: State
    log: dict[str, np.ndarray]
    evaluations: dict[str, Any]
    records: list[Record]


class Store:
    """Checkpoints of one run in one folder.

    A checkpoint is complete or does not exist: a process that is killed while it writes leaves the
    one before.

    Args:
        folder: for this run alone; made if it does not exist.
        identity: what must be the same for a run to go on, as JSON has it; an ``eval_every`` of
            None takes the value of the checkpoints.
    """

    def __init__(self, folder: str | os.PathLike, identity: Mapping[str, Any]):
        import orbax.checkpoint as ocp  # slow to import

        self.folder = pathlib.Path(folder).absolute()
        self._clear()
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
        history = {"log": saved.log, "evaluations": nested_arrays(saved.evaluations)}
        arrays = _checksum((saved.state, history))
        about = {"identity": self.identity, "records": saved.records, "arrays": arrays}
        items = args.Composite(
            state=args.StandardSave(saved.state),
            history=args.StandardSave(history),
            about=args.JsonSave(_with_checksum(about)),
        )
        try:
            self._manager.save(number, args=items, force=True)
        except Exception:
            self._clear()
            raise

    def _clear(self) -> None:
        """Deletes what was written of checkpoints that are not complete."""
        if jax.process_count() == 1:
            for part in self.folder.glob(f"*{UNFINISHED}*"):
                shutil.rmtree(part, ignore_errors=True)

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
                read = self._manager.restore(number, args=args.Composite(about=args.JsonRestore()))
                about = _without_checksum(read["about"])
                self._compare(about["identity"])
                loaded = self._manager.restore(
                    number,
                    args=args.Composite(
                        state=args.StandardRestore(state), history=args.StandardRestore()
                    ),
                )
                if _checksum((loaded["state"], loaded["history"])) != about["arrays"]:
                    raise ValueError("the checksum of its arrays is another")
            except _AnotherRun as error:
                raise ValueError(str(error)) from None
            except Exception as error:  # whatever a damaged file makes orbax raise
                self._put_aside(number, error)
                continue
            history, restored = loaded["history"], jax.tree.map(_free, loaded["state"], state)
            return Saved(restored, history["log"], history["evaluations"], about["records"])
        if numbers:
            raise ValueError(
                f"checkpoint {self.folder} must have one that can be read; the damaged ones are "
                "beside it as damaged-NUMBER, and another folder starts anew"
            )
        return None

    def close(self) -> None:
        """Frees what orbax uses."""
        self._manager.close()

    def _compare(self, stored: Mapping[str, Any]) -> None:
        if self.identity.get("eval_every", 0) is None:
            self.identity["eval_every"] = stored["eval_every"]
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


@contextlib.contextmanager
def opened(
    checkpoint: Checkpoint | None, key: Array, eval_every: int | None, state: State
) -> Iterator[Store | None]:
    """The checkpoints of a run while it goes on; None where it has none."""
    if checkpoint is None:
        yield None
        return
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    run = {"key": np.asarray(jax.random.key_data(key) if typed else key), "eval_every": eval_every}
    alone = jax.process_count() == 1  # several processes of one run write together
    with locked("checkpoint", checkpoint.folder) if alone else contextlib.nullcontext():
        store = Store(
            checkpoint.folder, {**(checkpoint.identity or {}), **run, **form(state, "state")}
        )
        try:
            yield store
        finally:
            store.close()


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first field in which two configurations differ, with both values; None if in none."""
    for name in dict.fromkeys([*now, *before]):
        if before.get(name) != now.get(name):
            return f"{name} was {before.get(name)!r}, now it is {now.get(name)!r}"
    return None


def _free(restored: Any, given: Any) -> Any:
    """An array that is bound to a device only if the given one is; NumPy arrays are filled."""
    if isinstance(given, np.ndarray):
        given[...] = restored
        return given
    if getattr(given, "committed", False):
        return restored
    if jnp.issubdtype(restored.dtype, jax.dtypes.prng_key):
        data = jnp.asarray(np.asarray(jax.random.key_data(restored)))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(restored))
    return jnp.asarray(np.asarray(restored))


class _AnotherRun(ValueError):
    """A checkpoint whose run differs."""


def form(tree: PyTree, name: str = "") -> dict[str, str]:
    """Types and shapes of the leaves by path, ``{"state.clients.params['w']": "float32[4,3]"}``."""
    return {
        f"{name}{jax.tree_util.keystr(path)}": jax.typeof(leaf).str_short()
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def nested_arrays(tree: Any, name: str = "") -> Any:
    """The tree, if it is nested dicts of arrays, which alone come back as what they were."""
    if isinstance(tree, dict):
        for key in tree:
            if not isinstance(key, str):
                raise TypeError(f"evaluate must return dicts with names, got the key {key!r}")
        return {key: nested_arrays(item, f"{name}[{key!r}]") for key, item in tree.items()}
    kind = None if isinstance(tree, (list, tuple)) else np.asarray(tree).dtype
    if kind is None or not any(jnp.issubdtype(kind, k) for k in (np.number, bool)):
        raise TypeError(
            f"evaluate must return nested dicts of arrays of numbers, got a {type(tree).__name__}"
            f"{f' as {name}' if name else ''}"
        )
    return np.asarray(tree)


def _checksum(tree: PyTree) -> int:
    """Of the arrays that this process has all of, in order."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        if getattr(leaf, "is_fully_addressable", True):
            key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            array = np.ascontiguousarray(jax.random.key_data(leaf) if key else leaf)
            total = zlib.crc32(array.reshape(-1).view(np.uint8).data, total)
    return total


def _with_checksum(about: dict[str, Any]) -> dict[str, Any]:
    return about | {"checksum": zlib.crc32(json.dumps(about, sort_keys=True).encode())}


def _without_checksum(about: dict[str, Any]) -> dict[str, Any]:
    content = {name: value for name, value in about.items() if name != "checksum"}
    if about != _with_checksum(content):
        raise ValueError("the checksum of its records is another")
    return content
