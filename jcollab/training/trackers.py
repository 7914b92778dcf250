"""Listeners that send the numbers of records to Weights & Biases, MLflow and trackio."""

from __future__ import annotations

import importlib
import os
import time
from typing import Any

from jcollab.training.listeners import RunInfo
from jcollab.training.records import ROUND, Record, scalars

MOST_AT_ONCE = 1000  # metrics that a server of MLflow accepts in one request


class WandB:
    """A listener that logs the numbers of records to a run of Weights & Biases.

    The configuration of the run is the identity of the checkpoint, and its steps are rounds. Lists
    become one metric per entry, ``loss/0``, ``loss/1``. A run that resumes from a checkpoint is a
    new run of Weights & Biases with the earlier records, so that its curves are those of one long
    run. With ``id`` and ``resume="allow"``, it continues the run of that id, and logs only the
    rounds that are missing there.

    Args:
        project: name of the project; None for the default of Weights & Biases.
        **options: arguments of ``wandb.init``, such as ``mode="offline"``, ``name`` or ``group``.

    Raises:
        ImportError: if wandb is not installed.

    Example:
        >>> run = jc.training.WandB("relay", mode="offline", name="ring")  # doctest: +SKIP
        >>> jc.fit(algorithm, state, batches, key, num_rounds=9, listeners=[run])  # doctest: +SKIP
    """

    def __init__(self, project: str | None = None, **options: Any):
        self._wandb = _import("wandb", "WandB")
        # by default, wandb would give every listener of a process the same run
        self.options = {"project": project, "reinit": "create_new", **options}
        self._run: Any = None

    def start(self, run: RunInfo) -> None:
        """Opens a run, and logs the records of earlier rounds."""
        config = {**run.identity, **(self.options.get("config") or {})}
        self._run = self._wandb.init(**self.options | {"config": config})
        for record in run.records:
            self.record(record)

    def record(self, record: Record) -> None:
        """Logs the numbers of a record."""
        # a run that wandb itself resumes has a step already, and accepts no earlier ones
        if record[ROUND] >= self._run.step:
            self._run.log(scalars(record), step=record[ROUND])

    def stop(self, reason: str) -> None:
        """Adds ``stopped`` to the summary, and finishes the run."""
        self._run.summary["stopped"] = reason
        self._run.finish(exit_code=int(reason in ("diverged", "failed")))


class MLflow:
    """A listener that logs the numbers of records to a run of MLflow.

    The parameters of the run are the identity of the checkpoint, and its steps are rounds. Lists
    become one metric per entry, ``loss/0``, ``loss/1``; the metric ``round`` is the last round. If
    it has a name, a run that resumes from a checkpoint continues the newest run of that name;
    without a name, it is a new run of MLflow with the earlier records.

    Args:
        experiment: name of the experiment, which is created if it does not exist.
        name: name of the run; None for a random one.
        tracking_uri: address of a server, or of a database such as ``"sqlite:///mlflow.db"``; None
            for the default of MLflow.

    Raises:
        ImportError: if mlflow is not installed. The package ``mlflow-skinny`` is enough for a
            server.

    Example:
        >>> run = jc.training.MLflow("relay", name="ring")  # doctest: +SKIP
        >>> jc.fit(algorithm, state, batches, key, num_rounds=9, listeners=[run])  # doctest: +SKIP
    """

    def __init__(
        self,
        experiment: str = "Default",
        *,
        name: str | None = None,
        tracking_uri: str | os.PathLike | None = None,
    ):
        self._mlflow = _import("mlflow", "MLflow")
        self.experiment, self.name, self.tracking_uri = experiment, name, tracking_uri
        self._client: Any = None
        self._id, self._last = "", -1

    def start(self, run: RunInfo) -> None:
        """Opens a run, and logs the records of earlier rounds."""
        # through a client: the functions of the module have one active run for a whole process
        self._client = client = self._mlflow.MlflowClient(self.tracking_uri)
        known = client.get_experiment_by_name(self.experiment)
        place = known.experiment_id if known else client.create_experiment(self.experiment)
        runs = client.search_runs([place]) if run.done and self.name else []  # the newest first
        same = (each for each in runs if each.info.run_name == self.name)
        opened = next(same, None) or client.create_run(place, run_name=self.name)
        self._id, self._last = opened.info.run_id, opened.data.metrics.get(ROUND, -1)
        client.update_run(self._id, status="RUNNING")
        for name, value in run.identity.items():
            client.log_param(self._id, name, value)
        for record in run.records:
            self.record(record)

    def record(self, record: Record) -> None:
        """Logs the numbers of a record."""
        if record[ROUND] <= self._last:
            return
        now, step = int(time.time() * 1000), record[ROUND]
        metric = self._mlflow.entities.Metric
        numbers = {**scalars(record), ROUND: float(step)}
        metrics = [metric(name, value, now, step) for name, value in numbers.items()]
        for first in range(0, len(metrics), MOST_AT_ONCE):
            self._client.log_batch(self._id, metrics[first : first + MOST_AT_ONCE])

    def stop(self, reason: str) -> None:
        """Adds the tag ``stopped``, and terminates the run."""
        status = {"finished": "FINISHED", "interrupted": "KILLED"}.get(reason, "FAILED")
        self._client.set_tag(self._id, "stopped", reason)
        self._client.set_terminated(self._id, status)


class Trackio:
    """A listener that logs the numbers of records to a run of trackio.

    The configuration of the run is the identity of the checkpoint, and its steps are rounds. Lists
    become one metric per entry, ``loss/0``, ``loss/1``. A run that resumes from a checkpoint is a
    new run of trackio with the earlier records, so that its curves are those of one long run.

    Args:
        project: name of the project.
        **options: arguments of ``trackio.init``, such as ``name``, ``group`` or ``space_id``.
            Without the latter, runs are on this machine, in the folder ``TRACKIO_DIR``.

    Raises:
        ImportError: if trackio is not installed.

    Example:
        >>> run = jc.training.Trackio("relay", name="ring")  # doctest: +SKIP
        >>> jc.fit(algorithm, state, batches, key, num_rounds=9, listeners=[run])  # doctest: +SKIP
    """

    def __init__(self, project: str, **options: Any):
        self._trackio = _import("trackio", "Trackio")
        self.options = {"project": project, **options}
        self._run: Any = None

    def start(self, run: RunInfo) -> None:
        """Opens a run, and logs the records of earlier rounds."""
        config = {**run.identity, **(self.options.get("config") or {})}
        self._run = self._trackio.init(**self.options | {"config": config})
        for record in run.records:
            self.record(record)

    def record(self, record: Record) -> None:
        """Logs the numbers of a record."""
        self._run.log(scalars(record), step=record[ROUND])

    def stop(self, reason: str) -> None:
        """Finishes the run, which waits until everything is written."""
        self._run.finish()


def _import(name: str, listener: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f'{listener} needs {name}: pip install "jax-collab[tracking]"') from error
