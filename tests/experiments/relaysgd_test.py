"""The searches of the RelaySGD experiments."""

import numpy as np
import pytest

import jcollab as jc
from experiments.relaysgd._quadratics import method, stack, tune
from tests import ROOT


@pytest.mark.parametrize("name, steps, rate", [("RelaySGD", 8, 0.78125), ("D2", 65, 0.078125)])
def test_search_finds_the_recorded_learning_rates(x64, name, steps, rate):
    """Figure 8's star, on two of the original's problems at once."""
    recorded = np.load(ROOT / "experiments/relaysgd/problems/fig7_8_10.npz")
    problems = stack(
        [
            jc.data.synthetic.Quadratics(recorded[f"A_zeta{z}"], recorded[f"B_zeta{z}"][..., 0])
            for z in ("0", "0.1")
        ]
    )
    best = tune(method(f"{name} star", 32), problems)
    assert best.steps.tolist() == [steps] * 2
    assert best.learning_rate.tolist() == [rate] * 2
