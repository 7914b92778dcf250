"""Presets of the experiments on critical parameters."""

from __future__ import annotations

from experiments.contract import Preset
from experiments.critical_params.kinds import (
    Batch,
    Delay,
    Estimate,
    Logistic,
    Network,
    Sparse,
    WallClock,
)

PRESETS = {
    "batch": Preset(
        config=Batch(),
        about="T1, T1b, T3: speed-up against the batch, every batch tuned, exact and Monte Carlo",
        cost="half a minute on 2 cores",
        expected="linear up to the noise-to-signal ratio, then flat",
        smoke={"batches": (1, 8, 64), "runs": 50, "monte_carlo": 1, "noise_ratios": (9.0,)},
    ),
    "delay": Preset(
        config=Delay(),
        about="T2: slowdown against the delay, every delay tuned, exact and Monte Carlo",
        cost="15 seconds on 2 cores",
        expected="one curve of tau / (1 + M): 1.1 at .1, 1.8 at 1, 7.7 at 10",
        smoke={"delays": (0, 3), "noise_ratios": (9.0, 99.0), "runs": 50},
    ),
    "sparse": Preset(
        config=Sparse(),
        about="T4: one-hot gradients, and Hogwild on sparse logistic regression",
        cost="2 minutes on 2 cores",
        expected="the sparser, the longer the delay that is free",
        smoke={"dimension": 8, "runs": 20, "features": 8, "examples": 32, "delays": (0,),
               "densities": (0.5,), "num_seeds": 2, "max_steps": 30},
    ),
    "estimate": Preset(
        config=Estimate(),
        about="T5: three estimators of noise over signal where it is known",
        cost="half a minute on 2 cores",
        expected="21.85 within 5 %",
        smoke={"dimension": 4, "samples": 400, "large": 40, "small": 4, "trajectory": 10},
    ),
    "wall_clock": Preset(
        config=WallClock(),
        about="time to a target against the number of clients: synchronous, asynchronous, local",
        cost="1 minute on 2 cores",
        expected="local SGD wins where links are slow; the synchronous knee comes 2.3 times later",
        smoke={"clients": (1,), "links": (0.0,), "features": 3, "target": 0.3},
    ),
    "logistic": Preset(
        config=Logistic(),
        about="T6: logistic regression, measured knees of batch and delay against the estimate",
        cost="2 minutes on 2 cores; --datasets mnist",
        expected="knees of 70 to 380, estimates of 130 and 140; digits' batch is off by 2.7",
        smoke={"datasets": ("breast_cancer",), "batches": (1,), "delays": (0,),
               "examples": 64, "num_seeds": 2, "max_steps": 30},
    ),
    "network": Preset(
        config=Network(),
        about="a CNN on digits: measured and estimated knees, early and late in training",
        cost="5 minutes on 2 cores; --dataset mnist",
        expected="knees grow 8 to 15 times during training; estimates fit delays, not batches",
        smoke={"channels": (2,), "hidden": 4, "batches": (1,), "delays": (0,), "examples": 32,
               "num_seeds": 1, "max_steps": 20, "losses": (2.29, 2.2, 2.1)},
    ),
}  # fmt: skip
