"""Agreement on unlabeled points: recorded values and gradients, and what must hold of it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcollab import objectives
from jcollab.objectives import agreement, binary_agreement, pair_agreement
from tests import REFERENCE

FOLDER = REFERENCE / "dbat"
REFS = json.loads((FOLDER / "losses.json").read_text())
FORMS = {"multiclass_v1": "frozen", "multiclass_v2": "trained", "binary": "frozen"}
GRADIENTS = {"multiclass_v1": "grad_v1", "multiclass_v2": "grad_v2", "binary": "grad_bin"}
FREE = [{"anchor": a, "epsilon": e} for a in ("frozen", "trained") for e in (1e-7, None)]


def logits(name):
    arrays = np.load(FOLDER / "losses.npz")
    return arrays["Zbin"][..., None] if name == "binary" else arrays["Z"]


@pytest.mark.parametrize("name", FORMS)
def test_values_and_gradients_are_the_recorded_ones(name, x64):
    z = jnp.asarray(logits(name))
    assert z.dtype == jnp.float64
    options = {"anchor": FORMS[name], "epsilon": REFS["eps"]}
    each = pair_agreement(z[-1], z[:-1], **options).mean(1)
    np.testing.assert_allclose(each, REFS[f"{name}_per_member"], rtol=1e-12)
    value, grad = jax.value_and_grad(lambda own: agreement(own, z[:-1], **options))(z[-1])
    np.testing.assert_allclose(value, REFS[name], rtol=1e-12)
    expected = np.load(FOLDER / "losses.npz")[GRADIENTS[name]]
    np.testing.assert_allclose(grad.reshape(expected.shape), expected, atol=1e-12)


def test_recorded_numbers(x64):
    for text, value in REFS["scalar_checks"].items():
        p, q = (float(part.split("=")[1]) for part in text.split(","))
        np.testing.assert_allclose(binary_agreement(p, q), value["f64"], rtol=1e-9)
        # with one-hot predictions of opposite labels, one bit of 1 + epsilon is what is left
        np.testing.assert_allclose(
            binary_agreement(np.float32(p), np.float32(q)), value["f32"], rtol=2e-6
        )


def test_the_stable_form_does_not_saturate():
    a = jnp.array([40.0, 40.0, -40.0, 100.0])[:, None]
    b = jnp.array([40.0, -40.0, -40.0, 100.0])[:, None]
    stable = pair_agreement(a, b, epsilon=None)
    np.testing.assert_allclose(stable, REFS["binary_stable_extreme"], rtol=1e-6, atol=1e-15)
    released = pair_agreement(a, b)
    np.testing.assert_allclose(released[jnp.array([0, 2, 3])], -np.log(1e-7), rtol=1e-6)
    slopes = [
        jax.grad(lambda z, e=e: pair_agreement(z, b, epsilon=e).sum())(a)[3, 0]
        for e in (None, 1e-7)
    ]
    np.testing.assert_allclose(slopes, [0.5, 0], atol=1e-6)


def test_the_stable_form_is_the_released_one_without_epsilon(x64):
    z = jnp.asarray(logits("binary"))
    value = pair_agreement(z[-1], z[0], epsilon=None).mean()
    np.testing.assert_allclose(value, REFS["binary_stable_noeps_member0"], rtol=1e-12)
    for name in FORMS:
        z = jnp.asarray(logits(name))

        def value_of(own, epsilon, z=z, anchor=FORMS[name]):
            return agreement(own, z[:-1], anchor=anchor, epsilon=epsilon)

        for fn in (value_of, jax.grad(value_of)):
            np.testing.assert_allclose(fn(z[-1], None), fn(z[-1], 0.0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("options", FREE)
def test_two_classes_are_the_binary_form(options, x64):
    z = jnp.asarray(np.random.default_rng(0).normal(size=(2, 9, 2)))
    binary = z[..., 1:] - z[..., :1]
    own = pair_agreement(z[0], z[1], **options)
    np.testing.assert_allclose(own, pair_agreement(binary[0], binary[1], **options), rtol=1e-12)
    np.testing.assert_allclose(own, pair_agreement(z[1], z[0], **options), rtol=1e-12)
    np.testing.assert_allclose(own, pair_agreement(z[0, :, ::-1], z[1, :, ::-1], **options))


def test_the_range_and_where_it_is_reached():
    p, q = np.meshgrid(np.linspace(0, 1, 11), np.linspace(0, 1, 11))
    values = np.asarray(binary_agreement(p, q))
    assert values.min() >= -2e-7 and values.max() <= -np.log(1e-7) + 1e-5
    np.testing.assert_allclose(values[5], np.log(2), rtol=1e-6)
    np.testing.assert_allclose(values[:, 5], np.log(2), rtol=1e-6)
    assert {tuple(at) for at in np.argwhere(values > 16)} == {(0, 0), (10, 10)}


@pytest.mark.parametrize("epsilon", [1e-7, None])
def test_only_confident_members_are_disagreed_with(epsilon):
    """The sign of the gradient flips where the frozen member's top class has probability 1/2."""

    def slope(top):
        rest = (1 - top) / 2
        frozen = jnp.log(jnp.array([[top, rest, rest]]))
        own = jnp.zeros((1, 3))
        return jax.grad(lambda z: pair_agreement(z, frozen, epsilon=epsilon)[0])(own)[0, 0]

    assert slope(0.6) > 1e-3 and slope(0.4) < -1e-3
    np.testing.assert_allclose(slope(0.5), 0, atol=1e-6)


def test_weights_average_over_predecessors_and_none_is_zero():
    z = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6, 3)))
    mask = jnp.array([1.0, 1.0, 0.0])
    half = agreement(z[3], z[:3], weights=mask)
    np.testing.assert_allclose(half, agreement(z[3], z[:2]), rtol=1e-6)
    assert agreement(z[3], z[:3], weights=jnp.zeros(3)) == 0
    grads = jax.grad(lambda frozen: agreement(z[3], frozen))(z[:3])
    assert not np.any(grads)


def test_sign_ascent_against_a_plain_loop(x64):
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(2, 2)), rng.normal(size=(5, 2))
    start = rng.uniform(-1, 1, size=(5, 2))

    def probabilities(x):
        return 1 / (1 + np.exp(-x @ w.T))  # [b, 2 members]

    def disagreement(x):
        z = x @ w.T
        return -pair_agreement(z[:, :1], z[:, 1:], epsilon=None).mean()

    delta, (values, path) = objectives.sign_ascent(disagreement, jnp.asarray(x), jnp.asarray(start))
    own = start.copy()
    for k in range(15):
        p, q = probabilities(x + own).T
        mass = p * (1 - q) + (1 - p) * q
        np.testing.assert_allclose(values[k], np.log(mass).mean(), rtol=1e-9)
        slopes = ((1 - 2 * q) * p * (1 - p), (1 - 2 * p) * q * (1 - q))
        gradient = (np.outer(slopes[0], w[0]) + np.outer(slopes[1], w[1])) / mass[:, None]
        own = np.clip(own + 0.1 * np.sign(gradient), -1, 1)
        np.testing.assert_allclose(path[k], own, atol=1e-12)
    np.testing.assert_array_equal(delta, path[-1])
    points = objectives.disagreement_points()(disagreement, jnp.asarray(x), jax.random.key(0))
    assert (
        disagreement(points) > disagreement(jnp.asarray(x))
        and np.abs(points - x).max() <= 1 + 1e-12
    )


def test_bad_input_is_named():
    z = jnp.zeros((2, 3))
    with pytest.raises(ValueError, match="anchor must be one of frozen, trained, got 'v1'"):
        pair_agreement(z, z, anchor="v1")
    with pytest.raises(ValueError, match="epsilon must be at least 0, got -1"):
        pair_agreement(z, z, epsilon=-1)
    with pytest.raises(ValueError, match="one last axis"):
        pair_agreement(z, jnp.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"frozen must be \[M, b, C\].*got \[2, 3\]"):
        agreement(z, z)
    with pytest.raises(ValueError, match=r"weights must be \[M=4\].*got \[2\]"):
        agreement(z, jnp.zeros((4, 2, 3)), weights=jnp.ones(2))
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        objectives.disagreement_points(num_steps=0)
    with pytest.raises(ValueError, match="radius must be positive, got 0"):
        objectives.disagreement_points(radius=0)
