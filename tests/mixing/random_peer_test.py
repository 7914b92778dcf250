import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc


@pytest.mark.parametrize("include_self", [True, False])
def test_bytes_over_a_graph_are_those_that_neighbors_ask_for(include_self):
    """Client j asks each of its neighbors (and itself) with the same chance."""
    x = jnp.zeros((4, 10), jnp.float32)
    mixer = jc.mixing.random_peer(jc.topology.chain(4), include_self=include_self)
    chances = np.zeros((4, 4))
    for j, near in enumerate(([1], [0, 2], [1, 3], [2])):
        chances[near, j] = 1 / (len(near) + include_self)
    np.testing.assert_allclose(jc.metrics.bytes_sent(mixer, x), 40 * chances.sum(1), rtol=1e-6)
