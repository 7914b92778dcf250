import chex
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from tests.mixing.drive import GRAPHS, KEY, draws, drive
from tests.reference import oracles

TREES = ("chain", "star", "tree")


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("fill", ["initial", "previous", "own", "zero", "counts"])
@pytest.mark.parametrize("overlap", [False, True])
def test_relay_sum_equals_message_passing(values, name, fill, overlap):
    mixer = jc.relay_sum(GRAPHS[name], fill=fill, overlap=overlap)
    expected = oracles.relay_sum(
        values, GRAPHS[name].graph.edges, start=values[0], fill=fill, overlap=overlap
    )
    np.testing.assert_allclose(drive(mixer, values)[0], expected, atol=1e-10)


@pytest.mark.parametrize("fill", ["initial", "previous", "counts"])
def test_relay_sum_loses_values_and_counts_together(values, fill):
    topology = GRAPHS["tree"]
    mixer = jc.relay_sum(topology, fill=fill, channel=jc.channels.drop(0.3))
    kept = draws(KEY, topology, 0.3)  # `drive` uses one key in all rounds
    assert 0 < sum(kept.values()) < len(kept)
    expected = oracles.relay_sum(
        values,
        topology.graph.edges,
        start=values[0],
        fill=fill,
        arrives=lambda t, receiver, sender: kept[receiver, sender],
    )
    np.testing.assert_allclose(drive(mixer, values)[0], expected, atol=1e-10)


def test_relay_sum_averages_everything_after_the_diameter(x64):
    """On a reliable tree, a value that stays put is averaged exactly once it has traveled."""
    x = np.random.default_rng(1).normal(size=(6, 2))
    outputs, state = drive(jc.relay_sum(GRAPHS["chain"]), [x] * 6)
    np.testing.assert_allclose(outputs[-1], np.broadcast_to(x.mean(0), x.shape), atol=1e-12)
    chex.assert_trees_all_equal(1 + state.counts.sum(1), jnp.full(6, 6))
