"""Optimal averages of a client's own estimate and the estimate of other clients.

A client estimates a quantity from few samples; the estimate of other clients has less noise and a
bias. The functions here compute the best average of the two, its benefit, and how to choose it from
data. They take numbers or arrays that broadcast. Numbers and NumPy arrays are computed in float64;
functions of jax arrays are pure, so that they can be jitted, vmapped and differentiated, except for
``james_stein_benefit``. Arguments are checked unless they are traced.

Throughout, **a** is the weight of the other clients; 0 means learning alone.
"""

from jcollab.theory.averaging.closed_form import (
    benefit,
    break_even,
    exclusive_weight,
    inclusive_weight,
    optimal_risk,
    optimal_weight,
    pooled_weight,
    relative_benefit,
    risk,
)
from jcollab.theory.averaging.estimates import (
    others_mean,
    others_variance,
    sampling_variance,
    squared_distance,
    variance_of_mean,
)
from jcollab.theory.averaging.nodes import (
    multi_node_risk,
    multi_node_weights,
    population_moments,
    population_risk,
    population_weight,
)
from jcollab.theory.averaging.rules import (
    RULES,
    PlugIn,
    clipped_ratio,
    naive,
    oracle,
    plug_in_risk,
    plug_in_weight,
    positive_part,
    pre_test,
    shared_bias,
    shared_weight,
)
from jcollab.theory.averaging.stein import james_stein, james_stein_benefit

__all__ = [
    "RULES",
    "PlugIn",
    "benefit",
    "break_even",
    "clipped_ratio",
    "exclusive_weight",
    "inclusive_weight",
    "james_stein",
    "james_stein_benefit",
    "multi_node_risk",
    "multi_node_weights",
    "naive",
    "optimal_risk",
    "optimal_weight",
    "oracle",
    "others_mean",
    "others_variance",
    "plug_in_risk",
    "plug_in_weight",
    "pooled_weight",
    "population_moments",
    "population_risk",
    "population_weight",
    "positive_part",
    "pre_test",
    "relative_benefit",
    "risk",
    "sampling_variance",
    "shared_bias",
    "shared_weight",
    "squared_distance",
    "variance_of_mean",
]
