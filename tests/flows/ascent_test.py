import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcollab.flows import ascent
from tests.flows.recorded import KEY, TAG, cross_entropy, first, recorded, recorded_problem
from tests.reference import flows as oracle
from tests.reference.flows import conv


def predict_numpy(w, x):
    y = conv(x, w["0.weight"]) + w["0.bias"][None, :, None, None]
    flat = np.maximum(y, 0).reshape(len(x), -1)
    return flat @ w["3.weight"].T + w["3.bias"]


def test_a_step_ascends_along_the_gradient_by_differences(x64):
    """One L2 step and one L-infinity step against finite differences in NumPy."""
    flow, flow_params, predict, own, x, noise = recorded_problem(jnp.float64)
    x, noise = x[:1], noise[:1]
    labels = jnp.argmax(predict(own, x), -1)
    z, _ = flow.encode(flow_params, x, noise)
    w = {name: np.asarray(v, float) for name, v in recorded(f"{TAG}_clf").items()}
    decode = jax.jit(lambda z: flow.decode(flow_params, z))

    def loss_numpy(delta):
        logits = predict_numpy(w, first(decode(z + delta)))[0]
        return np.log(np.exp(logits).sum()) - logits[labels[0]]

    basis = np.eye(16).reshape(16, *x.shape)
    slope = [(loss_numpy(1e-5 * e) - loss_numpy(-1e-5 * e)) / 2e-5 for e in basis]
    slope = np.array(slope).reshape(x.shape)

    def loss(delta):
        return cross_entropy(predict(own, flow.decode(flow_params, z + delta)), labels).sum()

    for norm, direction in (("l2", slope / np.linalg.norm(slope)), ("linf", np.sign(slope))):
        delta = ascent.ascend(
            loss, jnp.zeros_like(z), radius=1.0, step_size=0.1, num_steps=1, norm=norm
        )
        np.testing.assert_allclose(delta, 0.1 * direction, atol=1e-7)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_projections_are_exact(norm):
    rng = np.random.default_rng(0)
    for scale in (1e-20, 1e-3, 1.0, 30.0):
        delta = (scale * rng.normal(size=(5, 3, 4))).astype(np.float32)
        delta[0] = 0
        ours = np.asarray(ascent.project(jnp.asarray(delta), 0.7, norm))
        np.testing.assert_allclose(ours, oracle.project(delta, 0.7, norm), rtol=1e-6)
        flat = ours.reshape(5, -1)
        size = np.linalg.norm(flat, axis=1) if norm == "l2" else np.abs(flat).max(1)
        assert (size <= 0.7 * (1 + 1e-6)).all()
    np.testing.assert_array_equal(ascent.project(jnp.ones((2, 3)), 0.0, norm), np.zeros((2, 3)))


def test_directions_are_of_each_sample_and_zero_stays_zero():
    gradient = jnp.array([[3.0, -4.0], [0.0, 0.0], [3e-30, 4e-30], [1e30, 0.0]])
    expected = [[0.6, -0.8], [0, 0], [0.6, 0.8], [1, 0]]
    np.testing.assert_allclose(ascent.steepest(gradient, "l2"), expected, rtol=1e-6)
    signs = [[1, -1], [0, 0], [1, 1], [1, 0]]
    np.testing.assert_array_equal(ascent.steepest(gradient, "linf"), signs)


def test_random_starts_lie_inside_the_ball():
    for norm, size in (
        ("l2", lambda s: np.linalg.norm(s, axis=1)),
        ("linf", lambda s: abs(s).max(1)),
    ):
        start = np.asarray(ascent.random_start(KEY, (64, 5), 0.5, norm))
        assert (size(start) <= 0.5 * (1 + 1e-6)).all() and size(start).max() > 0.45
