import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from tests.algorithms.personal_cases import KEY, N, T, problem, quadratic, train


def test_fine_tuning_goes_on_from_what_a_run_has_left(x64):
    params, batches = problem()
    common = jc.decentralized(quadratic, optax.sgd(0.1), jc.all_reduce())
    state, _ = train(common, params, batches)
    tuning = jc.algorithms.fine_tuning(quadratic, optax.sgd(0.2))
    tuned, _ = train_from(tuning, state, batches)
    x = np.asarray(jc.params_of(state))
    np.testing.assert_allclose(x, np.tile(x.mean(0), (N, 1)), atol=1e-12)
    for h, c in zip(batches["h"], batches["c"], strict=True):
        x = x - 0.2 * h * (x - c)
    np.testing.assert_allclose(jc.params_of(tuned), x, atol=1e-12)
    assert tuned.step == T

    one, _ = train(jc.centralized(quadratic, optax.sgd(0.1)), np.tile(params[:1], (N, 1)), batches)
    start = jc.algorithms.fine_tuning(quadratic, optax.sgd(0.2), n=N).init(one)
    np.testing.assert_array_equal(start.clients.params, np.tile(jc.params_of(one), (N, 1)))
    with pytest.raises(ValueError, match="n must be 5, the number of models, got 3"):
        jc.algorithms.fine_tuning(quadratic, optax.sgd(0.2), n=3).init(state)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        jc.algorithms.fine_tuning(quadratic, optax.sgd(0.2), n=0)


def train_from(algorithm, state, batches):
    start = algorithm.init(state)
    return jc.run(algorithm, start, jc.data.stacked(jax.tree.map(jnp.asarray, batches)), KEY)
