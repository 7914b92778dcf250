import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc

KEY = jax.random.key(0)


def loss(params, batch, key):
    return jnp.mean((params - batch + jax.random.normal(key)) ** 2)


ALGORITHM = jc.decentralized(loss, optax.sgd(0.1), jc.all_reduce())
BATCHES = jnp.arange(24.0).reshape(6, 4, 1)
ROUNDS = jc.data.stacked(BATCHES)


def start():
    return ALGORITHM.init(jnp.zeros((4, 1)))


def test_batches_of_a_function_equal_stacked_ones():
    whole, log = jc.run(ALGORITHM, start(), ROUNDS, KEY)
    drawn = jc.data.from_function(lambda data, key, step: data[step], BATCHES)
    same, same_log = jc.run(ALGORITHM, start(), drawn, KEY, num_rounds=6)
    chex.assert_trees_all_equal((whole, log), (same, same_log))


def test_a_run_in_pieces_is_the_same_run():
    whole, log = jc.run(ALGORITHM, start(), ROUNDS, KEY)
    half, first = jc.run(ALGORITHM, start(), ROUNDS, KEY, num_rounds=2)
    end, last = jc.run(ALGORITHM, half, ROUNDS, KEY)  # all that are left
    chex.assert_trees_all_equal(whole, end)
    np.testing.assert_array_equal(log["loss"], np.concatenate([first["loss"], last["loss"]]))


def test_donation_spends_the_state_only_when_asked():
    state = start()
    jc.run(ALGORITHM, state, ROUNDS, KEY)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    kept, _ = jc.run(ALGORITHM, start(), ROUNDS, KEY)
    spent, _ = jc.run(ALGORITHM, state, ROUNDS, KEY, donate=True)
    assert state.clients.params.is_deleted() and state.step.is_deleted()
    chex.assert_trees_all_equal(kept, spent)


def test_run_names_what_is_wrong():
    state, _ = jc.run(ALGORITHM, start(), ROUNDS, KEY, num_rounds=4)
    with pytest.raises(
        ValueError, match="num_rounds must be at most 2, since batches has 6 .*got 3"
    ):
        jc.run(ALGORITHM, state, ROUNDS, KEY, num_rounds=3)
    with pytest.raises(TypeError, match="algorithm must be an Algorithm, got function"):
        jc.run(loss, start(), ROUNDS, KEY)
    with pytest.raises(TypeError, match=r"batches must be made by jcollab.data .*got ArrayImpl"):
        jc.run(ALGORITHM, start(), BATCHES, KEY)
    with pytest.raises(ValueError, match="num_rounds must be at least 1, got None"):
        jc.run(ALGORITHM, start(), jc.data.from_function(lambda d, k, s: d[0], BATCHES), KEY)
    with pytest.raises(ValueError, match="data must have leaves"):
        jc.run(
            ALGORITHM,
            start(),
            jc.data.stacked({"a": jnp.zeros((2, 4)), "b": jnp.zeros((3, 4))}),
            KEY,
        )
    with pytest.raises(ValueError, match=r"client axis of length 5.*is 4"):
        jc.run(ALGORITHM, start(), jc.data.stacked(jnp.zeros((2, 5, 1))), KEY)
    with pytest.raises(ValueError, match="is a scalar"):
        ALGORITHM.init({"w": jnp.zeros(())})
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        jc.replicate(jnp.zeros(2), 0)


def test_losses_of_either_form():
    def carrying(params, model_state, batch, key):
        return jnp.mean((params - batch) ** 2), model_state + 1, {"seen": model_state}

    algorithm = jc.decentralized(jc.stateful(carrying), optax.sgd(0.1), jc.identity())
    state = algorithm.init(jnp.zeros((4, 1)), jnp.zeros(4))
    state, log = jc.run(algorithm, state, ROUNDS, KEY)
    assert state.clients.model_state.tolist() == [6.0] * 4
    assert log["seen"].tolist() == list(range(6))
    with pytest.raises(TypeError, match="loss must be a function, got int"):
        jc.centralized(3, optax.sgd(0.1))
    with pytest.raises(TypeError, match="function must be a function, got str"):
        jc.stateful("loss")
    for wrong, message in (
        (carrying, r"called as loss\(params, batch, key\). Mark it by jc.stateful"),
        (lambda params: 0.0, r"called as loss\(params, batch, key\)"),
        (jc.stateful(loss), r"called as loss\(params, model_state, batch, key\)"),
        (jc.stateful(lambda p, s, b, k: p), r"loss must return \(value, model_state, metrics\)"),
        (lambda p, b, k: (p, (), {}), r"loss must return value or .*got a tuple of 3"),
    ):
        algorithm = jc.decentralized(wrong, optax.sgd(0.1), jc.identity())
        with pytest.raises(TypeError, match=message):
            jc.run(algorithm, algorithm.init(jnp.zeros((4, 1))), ROUNDS, KEY)


def test_with_metrics_reports_functions_and_dictionaries():
    algorithm = jc.with_metrics(
        ALGORITHM, jc.metrics.consensus_distance, lambda state: {"step": state.step}
    )
    _, log = jc.run(algorithm, start(), ROUNDS, KEY)
    assert log["step"].tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(log["consensus_distance"], 0, atol=1e-12)
    with pytest.raises(ValueError, match=r"names of their own, got \['loss'\] twice"):
        jc.run(
            jc.with_metrics(ALGORITHM, lambda s: {"loss": s.step}),
            start(),
            ROUNDS,
            KEY,
        )
    with pytest.raises(TypeError, match=r"metrics\[0\] must be a function, got str"):
        jc.with_metrics(ALGORITHM, "loss")


def test_all_reduce_of_one_step_is_centralized():
    """With plain SGD the mean of the models and the model of the mean gradient are the same."""
    state, _ = jc.run(ALGORITHM, start(), ROUNDS, KEY)
    central = jc.centralized(lambda p, batch, key: jnp.mean((p - batch) ** 2), optax.sgd(0.1))
    quiet = jc.decentralized(
        lambda p, batch, key: jnp.mean((p - batch) ** 2), optax.sgd(0.1), jc.all_reduce()
    )
    one, _ = jc.run(central, central.init(jnp.zeros((4, 1))), ROUNDS, KEY)
    many, _ = jc.run(quiet, quiet.init(jnp.zeros((4, 1))), ROUNDS, KEY)
    np.testing.assert_allclose(
        np.broadcast_to(jc.params_of(one), (4, 1)), jc.params_of(many), rtol=1e-6
    )
    assert state.step == 6
