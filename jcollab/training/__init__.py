"""Training: long runs with evaluation, logs and checkpoints; sweeps; clients in host memory."""

from jcollab.training.checkpoints import Checkpoints, Saved
from jcollab.training.fit import Diverged, Result, fit
from jcollab.training.host_memory import offload, run_offloaded
from jcollab.training.run_log import RunLog
from jcollab.training.sweeps import best, summarize, sweep

__all__ = [
    "Checkpoints",
    "Diverged",
    "Result",
    "RunLog",
    "Saved",
    "best",
    "fit",
    "offload",
    "run_offloaded",
    "summarize",
    "sweep",
]
