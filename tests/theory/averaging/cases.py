"""Recorded numbers and random moments of two averages."""

import json

import numpy as np

from tests import REFERENCE

REFS = json.loads((REFERENCE / "optimal_averaging/refs.json").read_text())
V_L, V_G, BIAS = np.random.default_rng(0).exponential(size=(3, 200))


def close(a, b, **tolerance):
    np.testing.assert_allclose(a, b, **({"rtol": 0, "atol": 1e-12} | tolerance))
