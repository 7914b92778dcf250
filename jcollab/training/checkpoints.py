"""Checkpoints of long runs, written by orbax; a resumed run equals an uninterrupted one."""

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

KEPT = 2  # the newest checkpoint, and the one before it in case the newest is damaged
UNFINISHED = ".orbax-checkpoint-tmp"  # part of the names of folders that orbax has not completed


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The folder and the frequency of the checkpoints of a run.

    A folder is locked by one process at a time, until that process ends or is killed. Data that is
    read is compared with the checksums of the data that was written.

    Attributes:
        folder: folder for this run only. It is created if it does not exist.
        every_seconds: seconds between checkpoints, at least 0. Checkpoints are written after pieces
            of ``eval_every`` rounds, and at the end.
        identity: configuration of the run, as JSON values. A run resumes only if they are equal to
            the saved ones. The key, ``eval_every``, and the form of the state are always compared.

    Raises:
        TypeError: if folder is not a path, or identity contains values that JSON cannot represent.
        ValueError: if every_seconds is negative, or identity contains one of the names that are
            always compared, ``key`` and ``eval_every``.

    Example:
        >>> import tempfile
        >>> loss = lambda params, batch, key: jnp.sum((params - batch) ** 2)
        >>> algorithm = jc.centralized(loss, optax.sgd(0.25))
        >>> state, batches = algorithm.init(jnp.zeros((1, 1))), jc.data.stacked(jnp.ones((4, 1, 1)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     options = {"checkpoint": jc.training.Checkpoint(folder), "listeners": ()}
        ...     for num_rounds in (2, 4):  # the second call continues from round 2
        ...         result = jc.fit(algorithm, state, batches, jax.random.key(0),
        ...                         num_rounds=num_rounds, **options)
        >>> int(result.state.step), result.log["loss"].shape
        (4, (4,))
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
    """Contents of a checkpoint: a run up to some round.

    Attributes:
        state: the state.
        log: metrics of all rounds so far.
        evaluations: evaluations so far, stacked; nested dicts of arrays.
        records: records that were passed to listeners.
        position: position of the stream that batches come from, None for other batches.
    """

    state: State
    log: dict[str, np.ndarray]
    evaluations: dict[str, Any]
    records: list[Record]
    position: str | None = None


class Store:
    """The checkpoints of one run in one folder.

    A checkpoint is complete or does not exist. If a process is killed while it writes, the previous
    checkpoint is the newest.

    Args:
        folder: folder for this run only. It is created if it does not exist.
        identity: JSON values that must be equal for a run to resume. An ``eval_every`` of None
            is replaced by the saved value.
    """

    def __init__(self, folder: str | os.PathLike, identity: Mapping[str, Any]):
        import orbax.checkpoint as ocp  # slow to import

        self.folder = pathlib.Path(folder).absolute()
        self._clear()
        self.identity = plain(dict(identity))
        self._ocp = ocp
        # Synchronous: when save returns, the checkpoint is complete, and a failure is reported for
        # the round that it belongs to. The next piece may then reuse the buffers of the state.
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=KEPT, enable_async_checkpointing=False
            ),
        )

    def save(self, number: int, saved: Saved) -> None:
        """Writes the checkpoint of a run after ``number`` rounds."""
        args = self._ocp.args
        history = {"log": saved.log, "evaluations": nested_arrays(saved.evaluations)}
        # checksums, since orbax reads some damaged files without an error, as other numbers
        arrays = _checksum((saved.state, history))
        about = {"identity": self.identity, "records": saved.records, "arrays": arrays}
        about["position"] = saved.position
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
        """Deletes files of incomplete checkpoints."""
        # with several processes, one must not delete files that another is still writing
        if jax.process_count() == 1:
            for part in self.folder.glob(f"*{UNFINISHED}*"):
                shutil.rmtree(part, ignore_errors=True)

    def newest(self, state: State) -> Saved | None:
        """Returns the newest checkpoint that can be read, None if there are no checkpoints.

        A damaged checkpoint causes a warning, and is renamed to ``damaged-NUMBER``.

        Args:
            state: a state with the form and the placement of the saved one.

        Raises:
            ValueError: if checkpoints are from another run (the message names the field that
                differs), or if none of them can be read.
        """
        numbers = sorted(self._manager.all_steps(), reverse=True)
        args = self._ocp.args
        for number in numbers:
            try:
                # The small part is read first: if the run is another one, its arrays have other
                # shapes, and orbax would fail with an error that does not name the reason.
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
                    raise ValueError("the checksum of its arrays differs")
            except _AnotherRun as error:
                raise ValueError(str(error)) from None
            except Exception as error:  # which one orbax raises depends on the damaged file
                self._put_aside(number, error)
                continue
            history, restored = loaded["history"], jax.tree.map(_free, loaded["state"], state)
            log, evaluations = history["log"], history["evaluations"]
            return Saved(restored, log, evaluations, about["records"], about["position"])
        if numbers:
            raise ValueError(
                f"checkpoint {self.folder} must have one that can be read, got only damaged ones "
                "(renamed to damaged-NUMBER); use another folder to start a new run"
            )
        return None

    def close(self) -> None:
        """Frees the resources of orbax."""
        self._manager.close()

    def _compare(self, stored: Mapping[str, Any]) -> None:
        if self.identity.get("eval_every", 0) is None:
            self.identity["eval_every"] = stored["eval_every"]
        if changed := difference(stored, self.identity):
            raise _AnotherRun(
                f"checkpoint {self.folder} is of another run: {changed}; use another folder, or "
                "delete this one to start a new run"
            )

    def _put_aside(self, number: int, error: Exception) -> None:
        place = self.folder / str(number)
        aside = self.folder / f"damaged-{number}"
        while aside.exists():
            aside = aside.with_name(f"{aside.name}-again")
        if place.exists():
            place.rename(aside)
        self._manager.reload()  # orbax caches the list of checkpoints
        first = (str(error).splitlines() or [""])[0]
        warnings.warn(
            f"checkpoint {place} is damaged ({type(error).__name__}: {first}); "
            "the previous one is used",
            stacklevel=4,
        )


@contextlib.contextmanager
def opened(
    checkpoint: Checkpoint | None, key: Array, eval_every: int | None, state: State
) -> Iterator[Store | None]:
    """Opens the checkpoints of a run, as a context; None without checkpoints."""
    if checkpoint is None:
        yield None
        return
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    run = {"key": np.asarray(jax.random.key_data(key) if typed else key), "eval_every": eval_every}
    # Several processes of one run write to the folder together, so it is locked for one only.
    alone = jax.process_count() == 1
    with locked("checkpoint", checkpoint.folder) if alone else contextlib.nullcontext():
        store = Store(
            checkpoint.folder, {**(checkpoint.identity or {}), **run, **form(state, "state")}
        )
        try:
            yield store
        finally:
            store.close()


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Describes the first field in which two configurations differ, None if they are equal."""
    for name in dict.fromkeys([*now, *before]):
        if before.get(name) != now.get(name):
            return f"{name} was {before.get(name)!r}, now it is {now.get(name)!r}"
    return None


def _free(restored: Any, given: Any) -> Any:
    """Returns a restored array with the placement of the given one; fills a given NumPy array."""
    # orbax returns arrays that are committed to a device. Where the given one was not, jit must
    # stay free to place it, for example on the mesh of a context.
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
    """A checkpoint of another run: an error for the user, not a damaged file."""


def form(tree: PyTree, name: str = "") -> dict[str, str]:
    """Returns types and shapes by path, ``{"state.clients.params['w']": "float32[4,3]"}``."""
    return {
        f"{name}{jax.tree_util.keystr(path)}": jax.typeof(leaf).str_short()
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def nested_arrays(tree: Any, name: str = "") -> Any:
    """Returns a tree of NumPy arrays; raises TypeError unless it consists of nested dicts."""
    # orbax restores lists, tuples and NamedTuples as other containers unless it is given a target,
    # which a resumed run does not have for its evaluations
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
    """Computes the checksum of the arrays that are complete in this process, in order."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        if getattr(leaf, "is_fully_addressable", True):
            key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            # as bytes: zlib needs the buffer interface, which types such as bfloat16 lack
            array = np.ascontiguousarray(jax.random.key_data(leaf) if key else leaf)
            total = zlib.crc32(array.reshape(-1).view(np.uint8).data, total)
    return total


def _with_checksum(about: dict[str, Any]) -> dict[str, Any]:
    return about | {"checksum": zlib.crc32(json.dumps(about, sort_keys=True).encode())}


def _without_checksum(about: dict[str, Any]) -> dict[str, Any]:
    content = {name: value for name, value in about.items() if name != "checksum"}
    if about != _with_checksum(content):
        raise ValueError("the checksum of its records differs")
    return content
