"""The result of a run, and errors that contain one."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from jcollab.core import State


class Result(NamedTuple):
    """The result of a run.

    Attributes:
        state: the last state.
        log: every metric of ``algorithm``, NumPy ``[T, ...]`` (``[S, T, ...]`` with replicas), over
            all rounds including those before a checkpoint.
        evaluations: the results of ``evaluate``, stacked over evaluations ``[E, ...]``, and their
            ``round``.
        stopped: ``"finished"``, ``"interrupted"`` by a signal, or ``"diverged"``.
    """

    state: State
    log: dict[str, np.ndarray]
    evaluations: dict[str, np.ndarray]
    stopped: Literal["finished", "interrupted", "diverged"]


class NotSaved(OSError):
    """An error that the last checkpoint could not be written; ``result`` is that of the run.

    Example:
        >>> finished = jc.training.Result(state=None, log={}, evaluations={}, stopped="finished")
        >>> try:
        ...     raise jc.training.NotSaved("no space left", finished)  # as fit does
        ... except jc.training.NotSaved as error:
        ...     print(error, "-", error.result.stopped)
        no space left - finished
    """

    def __init__(self, message: str, result: Result):
        super().__init__(message)
        self.result = result


class Diverged(FloatingPointError):
    """An error that a metric or a model is infinite or NaN; ``result`` is the run until then.

    Example:
        >>> loss = lambda params, batch, key: jnp.sum(jnp.log(params - batch))
        >>> algorithm = jc.centralized(loss, optax.sgd(0.25))
        >>> state, batches = algorithm.init(jnp.zeros((1, 1))), jc.data.stacked(jnp.ones((2, 1, 1)))
        >>> try:
        ...     jc.fit(algorithm, state, batches, jax.random.key(0), num_rounds=2, listeners=())
        ... except jc.training.Diverged as error:
        ...     print(error.result.stopped, error.result.log["loss"])
        diverged [nan]
    """

    def __init__(self, message: str, result: Result):
        super().__init__(message)
        self.result = result
