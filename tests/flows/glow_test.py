import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab import flows
from tests import ROOT
from tests.flows.small import FLOWS, KEY, make, small


@pytest.mark.parametrize("name", [*FLOWS, "coupling"])
def test_log_determinants_are_those_of_jacobians(name, x64):
    flow, params, x, condition = make(name, dtype=jnp.float64)
    noise = None if flow.noise is None else flow.noise(KEY, x)
    bijector = flow.bijector(params, condition)
    part = jax.tree.map(lambda leaf: leaf[:1], (noise, condition))

    @jax.jit
    def all_of_them(x):
        z, log_det = flow.encode(params, x, noise, condition)
        x_again, back = bijector.inverse_and_log_det(z)
        matrix = jax.jacrev(lambda v: flow.encode(params, v, *part)[0])(x[:1])
        return z, log_det, back, bijector.forward_log_det_jacobian(x_again), matrix

    z, log_det, back, forward, matrix = all_of_them(x)
    assert z.shape == x.shape
    size = x[0].size
    brute = np.linalg.slogdet(np.asarray(matrix).reshape(size, size))[1]
    if flow.noise is not None and name != "corrected":  # as released: of q, not of x
        brute -= size * np.log(255 / 256)
    np.testing.assert_allclose(log_det[0], brute, rtol=1e-10)
    np.testing.assert_allclose(back, -forward, rtol=1e-10)


@pytest.mark.parametrize("name", [*FLOWS, "coupling"])
def test_there_and_back_is_the_identity(name):
    flow, params, x, condition = make(name)
    bijector = flow.bijector(params, condition)
    y = jax.random.normal(KEY, x.shape)

    @jax.jit
    def both(y):
        return bijector.inverse(bijector.forward(y)), bijector.forward(bijector.inverse(y))

    for back in both(y):
        np.testing.assert_allclose(back, y, atol=1e-5)
    noise = None if flow.noise is None else flow.noise(KEY, x)
    z, _ = flow.encode(params, x, noise, condition)
    decoded = flow.decode(params, z, noise, condition)
    if name in ("corrected", "coupling"):
        np.testing.assert_allclose(decoded, x, atol=1e-5)
    else:  # the released decoder leaves the contrast at .9
        np.testing.assert_allclose(decoded, 0.9 * (255 * x + noise) / 256 + 0.05, atol=1e-5)


def test_both_decodings_have_the_same_bits_per_dimension():
    flow, params, x, _ = make("corrected")
    noise = flow.noise(KEY, x)
    released = small(**FLOWS["corrected"] | {"decoding": "released"})
    both = [flows.bits_per_dimension(f, params, x, noise) for f in (flow, released)]
    np.testing.assert_allclose(*both, rtol=1e-6)


def test_a_condition_changes_every_coupling():
    flow, params, x, condition = make("conditional")
    z, _ = flow.encode(params, x, None, condition)
    other, _ = flow.encode(params, x, None, jnp.roll(condition, 1, 0))
    assert jnp.abs(z - other).max() > 1e-3


def test_couplings_start_as_the_identity_and_latents_as_white():
    flow = small(levels=1)
    x = jnp.asarray(np.random.default_rng(1).uniform(size=(64, 8, 8, 1)), jnp.float32)
    z, _ = flow.encode(flow.init(KEY, x), x)
    np.testing.assert_allclose([z.mean(), z.std()], [0, 1], atol=0.05)


def test_parameter_counts_of_the_paper():
    def count(flow, *shape, condition=None):
        sizes = jax.eval_shape(
            lambda x: flow.init(KEY, x, condition), jax.ShapeDtypeStruct(shape, jnp.float32)
        )
        return sum(leaf.size for leaf in jax.tree.leaves(sizes))

    # theirs count one flag for each ActNorm besides
    buffers = 3 * 3 * 32
    assert count(flows.glow(), 2, 32, 32, 3) in (44_050_752, 44_050_752 - buffers)
    mnist = flows.glow(levels=1, steps=12)
    assert count(mnist, 2, 28, 28, 1) in (3_502_488, 3_502_488 - 3 * 12)
    coupling = flows.coupling_flow()
    assert count(coupling, 2, 28, 28, 1, condition=jnp.zeros((2, 10))) == 14_604_672


def test_samples_at_temperature_zero_are_one_image():
    flow, params, x, _ = make("full")
    cold = flows.sample(flow, params, KEY, x.shape, temperature=0.0)
    np.testing.assert_array_equal(cold[0], cold[1])
    warm = flows.sample(flow, params, KEY, x.shape, temperature=0.7)
    decoded = flow.decode(params, 0.7 * jax.random.normal(KEY, x.shape))
    np.testing.assert_allclose(warm, decoded, rtol=1e-5)
    assert jnp.abs(warm[0] - warm[1]).max() > 0.01
    with pytest.raises(ValueError, match="temperature must be at least 0, got -1"):
        flows.sample(flow, params, KEY, x.shape, temperature=-1)


def test_any_algorithm_trains_a_flow():
    """Two clients with different images average one flow."""
    flow = small(levels=1, gray_levels=17)
    data = jc.data.load("digits")
    parts = jc.data.by_client(data, jc.data.by_label(data.y, 2))
    params = jc.replicate(flow.init(KEY, data.x[:64]), 2)
    algorithm = jc.decentralized(flows.likelihood(flow), optax.adam(1e-2), jc.all_reduce())
    _, log = jc.run(
        algorithm, algorithm.init(params), jc.data.minibatches(parts, 16), KEY, num_rounds=25
    )
    bits = log["bits_per_dimension"]
    assert bits[-5:].mean() < bits[:5].mean() - 0.2
    np.testing.assert_allclose(log["loss"], bits * 64 * np.log(2), rtol=1e-5)


def test_depth_is_a_loop():
    """The compiled program is as large for 32 steps as for 4."""

    def size(steps):
        flow = flows.glow(levels=1, steps=steps, width=4)
        x = jnp.full((2, 4, 4, 1), 0.5)
        params = jax.eval_shape(lambda: flow.init(KEY, x))
        lowered = jax.jit(jax.grad(lambda p: flow.encode(p, x)[1].sum())).lower(params)
        return len(lowered.as_text())

    assert size(32) < 1.05 * size(4)


def test_distrax_is_imported_where_flows_are_used_only():
    script = (
        "import sys, jcollab; from jcollab import models, objectives, data; "
        "assert 'distrax' not in sys.modules; jcollab.flows; assert 'distrax' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="levels must be at least 1, got 0"):
        flows.glow(levels=0)
    with pytest.raises(ValueError, match="convolution must be one of .*got 'plu'"):
        flows.glow(convolution="plu")
    with pytest.raises(ValueError, match="decoding must be one of .*got 'right'"):
        flows.glow(decoding="right")
    with pytest.raises(ValueError, match="levels must be at least 2, got 1"):
        flows.glow(gray_levels=1)
    with pytest.raises(ValueError, match="blocks must be at least 1, got 0"):
        flows.coupling_flow(blocks=0)
    with pytest.raises(ValueError, match="clamp must be positive, got 0"):
        flows.coupling_flow(clamp=0)
    flow = small(levels=2)
    with pytest.raises(ValueError, match="divisible by 4 for levels=2, got 6 x 8"):
        flow.init(KEY, jnp.zeros((1, 6, 8, 1)))
    with pytest.raises(ValueError, match=r"x must be \[b, height, width, channels\]"):
        flow.init(KEY, jnp.zeros((8, 8, 1)))
    with pytest.raises(ValueError, match="condition must be None for num_classes=None"):
        flow.init(KEY, jnp.zeros((1, 8, 8, 1)), jnp.zeros((1, 3)))
    one, params, x, condition = make("conditional")
    with pytest.raises(ValueError, match=r"condition must be \[b, C=3\], got shape \[3, 2\]"):
        one.encode(params, x, None, condition[:, :2])
    with pytest.raises(ValueError, match=r"x must be in \[0, 1\], got values from 0 to 255"):
        one.encode(params, (255 * x).at[0, 0, :2, 0].set(jnp.array([0.0, 255.0])), None, condition)
    with pytest.raises(ValueError, match="height and width must be even, got 3 x 4"):
        flows.squeeze(jnp.zeros((1, 3, 4, 1)))
    with pytest.raises(TypeError, match="jitter must be a function or None, got int"):
        flows.likelihood(flow, jitter=3)
