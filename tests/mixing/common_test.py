import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

import jcollab as jc
from tests.mixing.drive import GRAPHS, KEY


def test_bytes_sent():
    x = {"a": jnp.zeros((6, 10)), "b": jnp.zeros((6, 2), jnp.bfloat16)}
    size = 44.0
    # a message of RelaySum is a sum and the number of values in it
    for mixer, sent in (
        (jc.gossip(GRAPHS["star"]), size),
        (jc.relay_sum(GRAPHS["star"]), size + 4),
    ):
        assert jc.metrics.bytes_sent(mixer, x).tolist() == [5 * sent] + [sent] * 5
    assert jc.metrics.bytes_sent(jc.mix_every(2, jc.all_reduce()), x).tolist() == [size / 2] * 6
    assert not jc.metrics.bytes_sent(jc.identity(), x).any()


def test_bfloat16_models_are_mixed_in_float32():
    x = jnp.asarray(np.random.default_rng(0).normal(1, 0.1, (64, 5)), jnp.bfloat16)
    for mixer in (jc.gossip(jc.topology.ring(64)), jc.relay_sum(jc.topology.chain(64), fill="own")):
        state, y = mixer.init(x), x
        for step in range(3):
            y, state = mixer.update(y, state, jc.core.Round(KEY, step))
        assert y.dtype == jnp.bfloat16
        drift = np.abs(np.asarray(y, np.float32).mean(0) / np.asarray(x, np.float32).mean(0) - 1)
        assert drift.max() < 2e-2
    assert jc.relay_sum(GRAPHS["chain"]).init(x[:6]).inbox.dtype == jnp.float32


def test_wrong_inputs_are_named():
    x = jnp.zeros((5, 2))
    for mixer in (
        jc.gossip(GRAPHS["ring"]),
        jc.relay_sum(GRAPHS["chain"]),
        jc.neighborhood(GRAPHS["ring"], jc.aggregators.weighted()),
    ):
        with pytest.raises(ValueError, match="params must be stacked for the n=6 clients.*got n=5"):
            mixer.init(x)
    with pytest.raises(ValueError, match=r"topology must be a tree, got ring with the cycle"):
        jc.relay_sum(GRAPHS["ring"])
    with pytest.raises(ValueError, match="fill must be one of initial, .*got 'x0'"):
        jc.relay_sum(GRAPHS["chain"], fill="x0")
    with pytest.raises(ValueError, match="2 components"):
        jc.gossip(nx.Graph([(0, 1), (2, 3)]))
    with pytest.raises(ValueError, match="W must be symmetric"):
        jc.gossip(np.roll(np.eye(3), 1, 0))
    jc.gossip(np.roll(np.eye(3), 1, 0), symmetric=False)
    with pytest.raises(ValueError, match="doubly stochastic, got 1.5 for column 0"):
        jc.gossip(np.array([[1.0, 0.0], [0.5, 0.5]]))
    with pytest.raises(ValueError, match="W must be square"):
        jc.gossip(np.ones((2, 3)))
    with pytest.raises(ValueError, match="non-negative"):
        jc.gossip(np.array([[2.0, -1.0], [-1.0, 2.0]]))
    with pytest.raises(ValueError, match=r"probability must be in \[0, 1\], got 1.5"):
        jc.channels.drop(1.5)
    with pytest.raises(ValueError, match="period must be at least 1"):
        jc.mix_every(0, jc.all_reduce())
    with pytest.raises(TypeError, match="rule must be a Rule .*got int"):
        jc.neighborhood(GRAPHS["ring"], 3)
    with pytest.raises(TypeError, match="topology must be a Topology or a networkx graph"):
        jc.relay_sum("chain")
