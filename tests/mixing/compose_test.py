import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from tests.mixing.drive import GRAPHS, KEY, drive
from tests.reference import oracles


def test_every_mixes_after_each_period(values):
    outputs, _ = drive(jc.mix_every(3, jc.all_reduce()), values)
    for t, (x, out) in enumerate(zip(values, outputs, strict=True)):
        expected = np.broadcast_to(x.mean(0), x.shape) if t % 3 == 2 else x
        np.testing.assert_allclose(out, expected, atol=1e-10)


def test_on_mixes_only_what_is_selected():
    x = {"body": {"w": jnp.arange(4.0)}, "head": jnp.arange(8.0).reshape(4, 2)}
    mixer = jc.mix_only(lambda path, leaf: "head" not in path, jc.all_reduce())
    mixed, _ = mixer.update(x, mixer.init(x), jc.core.Round(KEY, 0))
    np.testing.assert_allclose(mixed["body"]["w"], 1.5)
    np.testing.assert_array_equal(mixed["head"], x["head"])
    assert jc.metrics.bytes_sent(mixer, x).tolist() == [4.0] * 4
    with pytest.raises(ValueError, match="select must choose at least one of.*body/w"):
        jc.mix_only(lambda path, leaf: False, jc.all_reduce()).init(x)


def test_interleave_runs_each_coordinate_through_its_own_mixer(values):
    trees = jc.topology.binary_tree(6), jc.topology.binary_tree(6, reverse=True)
    mixer = jc.mixing.interleave(*(jc.relay_sum(tree, fill="own") for tree in trees))
    inputs = [{"b": jnp.asarray(x), "a": jnp.asarray(x[:, 0] ** 2)} for x in values]
    flat = [np.concatenate([np.asarray(x["a"])[:, None], np.asarray(x["b"])], 1) for x in inputs]
    parts = [
        oracles.relay_sum([x[:, i::2] for x in flat], tree.graph.edges, start=flat[0], fill="own")
        for i, tree in enumerate(trees)
    ]
    state = mixer.init(inputs[0])
    for t, x in enumerate(inputs):
        mixed, state = mixer.update(x, state, jc.core.Round(KEY, t))
        np.testing.assert_allclose(mixed["a"], parts[0][t][:, 0], atol=1e-10)
        np.testing.assert_allclose(mixed["b"][:, 0], parts[1][t][:, 0], atol=1e-10)
        np.testing.assert_allclose(mixed["b"][:, 1], parts[0][t][:, 1], atol=1e-10)
        np.testing.assert_allclose(mixed["b"][:, 2], parts[1][t][:, 1], atol=1e-10)
    half = 2 * 8 + 4  # two coordinates, and the number of values in their sum
    degrees = trees[0].degrees + trees[1].degrees
    np.testing.assert_allclose(jc.metrics.bytes_sent(mixer, inputs[0]), degrees * half)
    with pytest.raises(ValueError, match="at most 4, one for each coordinate, got 7"):
        jc.mixing.interleave(*[jc.all_reduce()] * 7).init(inputs[0])


def test_lazy_is_half_of_the_way(values):
    outputs, _ = drive(jc.mixing.lazy_mixing(jc.gossip(GRAPHS["ring"])), values)
    matrix = (oracles.metropolis(GRAPHS["ring"].graph.edges, 6) + np.eye(6)) / 2
    np.testing.assert_allclose(outputs, matrix @ np.stack(values), atol=1e-10)
    with pytest.raises(ValueError, match=r"weight must be in \(0, 1\], got 0"):
        jc.mixing.lazy_mixing(jc.all_reduce(), 0)
