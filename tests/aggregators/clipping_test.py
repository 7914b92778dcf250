import chex
import jax
import jax.numpy as jnp
import numpy as np

from jcollab import aggregators as ag
from jcollab.aggregators import common
from jcollab.core import Receiver
from tests.aggregators.cases import STORED, call, case


def test_centered_clipping_equals_the_original_over_three_calls(x64):
    own, messages = jnp.asarray(STORED["x"]), jnp.asarray(STORED["neighbors"])
    rule = ag.centered_clip(1.0)
    center = rule.init(own)
    for call_number in range(3):
        out, center = rule.update(own, messages, STORED["weights"][1:], center, Receiver())
        np.testing.assert_allclose(out, STORED[f"out__cp1_call{call_number}"], rtol=1e-12)


def test_clipping_with_no_and_with_all_bounds(x64):
    own, messages, weights = case()
    free = call(ag.self_centered_clip(jnp.inf), own, messages, weights)
    gossip = call(ag.weighted(), own, messages, weights)
    chex.assert_trees_all_close(free, gossip, rtol=1e-12)
    still = call(ag.self_centered_clip(0.0), own, messages, weights)
    chex.assert_trees_all_equal(still, own)


def test_the_oracle_knows_the_honest_spread(x64):
    own, messages, weights = case()
    byzantine = np.arange(6) >= 4
    gaps = jax.tree.map(lambda x, m: ((m - x) ** 2).reshape(6, -1).sum(1), own, messages)
    squared = np.asarray(gaps["a"] + gaps["b"])
    delta = weights[4:].sum()
    tau = np.sqrt((weights[:4] * squared[:4]).sum() / delta)
    expected = call(ag.self_centered_clip(tau), own, messages, weights)
    oracle = ag.self_centered_clip(ag.oracle_radius(byzantine))
    got = call(oracle, own, messages, weights)
    chex.assert_trees_all_close(got, expected, rtol=1e-12)
    alone = ag.self_centered_clip(ag.oracle_radius(np.zeros(6, bool)))
    gossip = call(ag.weighted(), own, messages, weights)
    got = call(alone, own, messages, weights)
    chex.assert_trees_all_close(got, gossip, rtol=1e-12)


def test_distances_of_messages_that_are_read_by_blocks(monkeypatch):
    """The last block overlaps another one; whole numbers are exact in float32. NaN remains."""
    monkeypatch.setattr(common, "BLOCK", 16)
    monkeypatch.setattr(common, "CACHED_UP_TO", 0)
    rng = np.random.default_rng(0)
    own = {"w": rng.integers(-8, 9, (5, 11)), "b": rng.integers(-8, 9, 3)}
    sent = {"w": rng.integers(-8, 9, (4, 5, 11)), "b": rng.integers(-8, 9, (4, 3))}
    want = sum(((sent[k] - own[k]) ** 2).reshape(4, -1).sum(1) for k in own)
    own, sent = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (own, sent))
    np.testing.assert_array_equal(jax.jit(common.squared_distances)(own, sent), want)
    sent["w"] = sent["w"].at[2, 4, 10].set(jnp.nan)
    got = np.isnan(common.squared_distances(own, sent))
    np.testing.assert_array_equal(got, [False, False, True, False])
