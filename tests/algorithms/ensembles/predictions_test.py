"""Ensembles: predictions, uncertainty, scores of foreign points; and data with a shortcut."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from jcollab import data
from jcollab.algorithms import ensembles

Z = np.random.default_rng(0).normal(size=(3, 50, 4)).astype(np.float32)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_ensembles_against_numpy():
    p = softmax(Z)
    mean = p.mean(0)
    spread = -(mean * np.log(mean)).sum(-1)
    np.testing.assert_allclose(ensembles.ensemble_probabilities(Z), mean, rtol=1e-5)
    np.testing.assert_allclose(ensembles.entropy(mean), spread, rtol=1e-5)
    np.testing.assert_allclose(
        ensembles.ood_score(Z, "disagreement"),
        spread + (p * np.log(p)).sum(-1).mean(0),
        atol=1e-5,
    )
    np.testing.assert_allclose(ensembles.ood_score(Z, "max_probability"), 1 - mean.max(-1), 1e-4)
    y = np.arange(50) % 4
    members, together = ensembles.accuracies(Z, y)
    np.testing.assert_allclose(members, (p.argmax(-1) == y).mean(-1))
    np.testing.assert_allclose(together, (mean.argmax(-1) == y).mean())
    rate = ensembles.agreement_rate(Z)
    np.testing.assert_allclose(rate[0, 2], (Z[0].argmax(-1) == Z[2].argmax(-1)).mean())
    np.testing.assert_array_equal(np.diag(rate), 1)


def test_identical_members_are_a_member_and_opposite_ones_know_nothing():
    same = np.stack([Z[0]] * 3)
    np.testing.assert_allclose(ensembles.ensemble_probabilities(same), softmax(Z[0]), rtol=1e-5)
    np.testing.assert_allclose(ensembles.mutual_information(same), 0, atol=1e-6)
    opposite = np.array([[[30.0]], [[-30.0]]])
    np.testing.assert_allclose(ensembles.ood_score(opposite), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(ensembles.mutual_information(opposite), np.log(2), rtol=1e-6)
    assert ensembles.entropy(np.array([1.0, 0.0])) == 0


def test_one_logit_is_two_classes():
    one = Z[..., :1]
    two = np.concatenate([np.zeros_like(one), one], -1)
    chex.assert_trees_all_close(ensembles.probabilities(one), softmax(two), rtol=1e-5)


def test_auroc():
    assert ensembles.ood_auroc([0.1, 0.2], [0.3, 0.4]) == 1
    assert ensembles.ood_auroc([0.3, 0.4], [0.1, 0.2]) == 0
    assert ensembles.ood_auroc([0.1, 0.3], [0.2]) == 0.5


def test_predictions_of_a_state_in_batches_and_of_dropout():
    params = {"w": jnp.asarray(Z[0, :3])}  # three members

    def predict(params, x):
        return x * params["w"]

    x = Z[1, :7]
    logits = ensembles.member_logits(predict, batch_size=3)(params, x)
    np.testing.assert_allclose(logits, x[None] * Z[0, :3, None], rtol=1e-6)
    shifted = jc.stateful(lambda params, shift, x: predict(params, x) + shift)
    state = jc.State(jc.core.Clients(params, jnp.arange(3.0), (), ()), (), jnp.int32(0))
    moved = ensembles.member_logits(shifted, batch_size=3)(state, x)
    np.testing.assert_allclose(moved, logits + jnp.arange(3.0)[:, None, None], rtol=1e-6)

    def sample(params, x, key):
        return x * jax.random.bernoulli(key, 0.5, x.shape)

    draws = ensembles.dropout_logits(sample, (), x, jax.random.key(0), 5)
    assert draws.shape == (5, *x.shape) and len({float(d.sum()) for d in draws}) > 1


def images(seed, classes, n=40):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n).astype(np.int32)
    # the first pixel is the class, the second the number of the image
    x = np.zeros((n, 2, 3, 1), np.float32)
    x[:, 0, 0, 0], x[:, 0, 1, 0] = y, np.arange(n)
    return data.Dataset(x, y)


def test_bad_input_is_named():
    rng = np.random.default_rng(0)
    top = images(0, 3)
    with pytest.raises(ValueError, match="score must be one of entropy.*got 'x'"):
        ensembles.ood_score(Z, "x")
    with pytest.raises(ValueError, match=r"logits must be \[M, ..., C\], got shape \[4\]"):
        ensembles.ensemble_probabilities(np.zeros(4))
    with pytest.raises(ValueError, match=r"y must have shape \[50\], got \[3\]"):
        ensembles.accuracies(Z, np.zeros(3, int))
    with pytest.raises(ValueError, match="outside must have at least one score, got none"):
        ensembles.ood_auroc([1.0], [])
    with pytest.raises(ValueError, match="num must be at least 1, got 0"):
        ensembles.dropout_logits(lambda *a: 0, (), Z, jax.random.key(0), 0)
    with pytest.raises(ValueError, match=r"bottom must contain images of classes \[7\]"):
        data.synthetic.dominoes(top, top, [(0, 7)], rng)
    with pytest.raises(ValueError, match="half must be 'top' or 'bottom', got 'left'"):
        data.synthetic.permute_half(top.x, rng, "left")
    with pytest.raises(ValueError, match="height must be in 1..1, got 2"):
        data.synthetic.permute_half(top.x, rng, height=2)
    with pytest.raises(ValueError, match=r"x must be in \[0, 1\]"):
        data.synthetic.colored(2 + top.x, top.y)
    with pytest.raises(ValueError, match="color must be in 0..9, got 10..10"):
        data.synthetic.colored(np.zeros((1, 2, 2, 1)), np.array([10]))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        data.synthetic.slabs(0, rng)
    with pytest.raises(ValueError, match="top and bottom must have equal numbers"):
        data.synthetic.stack(top.x, top.x[:3])


def test_the_library_has_them():
    assert jc.algorithms.ensembles is ensembles and jc.data.synthetic.slabs is data.synthetic.slabs


def test_logits_of_members_do_not_depend_on_the_batches():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(7, 4)), jnp.float32)
    members = jnp.asarray(np.random.default_rng(2).normal(size=(3, 4, 5)), jnp.float32)
    expected = np.einsum("nd,mdc->mnc", x, members)
    for batch_size in (1, 3, 7, 100):
        logits = ensembles.member_logits(lambda w, x: x @ w, batch_size=batch_size)
        np.testing.assert_allclose(logits(members, x), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        ensembles.member_logits(lambda w, x: x @ w, batch_size=0)
    with pytest.raises(ValueError, match=r"logits must be \[\.\.\., C\], C >= 1, got \[2, 0\]"):
        ensembles.probabilities(np.zeros((2, 0)))
