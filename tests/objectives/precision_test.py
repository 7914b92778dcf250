import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc


def test_computing_in_bfloat16_keeps_parameters_and_mixing_in_float32():
    seen = []

    def loss(params, batch, key):
        seen.append((params["w"].dtype, batch["x"].dtype, batch["y"].dtype))
        return jnp.mean((batch["x"] @ params["w"] - batch["y"]) ** 2)

    batch = {"x": jnp.ones((4, 8, 3)), "y": jnp.zeros((4, 8), jnp.int32)}
    params = {"w": jnp.full((4, 3), 0.3)}
    results = {}
    for name, objective in {
        "half": jc.objectives.computed_in(jnp.bfloat16, loss),
        "full": loss,
    }.items():
        algorithm = jc.decentralized(objective, optax.sgd(0.1), jc.all_reduce())
        state, log = algorithm.update(algorithm.init(params), batch, jax.random.key(0))
        results[name] = state.clients.params["w"]
        assert results[name].dtype == jnp.float32 and log["loss"].dtype == jnp.float32
    assert seen[0] == (jnp.bfloat16, jnp.bfloat16, jnp.int32)
    np.testing.assert_allclose(results["half"], results["full"], rtol=2e-2)
    assert (results["half"] != results["full"]).any()
    with pytest.raises(TypeError, match="dtype must be a floating-point type"):
        jc.objectives.computed_in(jnp.int32, loss)


def test_the_state_of_a_model_is_not_cast():
    def loss(params, mean, batch, key):
        assert params.dtype == batch.dtype == jnp.bfloat16
        return jnp.sum((params - batch) ** 2), 0.9 * mean + 0.1, {"mean": mean}

    half = jc.objectives.computed_in(jnp.bfloat16, jc.stateful(loss))
    algorithm = jc.decentralized(half, optax.sgd(0.1), jc.identity())
    state = algorithm.init(jnp.ones((4, 3)), jnp.full(4, 1.001, jnp.float32))
    state, log = algorithm.update(state, jnp.ones((4, 3)), jax.random.key(0))
    np.testing.assert_allclose(state.clients.model_state, 0.9 * 1.001 + 0.1, rtol=1e-6)
    np.testing.assert_allclose(log["mean"], 1.001, rtol=1e-6)
    assert log["loss"].dtype == state.clients.params.dtype == jnp.float32


def test_a_checkpointed_loss_is_a_loss():
    """jax.checkpoint trades time for memory, and needs nothing of the library."""

    def loss(params, batch, key):
        return jnp.sum(jnp.tanh(params * batch) ** 2)

    x, batch = jnp.ones((2, 3)), jnp.arange(6.0).reshape(2, 3)
    results = []
    for objective in (loss, jax.checkpoint(loss)):
        algorithm = jc.decentralized(objective, optax.sgd(0.1), jc.identity())
        state, _ = algorithm.update(algorithm.init(x), batch, jax.random.key(0))
        results.append(state.clients.params)
    np.testing.assert_allclose(*results, rtol=1e-6)
