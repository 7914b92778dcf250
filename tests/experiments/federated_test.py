"""Federated comparisons: claims from paired differences."""

import numpy as np
import pytest

from experiments import paired
from experiments.federated import drift


def test_drift_claims_are_paired_by_seed():
    accuracy = {
        "FedAvg": (0.5, 0.6, 0.7),
        "FedGA": (0.52, 0.62, 0.721),
        "SCAFFOLD": (0.4, 0.7, 0.8),
    }
    rows = [
        {"method": method, "seed": seed, "accuracy": value}
        for method, values in accuracy.items()
        for seed, value in enumerate(values)
    ]
    claims = [*drift.claims(drift.Config(), rows[::-1])]
    holds = {claim.claim.split()[0]: claim.holds for claim in claims}
    assert holds == {"FedGA": True, "SCAFFOLD": False}
    assert not [*drift.claims(drift.Config(), rows[3:])]  # without FedAvg


def test_gains_match_rows_by_seed():
    own = [{"seed": 1, "x": 5.0}, {"seed": 0, "x": 2.0}]
    other = [{"seed": 0, "x": 1.0}, {"seed": 1, "x": 2.0}]
    mean, low, high = paired.gain(own, other, "x")
    assert mean == 2 and high - mean == pytest.approx(mean - low)
    claim = paired.above_zero("a is above b", (2.0, -1.0, 5.0))
    assert not claim.holds and claim.measured == "+2.0000 [-1.0000, +5.0000]"
    assert np.isinf(paired.gain(own[:1], other[1:], "x")[2])
