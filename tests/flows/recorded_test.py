"""Flows: recorded numbers of the released code, and loops in NumPy."""

import functools
import json

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from jcollab import flows
from jcollab.flows.torch_weights import to_dtype
from tests.flows.recorded import HERE, TAG, first, last, recorded
from tests.reference import flows as oracle

RECORDED = json.loads((HERE / "reference.json").read_text())
PRECISION = {jnp.float32: 1e-5, jnp.float64: 1e-10}


@functools.cache
def small(**options):
    return flows.glow(**({"levels": 2, "steps": 2, "width": 8} | options))


@functools.cache
def random_weights(seed=0, levels=2, steps=3, in_channels=2):
    rng = np.random.default_rng(seed)
    weights = oracle.random_glow(rng, in_channels, 6, levels, steps)
    x = rng.uniform(size=(3, in_channels, 8, 8))
    return weights, x, rng.uniform(size=x.shape)


def test_encodings_are_the_recorded_ones():
    io = recorded(f"{TAG}_io")
    params = to_dtype(flows.glow_from_torch(recorded(f"{TAG}_weights")), jnp.float32)
    flow = small(levels=1)
    x, noise = last(io["x"]), last(io["dequant_u"])
    z, log_det = flow.encode(params, x, noise)
    np.testing.assert_allclose(first(z), io["z"], rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(log_det, io["sldj"], rtol=1e-5)
    np.testing.assert_allclose(first(flow.decode(params, z)), io["recon"], rtol=1e-5)
    nll = flows.negative_log_likelihood(flow, params, x, noise)
    np.testing.assert_allclose(nll.mean(), RECORDED[TAG]["nll"], rtol=1e-5)
    bits = flows.bits_per_dimension(flow, params, x, noise)
    np.testing.assert_allclose(bits.mean(), RECORDED[TAG]["bits_per_dim"], rtol=1e-5)
    back = flow.bijector(params).inverse_log_det_jacobian(z)
    np.testing.assert_allclose(back, RECORDED[TAG]["reverse_sldj"], rtol=1e-5)


def test_the_log_determinant_is_the_recorded_one_in_float64(x64):
    io = recorded(f"{TAG}_io")
    params = to_dtype(flows.glow_from_torch(recorded(f"{TAG}_weights")), jnp.float64)
    log_det = (
        small(levels=1)
        .bijector(params)
        .forward_log_det_jacobian(last(io["logits"][:1], jnp.float64))
    )
    expected = RECORDED[TAG]["flow_logdet_analytic_s0"]
    np.testing.assert_allclose(log_det[0], expected, rtol=1e-8)  # weights recorded in float32


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_several_levels_follow_a_loop(dtype, request):
    if dtype == jnp.float64:
        request.getfixturevalue("x64")
    weights, x, noise = random_weights()
    z, log_det = oracle.encode(x, noise, weights, 2, 3)
    flow = small(steps=3, width=6)
    params = to_dtype(flows.glow_from_torch(weights), dtype)
    ours, total = flow.encode(params, last(x, dtype), last(noise, dtype))
    assert ours.dtype == dtype
    tolerance = PRECISION[dtype]
    np.testing.assert_allclose(first(ours), z, rtol=tolerance, atol=tolerance * np.abs(z).max())
    np.testing.assert_allclose(total, log_det, rtol=tolerance)
    decoded = flow.decode(params, ours)
    q = (255 * x + noise) / 256
    np.testing.assert_allclose(first(decoded), 0.9 * q + 0.05, rtol=1e-5)


def test_names_may_have_dots_or_slashes():
    weights, *_ = random_weights()
    slashed = {name.replace(".", "/"): value for name, value in weights.items()}
    chex.assert_trees_all_equal(*map(flows.glow_from_torch, (weights, slashed)))
    with pytest.raises(ValueError, match=r"names such as flows.steps.0.norm.bias.*'a'"):
        flows.glow_from_torch({"a": 0})
    with pytest.raises(ValueError, match="equally many steps at every level"):
        flows.glow_from_torch({k: v for k, v in weights.items() if "next.steps.2" not in k})
    with pytest.raises(ValueError, match="state must have scale"):
        flows.coupling_from_torch({k: v for k, v in recorded("coupling").items() if k != "scale"})


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_couplings_are_the_recorded_ones(dtype, request):
    if dtype == jnp.float64:
        request.getfixturevalue("x64")
    own = recorded("coupling")
    params = to_dtype(flows.coupling_from_torch(own), dtype)
    net = flows.CouplingNet(6, 6)
    y, log_det = flows.coupling(net, params).forward_and_log_det(last(own["x"], dtype))
    np.testing.assert_allclose(first(y), own["y"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_det, own["ldj"], rtol=1e-5)
    wide = {k.replace("/", "."): np.asarray(v, float) for k, v in own.items()}
    expected, total = oracle.coupling(wide["x"], wide)
    tolerance = PRECISION[dtype]
    np.testing.assert_allclose(first(y), expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(log_det, total, rtol=tolerance)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_conditional_couplings_are_the_recorded_ones(dtype, request):
    if dtype == jnp.float64:
        request.getfixturevalue("x64")
    own = recorded("freia_glow_coupling")
    params = to_dtype(flows.conditional_coupling_from_torch(own), dtype)
    block = flows.conditional_coupling(params, jnp.asarray(own["cond"], dtype))
    y, log_det = block.forward_and_log_det(jnp.asarray(own["x"], dtype))
    np.testing.assert_allclose(y, own["y"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_det, own["jac"], rtol=1e-5)
    np.testing.assert_allclose(flows.Permuted(own["perm"]).forward(y), own["z"], rtol=1e-5)
    np.testing.assert_array_equal(np.random.RandomState(0).permutation(10), own["perm"])
    wide = {k.replace("/", "."): np.asarray(v, float) for k, v in own.items()}
    expected, total = oracle.freia(wide["x"], wide["cond"], wide)
    tolerance = PRECISION[dtype]
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(log_det, total, rtol=tolerance)
    back, reverse = block.inverse_and_log_det(y)
    np.testing.assert_allclose(back, own["x"], atol=1e-5)
    np.testing.assert_allclose(reverse, -log_det, rtol=1e-5)


def test_the_first_batch_sets_every_actnorm_as_recorded():
    io = recorded(f"{TAG}_io")
    names = (f"{TAG}_init_weights", f"{TAG}_weights")
    before, after = (to_dtype(flows.glow_from_torch(recorded(n)), jnp.float32) for n in names)
    fitted = small(levels=1).refit(before, last(io["x"]), last(io["dequant_u"]))
    chex.assert_trees_all_close(fitted, after, rtol=1e-5, atol=1e-6)


def test_squeeze_has_the_recorded_order():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(
        first(flows.squeeze(x))[0].reshape(4, 4), RECORDED["squeeze_1x4x4"]
    )
    y = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype(np.float32)
    np.testing.assert_allclose(first(flows.squeeze(last(y))), oracle.squeeze(y))
    np.testing.assert_array_equal(flows.unsqueeze(flows.squeeze(last(y))), last(y))
