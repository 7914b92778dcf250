"""One harness for every paper: runs side by side in one program, tuned, evaluated, checkpointed."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from experiments.contract import Context, Row
from experiments.fields import Count, Settings
from jcollab.training.replicas import cross

Build = Callable[[Any], jc.Algorithm]
# axes of clients' data of which every seed has its own partition and all share the examples
PARTITIONED = jc.data.ClientData(None, 0, 0)


class Tune(Settings):
    """How one of several settings is chosen: by the highest mean over seeds of a metric.

    Attributes:
        metric: name of an evaluation, on validation data.
        last: over how many evaluations at the end the metric is averaged. A run in which it is not
            finite counts as 0.

    Raises:
        ValueError: for a metric on test data, or last < 1.
    """

    metric: str
    last: Count = 1

    def _check(self) -> None:
        if self.metric.startswith("test"):
            raise ValueError(f"metric must be measured on validation data, got {self.metric!r}")


@dataclasses.dataclass(frozen=True)
class Replicas:
    """Runs of K settings with S seeds each; methods are about one setting, by default the best.

    Attributes:
        settings: hyper-parameters, leaves ``[K, ...]``; None for a single setting.
        seeds: ``[S]``.
        result: of :func:`jcollab.fit`, with leaves ``[K S, ...]``, settings varying slowest.
        best: number of the setting that was chosen; None where nothing was tuned.
    """

    settings: Any
    seeds: np.ndarray
    result: Any
    best: int | None

    @property
    def finished(self) -> bool:
        """Whether no Ctrl-C ended the runs early."""
        return self.result.stopped == "finished"

    def setting(self, k: int | None = None) -> Any:
        """The hyper-parameters of a setting."""
        return jax.tree.map(
            lambda leaf: leaf[self._rows(k).start // len(self.seeds)], self.settings
        )

    def state(self, k: int | None = None) -> jc.State:
        """The last states, leaves ``[S, ...]`` in host memory.

        On devices, those of one setting would lie on other devices than those of all.
        """
        rows = self._rows(k)
        return jax.device_get(jax.tree.map(lambda leaf: leaf[rows], self.result.state))

    def each(self, k: int | None = None) -> list[jc.State]:
        """The last state of every seed."""
        state = self.state(k)
        return [jax.tree.map(lambda leaf, i=i: leaf[i], state) for i in range(len(self.seeds))]

    def curves(self, k: int | None = None) -> dict[str, np.ndarray]:
        """Evaluations by name, ``[S, E, ...]``, with ``round [E]``."""
        rows = self._rows(k)
        return {
            name: values if name == "round" else np.swapaxes(values[:, rows], 0, 1)
            for name, values in self.result.evaluations.items()
        }

    def last(self, k: int | None = None) -> dict[str, np.ndarray]:
        """The last evaluations, ``[S, ...]``."""
        return {name: v[:, -1] for name, v in self.curves(k).items() if name != "round"}

    def log(self, k: int | None = None) -> dict[str, np.ndarray]:
        """The algorithm's metrics, ``[S, T]``."""
        return {name: values[self._rows(k)] for name, values in self.result.log.items()}

    def measure(self, fn: Callable[[jc.State], Any], k: int | None = None) -> Any:
        """What ``fn(state of one run)`` computes from the last states, leaves ``[S, ...]``."""
        return jax.device_get(_compiled(fn)(self.state(k)))

    def _rows(self, k: int | None) -> slice:
        count, total = len(self.seeds), len(self.result.state.step)
        if k is None:
            k = self.best
        if k is None:
            if total != count:
                last = total // count - 1
                raise ValueError(f"k must be given where nothing was tuned, in 0..{last}")
            k = 0
        return slice(k * count, (k + 1) * count)


def train_replicas(
    context: Context,
    build: Build,
    start: Callable[[jc.Algorithm, jax.Array], jc.State] | jc.State,
    batches: Any,
    *,
    rounds: int | None = None,
    seeds: Sequence[int] | np.ndarray | None = None,
    settings: Any = None,
    data_axes: Any = PARTITIONED,
    evaluate: Callable[[jc.State], dict[str, Any]] | None = None,
    evaluations: int | None = None,
    tune: Tune | None = None,
    tolerant: bool = False,
    fold: int | None = None,
    description: str = "",
    tags: Row | None = None,
) -> Replicas:
    """Trains with every setting and every seed, all of them in one program.

    Args:
        context: of the experiment; an interrupted training sets its ``stop``.
        build: ``build(setting) -> Algorithm`` for one setting, whose numbers are traced; it gets
            None without settings.
        start: ``start(algorithm, key) -> State`` of one run, for the key of its seed; or states
            with leaves ``[K S, ...]``.
        batches: the data and how rounds draw from it, from :mod:`jcollab.data`. Leaves with axis 0
            lead with the seeds, ``[S, ...]``, and are repeated for every setting, or with the runs,
            ``[K S, ...]``.
        rounds: T; this, seeds and evaluations are by default what the configuration has.
        seeds: of first models and batches.
        settings: hyper-parameters with leaves ``[K, ...]``; a dictionary of lists of numbers gets
            into the log.
        data_axes: 0 or None for each leaf of ``batches.data``, as for ``jax.vmap``; None shares
            all of it.
        evaluate: ``evaluate(state) -> dict`` of one run.
        evaluations: about how many there are; 20 if the configuration has no number.
        tune: how the best of several settings is chosen; the choice gets into the log.
        tolerant: whether runs that diverge go on; those that are tuned always do.
        fold: the key of a run is ``fold_in(key of its seed, fold)``; None for the key itself.
        description: for the progress bar; by default the tags that all runs share.
        tags: fields of every line of the log; of a list, each run has its own value.
    """
    rounds = context.config.rounds if rounds is None else rounds
    seeds = np.asarray(context.config.seeds if seeds is None else seeds)
    evaluations = evaluations or getattr(context.config, "evaluations", 20)
    settings = jax.tree.map(np.asarray, settings, is_leaf=_is_list)
    count = 1 if settings is None else len(jax.tree.leaves(settings)[0])
    every, every_seed, keys = cross(settings, seeds)
    labels = {"seed": every_seed}
    if isinstance(settings, dict) and all(np.ndim(v) == 1 for v in settings.values()):
        labels |= {name: np.repeat(values, len(seeds)) for name, values in settings.items()}

    def one(own: Any, key: jax.Array) -> jc.State:
        return start(build(own), key)

    shared = [
        str(value) for value in (tags or {}).values() if not isinstance(value, (list, np.ndarray))
    ]
    state = start
    if not isinstance(start, jc.State):
        state = jax.vmap(one, (None if every is None else 0, 0))(every, keys)
    result = context.fit(
        build(None) if every is None else build,
        state,
        dataclasses.replace(batches, data=_per_run(batches.data, data_axes, len(seeds), count)),
        keys if fold is None else jax.vmap(jax.random.fold_in, (0, None))(keys, fold),
        tags=(tags or {}) | labels,
        tolerant=tolerant or tune is not None,
        replicas=jc.training.Replicas(every, data_axes),
        num_rounds=rounds,
        evaluate=evaluate,
        eval_every=max(1, rounds // evaluations),
        description=description or ", ".join(shared) or "training",
    )
    best = None
    if tune is not None:
        scores = _scores(tune, result.evaluations, count)
        best = int(scores.argmax())
        chosen = jax.tree.map(lambda leaf: leaf[best], settings)
        context.log({"chosen": chosen, "scores": scores}, **(tags or {}), **labels)
    return Replicas(settings, seeds, result, best)


def partitions(parts: Sequence[Any], examples: jc.data.Dataset) -> jc.data.ClientData:
    """One partition for each seed over shared examples; axes are :data:`PARTITIONED`.

    Returns:
        Leaves ``indices`` and ``mask`` are ``[S, n, w]``.
    """
    each = [jc.data.by_client(examples, part) for part in parts]
    return jc.data.ClientData(
        each[0].examples,
        jnp.stack([data.indices for data in each]),
        jnp.stack([data.mask for data in each]),
    )


def replicated(model: Any, n: int, x: Any) -> Callable[[jc.Algorithm, jax.Array], jc.State]:
    """``start(algorithm, key) -> State`` with n times the model that the key draws for inputs x."""
    return lambda algorithm, key: algorithm.init(jc.replicate(model.init(key, x), n))


@functools.lru_cache(maxsize=4)
def _compiled(fn: Callable[[jc.State], Any]) -> Callable[[jc.State], Any]:
    """The same function compiled once for all settings."""
    return jax.jit(jc.layout.per_replica(fn))


def _scores(tune: Tune, evaluations: dict[str, np.ndarray], count: int) -> np.ndarray:
    """Means over seeds of each of the settings, ``[K]``."""
    known = [name for name in evaluations if name != "round"]
    if tune.metric not in known:
        raise ValueError(f"metric must be one of {', '.join(known)}, got {tune.metric!r}")
    values = np.asarray(evaluations[tune.metric], float)[-tune.last :]
    return np.nan_to_num(values.mean(0), posinf=0.0, neginf=0.0).reshape(count, -1).mean(1)


def _per_run(data: Any, axes: Any, seeds: int, count: int) -> Any:
    """Leaves of the seeds, repeated for every setting."""
    if axes is None or count == 1:
        return data

    def repeat(axis: Any, part: Any) -> Any:
        if axis is None:
            return part
        return jax.tree.map(
            lambda leaf: (
                leaf
                if len(leaf) == seeds * count
                else jnp.tile(leaf, (count,) + (1,) * (leaf.ndim - 1))
            ),
            part,
        )

    return jax.tree.map(repeat, axes, data, is_leaf=lambda axis: axis is None)


def _is_list(value: Any) -> bool:
    numbers = isinstance(value, (list, tuple)) and all(isinstance(v, (int, float)) for v in value)
    return numbers and len(value) > 0
