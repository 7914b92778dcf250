"""Losses and messages of representation sharing, against numbers recorded with PyTorch."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcollab import objectives
from jcollab.objectives import prototypes
from tests import REFERENCE

FOLDER = REFERENCE / "rep_sharing"
KEY = jax.random.key(0)


@pytest.fixture
def recorded(x64):
    arrays = {k: jnp.asarray(v) for k, v in np.load(FOLDER / "losses.npz").items()}
    return SimpleNamespace(**arrays, **json.loads((FOLDER / "losses.json").read_text()))


def head(W, b):
    return lambda s: s @ W.T + b


def received(r, means=None):
    means = r.tbar if means is None else means
    there = jnp.ones(4, bool)
    return prototypes.Received(means, there, r.tm[None], there[None])


@pytest.mark.parametrize("constants", ["code", "paper"])
def test_loss_and_gradients_equal_the_recorded(recorded, constants):
    r = recorded

    def total(s, W, b):
        objective = objectives.representation_sharing(10.0, 1.0, constants=constants)
        values, _ = objective(s, head(W, b)(s), r.y, received(r), head(W, b), KEY)
        return values.mean()

    value, grads = jax.value_and_grad(total, (0, 1, 2))(r.s, r.W, r.b)
    np.testing.assert_allclose(value, getattr(r, f"total_{constants}"), rtol=1e-12)
    for name, grad in zip("sWb", grads, strict=True):
        np.testing.assert_allclose(grad, getattr(r, f"grad_{constants}_{name}"), atol=1e-12)


def test_parts_equal_the_recorded(recorded):
    r = recorded
    logits, other = r.s @ r.W.T + r.b, r.tm @ r.W.T + r.b
    log_h, log_rest = objectives.match_logs(logits, other)
    np.testing.assert_allclose(jnp.exp(log_h), r.h, atol=1e-14)
    np.testing.assert_allclose(jnp.exp(log_rest), 1 - r.h, atol=1e-14)
    for form, expected in {
        "code": r.kd_code,
        "squared": r.kd_paper_sq,
        "paper": r.kd_paper_norm,
    }.items():
        value = objectives.distillation(r.s, r.tbar, r.y, form=form).mean()
        np.testing.assert_allclose(value, expected, rtol=1e-12)
    code = objectives.discrimination(logits, other, r.y).mean()
    paper = objectives.discrimination(logits, other, r.y, form="paper").mean()
    np.testing.assert_allclose([code, paper], [r.disc_code, r.disc_paper], rtol=1e-12)
    np.testing.assert_allclose(paper, 4 * code, rtol=1e-12)
    objective = objectives.federated_distillation(10.0)
    values, _ = objective(r.s, logits, r.y, received(r, r.zbar), None, KEY)
    np.testing.assert_allclose(values.mean(), r.fd_code_total, rtol=1e-12)


def test_properties_of_the_match(x64):
    rng = np.random.default_rng(0)
    a, b = jnp.asarray(rng.normal(size=(2, 5, 10)))
    log_h, log_rest = objectives.match_logs(a, b)
    np.testing.assert_allclose(log_h, objectives.match_logs(b, a)[0].T, atol=1e-14)
    assert (log_h <= 0).all() and (log_rest <= 0).all()
    np.testing.assert_allclose(jnp.exp(log_h) + jnp.exp(log_rest), 1, atol=1e-14)
    # both certain of one class: h is 1 and log(1 - h) finite, with finite gradients
    sure = 1e3 * jnp.eye(10)
    log_h, log_rest = objectives.match_logs(sure, sure)
    np.testing.assert_allclose(jnp.diag(log_h), 0, atol=1e-12)
    assert np.isfinite(log_rest).all()
    labels = (jnp.arange(10) + 1) % 10  # wrong and certain
    cost, grads = jax.value_and_grad(
        lambda z: objectives.discrimination(z, sure, labels, form="code").sum()
    )(sure)
    np.testing.assert_allclose(cost, 10 * (100 + 100) / 10)  # two logarithms cut off at -100
    assert np.isfinite(grads).all()
    # a classifier that is undecided
    flat = objectives.discrimination(jnp.zeros((1, 10)), jnp.zeros((10, 10)), jnp.zeros(1, int))
    np.testing.assert_allclose(flat, 0.3250830, atol=5e-8)


def test_missing_classes_cost_nothing(x64):
    rng = np.random.default_rng(0)
    values, targets, logits, other = (
        jnp.asarray(rng.normal(size=s)) for s in [(6, 3), (4, 3), (6, 4), (4, 4)]
    )
    labels, known = jnp.array([0, 1, 2, 3, 1, 1]), jnp.array([True, False, True, True])
    targets = targets.at[1].set(jnp.nan)
    for form in ("code", "squared", "paper", "cross_entropy"):

        def cost(v, form=form):
            return objectives.distillation(v, targets, labels, known, form).sum()

        value, grad = jax.value_and_grad(cost)(values)
        assert np.isfinite(value) and np.isfinite(grad).all()
        assert (grad[labels == 1] == 0).all() and (grad[labels != 1] != 0).any()
    each = objectives.discrimination(logits, other, labels, known, "paper")
    left = objectives.discrimination(logits, other, labels, form="paper")
    _, log_rest = objectives.match_logs(logits, other)
    log_h, _ = objectives.match_logs(logits, other)
    without = jnp.where(labels == 1, log_h[:, 1], log_rest[:, 1])
    np.testing.assert_allclose(each, left + without, atol=1e-14)
    # at the prototype itself the norm has gradient 0
    still = jax.grad(lambda v: objectives.distillation(v, v, jnp.arange(4), form="paper").sum())
    assert (still(jnp.ones((4, 3))) == 0).all()


def test_own_classifier_learns_from_what_it_downloads_and_the_download_is_constant(recorded):
    r = recorded
    objective = objectives.representation_sharing(0.0, 1.0)

    def cost(W, got):
        stopped = jax.lax.stop_gradient(r.s @ r.W.T + r.b)
        return objective(r.s, stopped, r.y, got, head(W, r.b), KEY)[0].sum()

    by_head, by_download = jax.grad(cost, (0, 1), allow_int=True)(r.W, received(r))
    assert (by_head != 0).any()
    assert (by_download.observations == 0).all() and (by_download.means == 0).all()


def test_several_observations_are_drawn_for_each_example(recorded):
    r = recorded
    many = received(r)._replace(
        observations=jnp.stack([r.tm, -r.tm]), observed=jnp.ones((2, 4), bool)
    )
    objective = objectives.representation_sharing(0.0, 1.0)
    logits = r.s @ r.W.T + r.b
    args = (r.s, logits, r.y)
    mixed = objective(*args, many, head(r.W, r.b), KEY)[0]
    each = [
        objective(*args, received(r)._replace(observations=t[None]), head(r.W, r.b), KEY)[0]
        for t in (r.tm, -r.tm)
    ]
    first, second = (np.isclose(mixed, e, atol=1e-13) for e in each)
    assert (first | second).all() and first.any() and second.any()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="distillation_weight must be finite and at least 0"):
        objectives.representation_sharing(-1.0)
    with pytest.raises(ValueError, match="constants must be one of code, paper, got 'torch'"):
        objectives.representation_sharing(constants="torch")
    with pytest.raises(ValueError, match="form must be one of .*got 'l1'"):
        objectives.federated_distillation(form="l1")
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        prototypes.few_sample_means(KEY, jnp.ones((2, 1)), jnp.zeros(2, int), 2, 0)
    with pytest.raises(ValueError, match="by must be one of clients, samples, got 'n'"):
        prototypes.weigh(jnp.ones((2, 1)), jnp.ones(2), "n")
    with pytest.raises(ValueError, match="no observations are received"):
        none = prototypes.Received(*(jnp.zeros(s) for s in [(2, 3), (2,), (0, 2, 3), (0, 2)]))
        objectives.representation_sharing()(
            jnp.ones((1, 3)), jnp.ones((1, 2)), jnp.zeros(1, int), none, None, KEY
        )
