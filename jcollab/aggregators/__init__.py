"""Aggregation rules, which combine the value of ONE receiver with the messages it receives.

A :class:`Rule` computes ``update(own, messages, weights, s, context) -> (new, s)`` on pytrees with
leaves ``[...]`` and ``[K, ...]``. ``weights`` is ``[K]``, 0 for an empty slot or a lost message;
the weight of the receiver's value is ``1 - sum(weights)``. Messages may be models, gradients or
class representations. The context (:class:`jcollab.core.Receiver`) contains the random key, the
round, the indices of the receiver and the senders, the receiver's batch, and ``own_counts``, which
is False if ``own`` is not an input, as on a server that only combines messages. :func:`rule` builds
a rule from a plain function.
"""

from jcollab.aggregators.bucketing import bucketing
from jcollab.aggregators.clipping import (
    centered_clip,
    oracle_radius,
    second_largest_distance,
    self_centered_clip,
)
from jcollab.aggregators.common import apply, rule
from jcollab.aggregators.coordinatewise import coordinate_median, trimmed_mean
from jcollab.aggregators.geometry import geometric_median, krum, multi_krum
from jcollab.aggregators.per_class import per_class
from jcollab.aggregators.ubar import ubar
from jcollab.aggregators.weighted import weighted
from jcollab.core import Rule

__all__ = [
    "Rule",
    "apply",
    "bucketing",
    "centered_clip",
    "coordinate_median",
    "geometric_median",
    "krum",
    "multi_krum",
    "oracle_radius",
    "per_class",
    "rule",
    "second_largest_distance",
    "self_centered_clip",
    "trimmed_mean",
    "ubar",
    "weighted",
]
