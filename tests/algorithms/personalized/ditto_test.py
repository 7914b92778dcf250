import jax
import numpy as np
import optax
import pytest

import jcollab as jc
from tests.algorithms.personal_cases import D, N, T, problem, quadratic, train


@pytest.mark.parametrize("attraction", [0.0, 0.7])
@pytest.mark.parametrize("local_steps", [1, 2])
def test_ditto_equals_a_loop_over_clients(x64, attraction, local_steps):
    params, batches = problem()
    rate, rate_v = 0.1, 0.2
    common = jc.decentralized(quadratic, optax.sgd(rate), jc.mix_every(2, jc.all_reduce()))
    algorithm = jc.algorithms.ditto(
        common, quadratic, optax.sgd(rate_v), attraction=attraction, local_steps=local_steps
    )
    state, log = train(algorithm, params, batches)
    w, v, losses = params.copy(), params.copy(), []
    for t in range(T):
        h, c = batches["h"][t], batches["c"][t]
        losses.append(0.5 * np.sum(h * (v - c) ** 2, 1).mean())
        for i in range(N):
            for _ in range(local_steps):
                v[i] = v[i] - rate_v * (h[i] * (v[i] - c[i]) + attraction * (v[i] - w[i]))
        w = w - rate * h * (w - c)
        if t % 2 == 1:
            w = np.tile(w.mean(0), (N, 1))
    np.testing.assert_allclose(jc.params_of(state), v, atol=1e-12)
    np.testing.assert_allclose(state.clients.common.params, w, atol=1e-12)
    np.testing.assert_allclose(log["loss"], losses, atol=1e-12)
    assert {"common_loss", "common_norm", "norm"} < set(log)


def test_ditto_beside_one_shared_model(x64):
    params, batches = problem()
    algorithm = jc.algorithms.ditto(
        jc.centralized(quadratic, optax.sgd(0.1)), quadratic, optax.sgd(0.2), attraction=1.0
    )
    params = np.tile(params[:1], (N, 1))
    state, _ = train(algorithm, params, batches)
    w, v = params[0], params.copy()
    for h, c in zip(batches["h"], batches["c"], strict=True):
        v = v - 0.2 * (h * (v - c) + v - w)
        w = w - 0.1 * (h * (w - c)).mean(0)
    np.testing.assert_allclose(jc.params_of(state), v, atol=1e-12)


def test_ditto_beside_federated_averaging(x64):
    """H local steps of both models, each on its own batch; the server's model is the center."""
    params, batches = problem()
    params = np.tile(params[:1], (N, 1))
    steps = jax.tree.map(lambda leaf: leaf.reshape(2, 2, N, D).swapaxes(1, 2), batches)
    common = jc.federated(quadratic, optax.sgd(0.1), local_steps=2)
    algorithm = jc.algorithms.ditto(
        common,
        quadratic,
        optax.sgd(0.2),
        attraction=0.5,
        local_steps=2,
    )
    state, _ = train(algorithm, params, steps)
    w, v = params[0], params.copy()
    for h, c in zip(steps["h"], steps["c"], strict=True):
        y = np.tile(w, (N, 1))
        for k in range(2):
            v = v - 0.2 * (h[:, k] * (v - c[:, k]) + 0.5 * (v - w))
            y = y - 0.1 * h[:, k] * (y - c[:, k])
        w = y.mean(0)
    np.testing.assert_allclose(jc.params_of(state), v, atol=1e-12)
    tuning = jc.algorithms.fine_tuning(quadratic, optax.sgd(0.2), n=N)
    one, _ = train(common, params, steps)
    np.testing.assert_allclose(tuning.init(one).clients.params, np.tile(w, (N, 1)), atol=1e-12)
