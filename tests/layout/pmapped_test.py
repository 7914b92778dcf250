import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab import layout
from jcollab.core import State

SGD = optax.sgd(0.1)


@pytest.mark.parametrize("n", [8, 6])
@pytest.mark.parametrize("mixer", ["gossip", "relay", "all-reduce"])
def test_pmap_and_sharding_equal_one_device(n, mixer):
    topology = jc.topology.binary_tree(n)
    mixers = {
        "gossip": jc.gossip(topology, sparse=True),
        "relay": jc.relay_sum(topology),
        "all-reduce": jc.all_reduce(),
    }

    def loss(w, batch, key):
        return jnp.sum((w - batch) ** 2)

    algorithm = jc.decentralized(loss, optax.sgd(0.1), mixers[mixer])
    batches = jax.random.normal(jax.random.key(0), (3, n, 2))
    state, key = algorithm.init(jnp.zeros((n, 2))), jax.random.key(1)
    expected, log = jc.run(algorithm, state, jc.data.stacked(batches), key)
    spread = layout.pmap(algorithm)
    got, got_log = jc.run(spread, state, jc.data.stacked(batches), key)
    np.testing.assert_allclose(got.clients.params, expected.clients.params, atol=1e-6)
    np.testing.assert_allclose(got_log["loss"], log["loss"], rtol=1e-5)
    with layout.use(layout.mesh(4)) as mesh:
        got, _ = jc.run(algorithm, layout.place(state, mesh), jc.data.stacked(batches), key)
    np.testing.assert_allclose(got.clients.params, expected.clients.params, atol=1e-6)


def test_pmap_names_a_leaf_without_client_axis():
    def update(state, batch, key):
        return state, {}

    spread = layout.pmap(jc.Algorithm(lambda key, params: None, update))
    state = State({"w": jnp.zeros((4, 2)), "count": jnp.zeros(())}, (), jnp.int32(0))
    with pytest.raises(ValueError, match=r"state.clients\['count'\] must lead with .*got a scalar"):
        spread.update(state, jnp.zeros(4), None)


def test_pmap_goes_on_with_data_that_clients_draw_from():
    """Six clients on four devices, two of them sampled, two rounds."""

    def loss(w, batch, key):
        return jnp.sum((w - batch) ** 2)

    data = jc.data.by_client(np.arange(24.0, dtype=np.float32)[:, None], jc.data.iid(24, 6))
    batches, algorithm = jc.data.minibatches(data, 2), jc.federated(loss, SGD, num_sampled=2)
    spread, states = layout.pmap(algorithm), [algorithm.init(jnp.zeros((6, 1)))] * 2
    for t in range(2):
        key = jax.random.key(t)
        states = [
            a.update(s, batches, key)[0] for a, s in zip((algorithm, spread), states, strict=True)
        ]
    np.testing.assert_allclose(*(jc.params_of(state) for state in states), rtol=1e-6)
