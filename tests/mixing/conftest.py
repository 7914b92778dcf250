import numpy as np
import pytest


@pytest.fixture
def values(x64):
    return list(np.random.default_rng(0).normal(size=(9, 6, 3)))
