"""Training: long runs with evaluation, listeners and checkpoints; sweeps."""

from jcollab.training.checkpoints import Checkpoint
from jcollab.training.fit import fit
from jcollab.training.listeners import JsonLines, Listener, ProgressBar, RunInfo
from jcollab.training.replicas import Replicas
from jcollab.training.results import Diverged, NotSaved, Result
from jcollab.training.sweeps import best, summarize, sweep
from jcollab.training.tensorboard import TensorBoard

__all__ = [
    "Checkpoint",
    "Diverged",
    "JsonLines",
    "Listener",
    "NotSaved",
    "ProgressBar",
    "Replicas",
    "Result",
    "RunInfo",
    "TensorBoard",
    "best",
    "fit",
    "summarize",
    "sweep",
]
