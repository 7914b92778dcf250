import numpy as np
import pytest

import jcollab as jc
from tests.mixing.drive import GRAPHS, KEY, draws, drive
from tests.reference import oracles


@pytest.fixture
def values(x64):
    return list(np.random.default_rng(0).normal(size=(9, 6, 3)))


def test_weights_that_arrive_are_renormalized(values):
    topology, p = GRAPHS["ring"], 0.4
    mixer = jc.neighborhood(topology, jc.aggregators.weighted(), jc.channels.drop(p))
    kept = draws(KEY, topology, p)
    matrix = oracles.metropolis(topology.graph.edges, 6)
    for i in range(6):
        for j in range(6):
            if i != j and not kept.get((i, j), False):
                matrix[i, j] = 0
    matrix /= matrix.sum(1, keepdims=True)
    np.testing.assert_allclose(drive(mixer, values)[0], matrix @ np.stack(values), atol=1e-10)


def test_drop_nothing_and_drop_all(values):
    rule, ring = jc.aggregators.weighted(), GRAPHS["ring"]
    nothing, _ = drive(jc.neighborhood(ring, rule, jc.channels.drop(0.0)), values)
    np.testing.assert_allclose(nothing, oracles.gossip(values, ring.graph.edges), atol=1e-10)
    everything, _ = drive(jc.neighborhood(ring, rule, jc.channels.drop(1.0)), values)
    np.testing.assert_allclose(everything, values, atol=1e-10)
    both = jc.channels.chain(jc.channels.reliable(), jc.channels.drop(1.0))
    np.testing.assert_allclose(drive(jc.neighborhood(ring, rule, both), values)[0], values)
