import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from jcollab.theory import averaging
from tests.theory.averaging.cases import BIAS, REFS, V_G, V_L, close

rng = np.random.default_rng(0)


def test_multi_node_weights_are_the_recorded_ones():
    for name in ("multi_node", "multi_node_negative_weight"):
        case = REFS[name]
        v, bias = case["V"], case["delta"]
        weights = averaging.multi_node_weights(v, bias)
        close(weights, case["w_star"])
        close(averaging.multi_node_risk(weights, v, bias), case["mse_star"])
        matrix = np.diag(v) + np.outer(bias, bias)
        inverse = np.linalg.solve(matrix, np.ones(len(v)))
        close(weights, inverse / inverse.sum())
        close(1 / inverse.sum(), case["mse_star"])
    uniform = averaging.multi_node_risk(np.full(4, 0.25), *_multi("multi_node"))
    close(uniform, REFS["multi_node"]["uniform"])
    assert averaging.multi_node_weights(*_multi("multi_node_negative_weight")).min() < 0


def _multi(name):
    return REFS[name]["V"], REFS[name]["delta"]


def test_two_nodes_are_the_two_estimates():
    v, bias = np.stack([V_L, V_G], -1), np.stack([0 * BIAS, BIAS], -1)
    weights = averaging.multi_node_weights(v, bias)
    best = averaging.optimal_weight(V_L, V_G, BIAS)
    close(weights, np.stack([1 - best, best], -1))
    close(averaging.multi_node_risk(weights, v, bias), averaging.optimal_risk(V_L, V_G, BIAS))
    close(averaging.multi_node_weights([0.0, 0.1, 0.2], [0.0, 0.5, 0.1]), [1, 0, 0])


def test_opposite_biases_cancel():
    v = [0.1, 0.05, 0.05]
    same = averaging.multi_node_weights(v, [0.0, 0.4, 0.4])
    apart = averaging.multi_node_weights(v, [0.0, 0.4, -0.4])
    close(apart[1], apart[2])
    close(averaging.multi_node_risk(apart, v, [0.0, 0.4, -0.4]), 0.02)
    assert averaging.multi_node_risk(same, v, [0.0, 0.4, 0.4]) > 2 * 0.02


def test_weights_on_the_simplex_against_a_general_solver():
    for case in range(6):
        v, bias = rng.exponential(size=4), 1.5 * rng.normal(size=4)
        weights = averaging.multi_node_weights(v, bias, simplex=True)
        assert (weights >= 0).all()
        close(weights.sum(), 1)
        solved = optimize.minimize(
            lambda w: np.sum(w**2 * v) + np.sum(w * bias) ** 2,  # noqa: B023
            np.full(4, 0.25),
            bounds=[(0, 1)] * 4,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        risk = averaging.multi_node_risk(weights, v, bias)
        close(risk, solved.fun, atol=1e-7)
        free = averaging.multi_node_risk(averaging.multi_node_weights(v, bias), v, bias)
        assert risk >= free - 1e-12
        if case == 0:  # the same while it is traced, with the envelope's derivative
            traced = jax.jit(
                functools.partial(averaging.multi_node_weights, biases=bias, simplex=True)
            )
            close(traced(jnp.asarray(v)), weights, atol=1e-5)

            def lowest(v, bias=bias):
                w = averaging.multi_node_weights(v, bias, simplex=True)
                return averaging.multi_node_risk(w, v, bias)

            close(jax.grad(lowest)(jnp.asarray(v)), weights**2, atol=1e-4)


def test_clients_of_a_population():
    case = REFS["random_population"]
    setting = case["N"], case["n"], case["sigma2"], case["tau"]
    best = averaging.population_weight(*setting)
    close(best, case["alpha_star"])
    close(averaging.population_risk(best, *setting), case["mse_star"])
    close(case["mse_star"], (1 - best) * case["mse_local"])
    close(averaging.population_risk(1, *setting), case["mse_global_alpha1"])
    close(averaging.population_risk(1, *setting), case["mc_alpha1"], atol=0, rtol=5e-3)
    close(averaging.population_risk(0, *setting), case["mse_local"])
