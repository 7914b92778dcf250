"""Large populations: clients as ranges of examples, in host memory, and the memory of a round."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc

KEY = jax.random.key(3)
SGD = optax.sgd(0.05)
CORRECTED = optax.chain(jc.local.control_variate(), SGD)


def examples_of_users():
    owners = np.array([2, 0, 1, 1, 4, 3, 2, 0, 1, 4, 1])
    x = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    return {"x": x, "owner": owners}, owners


def squares(params, batch, key):
    return jnp.mean((batch["x"] - params) ** 2), {
        "owner": batch["owner"].astype(jnp.float32).mean()
    }


@pytest.mark.parametrize("form", ["ranges", "lists"])
@pytest.mark.parametrize("num_sampled", [2, None])
def test_clients_in_host_memory_train_as_on_the_device(form, num_sampled):
    examples, owners = examples_of_users()
    data = jc.data.client_ranges(examples, owners)
    if form == "lists":
        data = jc.data.client_data(examples, jc.data.by_user(owners))
    cohort = jc.algorithms.federated_cohort(
        squares,
        CORRECTED,
        local_steps=2,
        num_sampled=num_sampled,
        source=jc.data.sources.local_batches(2),
        drift=jc.local.scaffold(),
    )
    algorithm = jc.algorithms.as_algorithm(cohort)
    state = cohort.init(jnp.zeros((5, 3)))
    expected, log = jc.run(algorithm, state, jc.data.full_batch(data), KEY, num_rounds=6)
    offloaded, first = jc.training.run_offloaded(
        cohort, jc.training.offload(state), data, KEY, num_rounds=2, progress=False
    )
    offloaded, rest = jc.training.run_offloaded(
        cohort, offloaded, data, KEY, num_rounds=4, progress=False
    )
    chex.assert_trees_all_close(jax.device_get(offloaded), jax.device_get(expected), atol=1e-6)
    for name, values in log.items():
        np.testing.assert_allclose(np.concatenate([first[name], rest[name]]), values, rtol=1e-5)


def test_states_on_the_device_are_not_taken_for_host_memory():
    cohort = jc.algorithms.federated_cohort(squares, SGD, source=jc.data.sources.repeated())
    state = cohort.init(jnp.ones((5, 4)))
    with pytest.raises(ValueError, match="state.clients must be writable NumPy arrays"):
        jc.training.run_offloaded(cohort, state, {}, KEY, num_rounds=1)
    with pytest.raises(ValueError, match="num_rounds must be at least 1, got 0"):
        jc.training.run_offloaded(cohort, jc.training.offload(state), {}, KEY, num_rounds=0)


def test_memory_is_set_by_the_chunk_and_not_by_the_number_of_sampled_clients():
    def squares(params, batch, key):
        return jnp.mean((params - batch) ** 2)

    size = 50_000

    def temporary(num_sampled):
        algorithm = jc.federated(
            squares,
            SGD,
            num_sampled=num_sampled,
            num_clients=1000,
            source=jc.data.sources.repeated(),
            chunk=4,
        )
        state = jax.eval_shape(algorithm.init, KEY, jnp.zeros(size))
        compiled = jax.jit(algorithm.update).lower(state, jnp.zeros(1000), KEY).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    few, many = temporary(20), temporary(200)
    assert many < few + 200 * 1000 < 200 * 4 * size
