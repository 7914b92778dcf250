import numpy as np
import optax
import pytest

import jcollab as jc
from tests.algorithms.personal_cases import N, T, problem, quadratic, train


@pytest.mark.parametrize("weight_rate", [0.0, 0.2])
def test_apfl_equals_a_loop_over_clients(x64, weight_rate):
    params, batches = problem()
    a = np.linspace(0.1, 0.9, N)
    algorithm = jc.algorithms.apfl(
        quadratic,
        optax.sgd(0.1),
        jc.mix_every(2, jc.all_reduce()),
        weight=a,
        weight_rate=weight_rate,
    )
    state, log = train(algorithm, params, batches)
    w, v, a = params.copy(), params.copy(), a.copy()
    for t in range(T):
        h, c = batches["h"][t], batches["c"][t]
        for i in range(N):
            p = (1 - a[i]) * v[i] + a[i] * w[i]
            slope = h[i] * (p - c[i])
            moved = np.clip(a[i] - weight_rate * slope @ (w[i] - v[i]), 0, 1)
            v[i] = v[i] - 0.1 * (1 - a[i]) * slope
            w[i] = w[i] - 0.1 * h[i] * (w[i] - c[i])
            a[i] = moved
        if t % 2 == 1:
            w = np.tile(w.mean(0), (N, 1))
    np.testing.assert_allclose(state.clients.weight, a, atol=1e-12)
    expected = (1 - a)[:, None] * v + a[:, None] * w
    np.testing.assert_allclose(jc.params_of(state), expected, atol=1e-12)
    np.testing.assert_allclose(log["collaboration"][-1], a.mean(), atol=1e-12)
