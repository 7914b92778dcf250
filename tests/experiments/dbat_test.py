"""Experiments of D-BAT: what needs no long run."""

import json

import jax
import numpy as np
import pytest

import jcollab as jc
from experiments.dbat import _training, images, theorem, toy2d, uncertainty
from tests import REFERENCE

REFS = json.loads((REFERENCE / "dbat/losses.json").read_text())


def test_the_second_member_of_the_theorem_is_the_recorded_one():
    p, _ = theorem.solve(theorem.Config(), np.zeros((2, 2)))
    np.testing.assert_allclose(p, REFS["theorem31_q_cells_(c,s)=00,01,10,11"], atol=2e-6)


def test_shrinking_averages_squares():
    x = np.arange(2 * 5 * 4, dtype=np.float32).reshape(2, 5, 4, 1)
    data = jc.data.Dataset(x, np.arange(2))
    small = _training.smaller(_training.Problem(data, {"test": x}, {"test_accuracy": data}, 1), 2)
    expected = [[x[1, i : i + 2, j : j + 2].mean() for j in (0, 2)] for i in (0, 2)]
    for part in (small.train.x, small.pools["test"], small.tests["test_accuracy"].x):
        np.testing.assert_allclose(part[1, ..., 0], expected)


def test_dominoes_of_digits_have_a_shortcut_that_breaks():
    (problem,) = images.make(images.Config(problem="digits", network="mlp"))
    whole, broken = problem.tests["test_accuracy"], problem.tests["shortcut_broken"]
    np.testing.assert_array_equal(whole.x[:, 8:], broken.x[:, 8:])
    assert (whole.x[:, :8] != broken.x[:, :8]).any((1, 2, 3)).mean() > 0.9
    assert set(problem.pools) == {"test", "different"} and problem.train.x.shape[1:] == (16, 8, 1)


def test_shifted_images_are_parts_of_framed_ones():
    x = 1 + np.arange(2 * 7 * 7, dtype=np.float32).reshape(2, 7, 7, 1)
    moved = uncertainty.shifted(x, np.random.default_rng(0))
    assert moved.shape == x.shape
    for before, after in zip(x, moved, strict=True):
        seen = after[after > 0]
        assert set(seen) <= set(before.ravel()) and 16 <= len(seen) <= 49


def test_initial_values_lie_in_the_range_of_each_layer():
    model = jc.models.MLP(1, (50,))
    params = model.init(jax.random.key(0), np.zeros((1, 2)))
    drawn = toy2d.torch_like(params, jax.random.key(0))["params"]
    for layer, bound in (("Dense_0", 2**-0.5), ("Dense_1", 50**-0.5)):
        assert all(np.abs(leaf).max() <= bound for leaf in drawn[layer].values())
        assert np.abs(drawn[layer]["kernel"]).max() > 0.8 * bound


def test_claims_are_computed_from_rows():
    config = images.Config()

    def rows(first, second):
        values = {("D-BAT", "1"): first, ("D-BAT", "2"): second, ("deep ensemble", "2"): first}
        return [
            {"method": m, "member": k, "unlabeled": pool, "seed": 0, "shortcut_broken": v}
            for (m, k), v in values.items()
            for pool in config.pools
        ]

    assert all(claim.holds for claim in images.claims(config, rows(53.0, 94.0)))
    assert [c.holds for c in images.claims(config, rows(57.0, 86.0))] == [False, False, True, True]


def test_labels_of_conditions():
    assert images.label_of("D-BAT", 0.5, "test") == "D-BAT (test)"
    assert images.label_of("deep ensemble", 0.0, "test") == "deep ensemble"


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="alphas must be at least 0, one for each pool"):
        images.Config(alphas=(1.0,))
    with pytest.raises(ValueError, match="pools must be among test, different, got .'other'"):
        images.Config(pools=("other",), alphas=(1.0,))
    with pytest.raises(ValueError, match=r"rounds must be 2 values, got \(1,\)"):
        images.Config(rounds=(1,))
    with pytest.raises(ValueError, match="dropout must be above 0 and below 1, got 1"):
        uncertainty.Config(dropout=1)
    with pytest.raises(ValueError, match="points must be at least 1, got 0"):
        toy2d.Config(points=0)
