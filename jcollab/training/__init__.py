"""Training: long runs with evaluation, listeners and checkpoints; sweeps."""

from jcollab.training.checkpoints import Checkpoint
from jcollab.training.fit import fit
from jcollab.training.listeners import JsonLines, Listener, ProgressBar, RunInfo
from jcollab.training.live import LiveTable
from jcollab.training.replicas import Replicas
from jcollab.training.results import Diverged, NotSaved, Result
from jcollab.training.sweeps import best, summarize, sweep
from jcollab.training.tensorboard import TensorBoard
from jcollab.training.trackers import MLflow, Trackio, WandB

__all__ = [
    "Checkpoint",
    "Diverged",
    "JsonLines",
    "Listener",
    "LiveTable",
    "MLflow",
    "NotSaved",
    "ProgressBar",
    "Replicas",
    "Result",
    "RunInfo",
    "TensorBoard",
    "Trackio",
    "WandB",
    "best",
    "fit",
    "summarize",
    "sweep",
]
