import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from tests.mixing.drive import GRAPHS, KEY, drive
from tests.reference import oracles


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("form", ["dense", "sparse", "matrix", "matrix sparse", "neighborhood"])
def test_gossip_equals_a_loop_over_clients(values, name, form):
    topology = GRAPHS[name]
    matrix = jc.topology.mixing_matrix(topology)
    mixer = {
        "dense": jc.gossip(topology, sparse=False),
        "sparse": jc.gossip(topology, sparse=True),
        "matrix": jc.gossip(matrix, sparse=False),
        "matrix sparse": jc.gossip(matrix, sparse=True),
        "neighborhood": jc.neighborhood(topology, jc.aggregators.weighted()),
    }[form]
    expected = oracles.gossip(values, topology.graph.edges)
    np.testing.assert_allclose(drive(mixer, values)[0], expected, atol=1e-10)


def test_all_reduce_and_identity(values):
    outputs, _ = drive(jc.all_reduce(), values)
    expected = [np.broadcast_to(x.mean(0), x.shape) for x in values]
    np.testing.assert_allclose(outputs, expected, atol=1e-10)
    np.testing.assert_array_equal(drive(jc.identity(), values)[0], values)


def test_stateless_mixer():
    double = jc.mixing.stateless(lambda x, context: jax.tree.map(lambda leaf: 2 * leaf, x))
    x = {"w": jnp.ones((3, 2))}
    mixed, state = double.update(x, double.init(x), jc.core.Round(KEY, 0))
    assert state == () and (mixed["w"] == 2).all()
    assert np.isnan(jc.metrics.bytes_sent(double, x)).all()
