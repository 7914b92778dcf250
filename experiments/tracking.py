"""Programs that show the log of a run while it is running: ``--track NAME ...``.

``tensorboard`` writes event files into OUT/tensorboard. ``wandb``, ``mlflow`` and ``trackio`` log
to the place in their configuration (for example ``WANDB_MODE`` or ``MLFLOW_TRACKING_URI``).
``live`` shows a table in the terminal. Every training is one run, named by its tags.
"""

import pathlib
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console

from jcollab import training

EVENTS = "tensorboard"
PROJECT = "jcollab"


def listeners(
    names: Iterable[str], out: pathlib.Path, console: Console, tags: dict[str, Any]
) -> list[Any]:
    """Builds the listeners of one training.

    Args:
        names: names of programs.
        out: output folder of the experiment; it names the group of its runs.
        console: console of the progress bars.
        tags: fields of every line of the log, as JSON values.

    Raises:
        ImportError: if the package of a program is not installed.
    """
    named = {name: value for name, value in tags.items() if _short(value)}
    run = "-".join(f"{name}.{value}" for name, value in named.items()) or "run"
    group = out.resolve().name
    build: dict[str, Callable[[], Any]] = {
        "tensorboard": lambda: training.TensorBoard(out / EVENTS / run),
        "wandb": lambda: training.WandB(PROJECT, name=run, group=group, config=tags, dir=str(out)),
        "mlflow": lambda: training.MLflow(f"{PROJECT} {group}", name=run),
        "trackio": lambda: training.Trackio(PROJECT, name=run, group=group, config=tags),
        "live": lambda: training.LiveTable(console=console),
    }
    return [build[name]() for name in names]


def _short(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)
