"""Presets of the experiments on optimal averaging."""

from __future__ import annotations

from experiments.contract import Preset
from experiments.optimal_averaging.kinds import (
    Models,
    MultiNode,
    Parabola,
    PlugInRisk,
    Population,
)

PRESETS = {
    "parabola": Preset(
        config=Parabola(),
        about="risk and benefit against the weight of the others, theory and Monte Carlo",
        cost="5 s on 2 cores",
        expected="a* = .9, .826, .277, .09 at biases 0, .1, .5, 1; all benefits on r (2 - r)",
        smoke={"repetitions": 2000, "biases": (0.0, 0.5)},
    ),
    "plug_in": Preset(
        config=PlugInRisk(),
        about="risk of four plug-in rules against the bias of the others",
        cost="15 s on 2 cores",
        expected="gains near bias 0; from 1 or 2 to 5 and more sd, every rule loses to local",
        smoke={"repetitions": 2000, "num_biases": 5, "global_variances": (0.1,)},
    ),
    "population": Preset(
        config=Population(),
        about="20 clients of a population: weights and risks, theory and the mixer",
        cost="15 s on 2 cores",
        expected="spread .3: a* = .655 with MSE .069, alone .2, all together .105",
        smoke={"repetitions": 500, "spreads": (0.0, 0.3), "num_weights": 11},
    ),
    "multi_node": Preset(
        config=MultiNode(),
        about="best weights of several others, on the simplex or not; biases that cancel",
        cost="5 s on 2 cores",
        expected="risk / V_l .122 at opposite signs, scale 1; uniform .245",
        smoke={"repetitions": 500, "scales": (0.0, 1.0)},
    ),
    "models": Preset(
        config=Models(),
        about="two latent groups of clients that disagree about labels: digits, 13 methods",
        cost="1 minute on 2 cores; --dataset mnist in 3",
        expected="the right level of collaboration beats both extremes for both groups",
        smoke={
            "n": 5,
            "minority": 2,
            "shifted": (3,),
            "examples": 200,
            "rounds": 6,
            "period": 2,
            "tuning": 2,
            "num_weights": 3,
            "trained": ("APFL",),
            "num_seeds": 1,
        },
    ),
}
