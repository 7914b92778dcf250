"""The training loop of all papers: tuned, evaluated and checkpointed runs in one program."""

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
# axes of clients' data: a partition for each seed, over shared examples
PARTITIONED = jc.data.ClientData(None, 0, 0)


class Tune(Settings):
    """Choice of one of several settings: the highest mean over seeds of a metric.

    Attributes:
        metric: name of an evaluation, on validation data.
        last: number of final evaluations to average; values that are not finite count as 0.

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
    """Runs of K settings with S seeds each. Methods take one setting k, by default the best.

    Attributes:
        settings: hyperparameters, leaves ``[K, ...]``; None for a single setting.
        seeds: ``[S]``.
        result: result of :func:`jcollab.fit`, leaves ``[K S, ...]``, settings varying slowest.
        best: index of the chosen setting; None without tuning.
    """

    settings: Any
    seeds: np.ndarray
    result: Any
    best: int | None

    @property
    def finished(self) -> bool:
        """Whether the runs were not interrupted."""
        return self.result.stopped == "finished"

    def setting(self, k: int | None = None) -> Any:
        """Returns the hyperparameters of a setting."""
        index = self._rows(k).start // len(self.seeds)
        return jax.tree.map(lambda leaf: leaf[index], self.settings)

    def state(self, k: int | None = None) -> jc.State:
        """Returns the last states, leaves ``[S, ...]``."""
        # in host memory: on a mesh, the replicas of one setting occupy only some of the devices
        rows = self._rows(k)
        return jax.device_get(jax.tree.map(lambda leaf: leaf[rows], self.result.state))

    def each(self, k: int | None = None) -> list[jc.State]:
        """Returns the last state of each seed."""
        state = self.state(k)
        return [jax.tree.map(lambda leaf, i=i: leaf[i], state) for i in range(len(self.seeds))]

    def curves(self, k: int | None = None) -> dict[str, np.ndarray]:
        """Returns evaluations by name, ``[S, E, ...]``, with ``round [E]``."""
        rows = self._rows(k)
        return {
            name: values if name == "round" else np.swapaxes(values[:, rows], 0, 1)
            for name, values in self.result.evaluations.items()
        }

    def last(self, k: int | None = None) -> dict[str, np.ndarray]:
        """Returns the last evaluations, ``[S, ...]``."""
        return {name: v[:, -1] for name, v in self.curves(k).items() if name != "round"}

    def log(self, k: int | None = None) -> dict[str, np.ndarray]:
        """Returns the algorithm's metrics, ``[S, T]``."""
        return {name: values[self._rows(k)] for name, values in self.result.log.items()}

    def measure(self, fn: Callable[[jc.State], Any], k: int | None = None) -> Any:
        """Applies ``fn(state of one run)`` to the last states; leaves ``[S, ...]``."""
        return jax.device_get(_compiled(fn)(self.state(k)))

    def _rows(self, k: int | None) -> slice:
        count, total = len(self.seeds), len(self.result.state.step)
        k = self.best if k is None else k
        if k is None and total != count:
            raise ValueError(f"k must be given without tuning, in 0..{total // count - 1}")
        k = k or 0
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
    """Trains all settings and seeds in one program.

    Args:
        context: context of the experiment; an interrupted training sets its ``stop``.
        build: ``build(setting) -> Algorithm``; the numbers of a setting are traced, and without
            settings it receives None.
        start: ``start(algorithm, key) -> State`` for one run; or states with leaves ``[K S, ...]``.
        batches: data and sampling, from :mod:`jcollab.data`. Leaves with axis 0 are ``[S, ...]``,
            repeated for each setting, or ``[K S, ...]``.
        rounds: T; by default from the configuration, as seeds and evaluations are.
        seeds: seeds of initial models and batches.
        settings: hyperparameters with leaves ``[K, ...]``; dictionaries of lists are logged.
        data_axes: 0 or None for each leaf of ``batches.data``, as for ``jax.vmap``; None shares
            all of it.
        evaluate: ``evaluate(state) -> dict`` of one run.
        evaluations: approximate number of evaluations; 20 if the configuration has none.
        tune: how the best setting is chosen; the choice is logged.
        tolerant: whether diverged runs continue; they always do with ``tune``.
        fold: the key of a run is ``fold_in(key of its seed, fold)``; None for the key itself.
        description: text of the progress bar; by default the tags that all runs share.
        tags: fields of every line of the log; a list contains one value for each run.
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
    """Stacks partitions, one for each seed, ``[S, n, w]``; the axes are :data:`PARTITIONED`."""
    each = [jc.data.by_client(examples, part) for part in parts]
    indices, mask = (jnp.stack([getattr(d, leaf) for d in each]) for leaf in ("indices", "mask"))
    return jc.data.ClientData(each[0].examples, indices, mask)


def replicated(model: Any, n: int, x: Any) -> Callable[[jc.Algorithm, jax.Array], jc.State]:
    """Returns ``start(algorithm, key)``: n copies of the model that the key initializes on x."""
    return lambda algorithm, key: algorithm.init(jc.replicate(model.init(key, x), n))


@functools.lru_cache(maxsize=4)
def _compiled(fn: Callable[[jc.State], Any]) -> Callable[[jc.State], Any]:
    """Compiles a function once for all settings."""
    return jax.jit(jc.layout.per_replica(fn))


def _scores(tune: Tune, evaluations: dict[str, np.ndarray], count: int) -> np.ndarray:
    """Returns the mean over seeds for each setting, ``[K]``."""
    known = [name for name in evaluations if name != "round"]
    if tune.metric not in known:
        raise ValueError(f"metric must be one of {', '.join(known)}, got {tune.metric!r}")
    values = np.asarray(evaluations[tune.metric], float)[-tune.last :]
    return np.nan_to_num(values.mean(0), posinf=0.0, neginf=0.0).reshape(count, -1).mean(1)


def _per_run(data: Any, axes: Any, seeds: int, count: int) -> Any:
    """Repeats leaves ``[S, ...]`` for every setting."""
    if axes is None or count == 1:
        return data

    def repeat(leaf: Any) -> Any:
        return leaf if len(leaf) == seeds * count else jnp.concatenate([leaf] * count)

    def repeat_all(axis: Any, part: Any) -> Any:
        return part if axis is None else jax.tree.map(repeat, part)

    return jax.tree.map(repeat_all, axes, data, is_leaf=lambda axis: axis is None)


def _is_list(value: Any) -> bool:
    numbers = isinstance(value, (list, tuple)) and all(isinstance(v, (int, float)) for v in value)
    return numbers and len(value) > 0
