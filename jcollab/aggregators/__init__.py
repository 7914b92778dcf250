"""Aggregation rules for ONE receiver: what a client makes of what it is sent.

A rule is a function ``rule(own, received, weights) -> new`` of pytrees with leaves ``[...]`` and
``[K, ...]``. ``weights`` is ``[K]``, 0 where a slot is empty or its message was lost; the weight
of the receiver's own value is ``1 - sum(weights)``. Nothing is assumed of what is exchanged:
models, gradients, class representations. Rules that ask for more name it as keyword arguments:

    key        random key of this receiver and round        step     finished rounds, int32 []
    receiver   number of the receiver, int32 []              senders  int32 [K]
    batch      the receiver's batch of this round            own_counts

``own_counts`` is False where ``own`` is no input of its own, as on a server that only combines
what it is sent. A rule with a memory is a :class:`StatefulRule`.
"""

from jcollab.aggregators.bucketing import bucketing
from jcollab.aggregators.clipping import (
    centered_clip,
    oracle_radius,
    second_largest_distance,
    self_centered_clip,
)
from jcollab.aggregators.common import Rule, StatefulRule, apply, check_neighborhoods
from jcollab.aggregators.coordinatewise import coordinate_median, trimmed_mean
from jcollab.aggregators.geometry import geometric_median, krum, multi_krum
from jcollab.aggregators.per_class import per_class
from jcollab.aggregators.ubar import ubar
from jcollab.aggregators.weighted import weighted

__all__ = [
    "Rule",
    "StatefulRule",
    "apply",
    "bucketing",
    "centered_clip",
    "check_neighborhoods",
    "coordinate_median",
    "geometric_median",
    "krum",
    "multi_krum",
    "oracle_radius",
    "per_class",
    "second_largest_distance",
    "self_centered_clip",
    "trimmed_mean",
    "ubar",
    "weighted",
]
