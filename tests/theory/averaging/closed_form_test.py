import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jcollab.theory import averaging
from tests.theory.averaging.cases import BIAS, REFS, V_G, V_L, close

rng = np.random.default_rng(0)


@pytest.mark.parametrize("case", REFS["closed_form"], ids=lambda c: f"{c['delta']}")
def test_closed_forms_are_the_recorded_ones(case):
    moments = case["V_l"], case["V_g"], case["delta"]
    close(averaging.sampling_variance(case["var_local"], case["n_local"]), case["V_l"])
    close(averaging.sampling_variance(case["var_global"], case["n_global"]), case["V_g"])
    close(averaging.optimal_weight(*moments), case["alpha_star"])
    close(averaging.risk(0, *moments), case["mse_local"])
    close(averaging.risk(1, *moments), case["mse_global"])
    close(averaging.optimal_risk(*moments), case["mse_star"])
    close(averaging.break_even(*moments), case["alpha_break_even"])
    gain = averaging.benefit(case["alpha_star"], *moments) / case["V_l"]
    close(gain, case["rel_benefit_star"])
    for a, both in case["grid"].items():
        close(averaging.risk(float(a), *moments), both["theory"])
        close(averaging.risk(float(a), *moments), both["mc"], atol=0, rtol=5e-3)


def test_the_universal_parabola():
    for r, value in REFS["universal_curve_r_times_2_minus_r"].items():
        close(averaging.relative_benefit(float(r)), value)
        best = averaging.optimal_weight(V_L, V_G, BIAS)
        gain = averaging.benefit(float(r) * best, V_L, V_G, BIAS)
        close(gain / averaging.benefit(best, V_L, V_G, BIAS), value)
        close(gain, V_L - averaging.risk(float(r) * best, V_L, V_G, BIAS))


def test_some_averaging_always_helps_and_too_much_never():
    best = averaging.optimal_weight(V_L, V_G, BIAS)
    assert ((best > 0) & (best <= 1)).all()
    lowest = averaging.risk(best, V_L, V_G, BIAS)
    close(lowest, (1 - best) * V_L)
    close(lowest, best * (V_G + BIAS**2))
    for a in np.linspace(-1, 3, 81):
        assert (averaging.risk(a, V_L, V_G, BIAS) >= lowest - 1e-12).all()
        helps = averaging.benefit(a, V_L, V_G, BIAS) > 0
        clear = abs(a - 2 * best) > 1e-9
        assert (helps == ((a > 0) & (a < 2 * best)))[clear].all()
    close(averaging.benefit(averaging.break_even(V_L, V_G, BIAS), V_L, V_G, BIAS), 0)
    # all of the others' mean beats none of it where a* is above one half, and only there
    all_of_it = averaging.risk(1, V_L, V_G, BIAS) < V_L
    np.testing.assert_array_equal(all_of_it, best > 0.5)
    np.testing.assert_array_equal(all_of_it, V_G + BIAS**2 < V_L)
    assert averaging.risk(1, 0.1, 0.1 / 9, 1.0) > 10 * averaging.risk(0, 0.1, 0.1 / 9, 1.0)


def test_weights_move_the_right_way_and_with_no_unit():
    best, more = averaging.optimal_weight(V_L, V_G, BIAS), 1.1
    assert (averaging.optimal_weight(more * V_L, V_G, BIAS) > best).all()
    assert (averaging.optimal_weight(V_L, more * V_G, BIAS) < best).all()
    assert (averaging.optimal_weight(V_L, V_G, more * BIAS) < best).all()
    close(averaging.optimal_weight(V_L, V_G, -BIAS), best)
    close(averaging.optimal_weight(9 * V_L, 9 * V_G, 3 * BIAS), best)
    for rule in averaging.RULES.values():
        chosen = averaging.plug_in_weight(rule, 1.0, 2.5, 0.7, 0.4)
        assert 0 < chosen <= 1
        close(averaging.plug_in_weight(rule, 3.0, 7.5, 9 * 0.7, 9 * 0.4), chosen)
        close(averaging.plug_in_weight(rule, 11.0, 12.5, 0.7, 0.4), chosen)


def test_the_corners():
    weight = averaging.optimal_weight
    assert weight(1, 0, 0) == 1 and weight(0, 1, 0) == 0 and weight(0, 0, 1) == 0
    assert weight(0, 0, 0) == 0 and averaging.optimal_risk(0, 0, 0) == 0
    for rule in averaging.RULES.values():
        assert rule(0.0, 0.0, 0.0) == 0 and rule(0.0, 0.0, 1.0) == 0
    assert averaging.clipped_ratio(0.0, 1.0, 1.0) == 1
    assert averaging.plug_in_risk(averaging.naive, 0.0, 0.0, 2.0) == 0
    gradient = jax.grad(lambda *m: weight(*m), (0, 1, 2))(0.0, 0.0, 0.0)
    assert np.isfinite(gradient).all()
    for rule in averaging.RULES.values():
        assert np.isfinite(jax.grad(rule, (0, 1, 2))(0.0, 0.0, 0.0)).all()


def test_correlated_and_biased_estimates_against_monte_carlo():
    c, b_l, v_l, v_g, b_g = 0.3, 0.4, 1.0, 0.5, -0.2
    root = np.linalg.cholesky([[v_l, c], [c, v_g]])
    own, others = root @ rng.normal(size=(2, 400_000)) + np.array([[b_l], [b_g]])
    for a in (0.0, 0.4, 1.2):
        measured = np.mean(((1 - a) * own + a * others) ** 2)
        close(averaging.risk(a, v_l, v_g, b_g, c, b_l), measured, atol=0, rtol=1e-2)
    moments = v_l, v_g, b_g, c, b_l
    minimum = optimize.minimize_scalar(lambda a: averaging.risk(a, *moments)).x
    close(averaging.optimal_weight(*moments), minimum, atol=1e-7)
    close(averaging.optimal_weight(1.0, 0.5, 0.3, 0.2), (1 - 0.2) / (1.5 + 0.09 - 0.4))
    # a little averaging helps while c < V_l; with a bias of its own it may not
    assert (
        averaging.benefit(1e-3, 0.2, 1.0, 0.0, 0.19)
        > 0
        > averaging.benefit(1e-3, 0.2, 1.0, 0.0, 0.21)
    )
    assert averaging.benefit(1e-3, 0.1, 0.1, 1.0, 0.0, 0.5) < 0


def test_a_mean_that_includes_the_client():
    case = REFS["inclusive_global"]
    moments = 0.1, 1 / case["n_others"], case["delta_others"]
    exclusive = averaging.optimal_weight(*moments)
    close(exclusive, case["alpha_star_others"])
    inclusive = averaging.inclusive_weight(exclusive, case["w"])
    close(inclusive, case["alpha_star"])
    close(averaging.exclusive_weight(inclusive, case["w"]), exclusive)
    close(averaging.optimal_risk(*moments), case["mse_star"])
    # the same from the moments of a mean of all: variance, bias and covariance with the local one
    w = case["w"]
    v_all = w**2 * 0.1 + (1 - w) ** 2 * moments[1]
    moments_of_all = 0.1, v_all, (1 - w) * moments[2], w * 0.1
    close(averaging.optimal_weight(*moments_of_all), inclusive)
    close(averaging.optimal_risk(*moments_of_all), case["mse_star"])
    # without heterogeneity everything is pooled; with less noisy others the weight exceeds 1
    close(averaging.inclusive_weight(averaging.optimal_weight(0.1, 1 / 90, 0), w), 1)
    close(averaging.pooled_weight(10, 90), averaging.optimal_weight(0.1, 1 / 90, 0))
    assert averaging.inclusive_weight(averaging.optimal_weight(0.1, 0.1 / 90, 0), w) > 1


def test_jax_arrays_can_be_traced_and_differentiated(x64):
    grid = jnp.asarray(V_L), jnp.asarray(V_G), jnp.asarray(BIAS)
    best = jax.jit(jax.vmap(averaging.optimal_weight))(*grid)
    assert isinstance(best, jax.Array)
    close(best, averaging.optimal_weight(V_L, V_G, BIAS))
    slope = jax.vmap(jax.grad(averaging.risk))(best, *grid)
    close(slope, 0)
    close(jax.grad(averaging.risk)(0.0, 0.3, 0.1, 1.0), -0.6)  # why some averaging always helps
    risk = jax.jit(lambda b: averaging.plug_in_risk(averaging.positive_part, 1.0, 1.0, b))
    close(risk(3.0), REFS["plugin_known_variance"][15]["debiased_positive_part"], atol=1e-10)


def test_bad_input_is_named():
    def refuses(message, fn, *args, **kwargs):
        with pytest.raises(ValueError, match=message):
            fn(*args, **kwargs)

    variance = "local_variance must be finite and at least 0, got"
    for fn in (averaging.optimal_weight, averaging.optimal_risk, averaging.break_even):
        refuses(f"{variance} -0.1", fn, -0.1, 1, 0)
        refuses("global_variance must be finite and at least 0, got nan", fn, 1, float("nan"), 0)
        refuses("bias must be finite, got inf", fn, 1, 1, float("inf"))
        refuses(r"covariance must be at most sqrt.* got 2", fn, 1, 1, 0, 2)
    refuses(r"covariance must be at most sqrt.* got 2", averaging.risk, 0.5, 1, jnp.ones(2), 0, 2)
    refuses("weight must be finite, got nan", averaging.risk, float("nan"), 1, 1, 0)
    refuses(variance, averaging.benefit, 0.5, [1, -1], 1, 0)
    refuses("relative_weight must be finite", averaging.relative_benefit, np.inf)
    refuses(r"own_share must be in \[0, 1\), got 1", averaging.inclusive_weight, 0.5, 1)
    refuses(r"own_share must be in \[0, 1\), got -0.1", averaging.exclusive_weight, 0.5, -0.1)
    refuses("num_samples must be finite and at least 1, got -3", averaging.sampling_variance, 1, -3)
    refuses("num_local must be finite and at least 1, got 0", averaging.pooled_weight, 0, 3)
    refuses(
        "samples must have at least 2 entries per client, got 1",
        averaging.variance_of_mean,
        [3.0],
    )
    one = np.eye(2, dtype=bool)
    refuses(
        "samples must have at least 2 entries", averaging.variance_of_mean, np.ones((2, 2)), one
    )
    refuses(
        "n must be at least 2, got 1",
        averaging.others_mean,
        np.ones((1, 2)),
    )
    values = np.ones((3, 2))
    refuses("counts must be finite and positive, got", averaging.others_mean, values, [1, 0, 2])
    refuses(r"counts must have shape \[n=3\], got \(2,\)", averaging.others_mean, values, [1, 2])
    refuses("variances must be finite and at least 0, got", averaging.others_variance, [1.0, -1.0])
    for rule in averaging.RULES.values():
        refuses("squared_distance must be finite and at least 0, got -1", rule, -1, 1, 1)
        refuses("global_variance must be finite and at least 0, got -1", rule, 1, 1, -1)
        refuses(variance, averaging.plug_in_risk, rule, -1, 1, 0)
        refuses(variance, averaging.plug_in_weight, rule, 0.0, 1.0, float("nan"), 0)
    refuses(
        "threshold must be finite and at least 0, got -1", averaging.pre_test, 1, 1, 1, threshold=-1
    )
    refuses(
        "num_nodes must be at least 2",
        averaging.plug_in_risk,
        averaging.naive,
        1,
        1,
        0,
        num_nodes=1,
    )
    with pytest.raises(TypeError, match="rule must be a function, got str"):
        averaging.plug_in_risk("naive", 1, 1, 0)
    nodes = averaging.multi_node_weights
    refuses("variances must be finite and at least 0, got", nodes, [1, -1], [0, 0])
    refuses("variances must have at most one 0 per client", nodes, [0, 0, 1], [0, 0, 0])
    refuses(r"one M >= 1, got \(2,\) and \(3,\)", nodes, [1, 1], [0, 0, 0])
    refuses(r"one M >= 1, got \(0,\) and \(0,\)", nodes, [], [])
    refuses("weights must sum to 1", averaging.multi_node_risk, [0.5, 0.6], [1, 1], [0, 0])
    refuses(
        "num_clients must be finite and at least 2, got 1",
        averaging.population_weight,
        1,
        5,
        1,
        0,
    )
    refuses(
        "spread must be finite and at least 0, got -1", averaging.population_risk, 0, 2, 5, 1, -1
    )
    refuses("num_samples", averaging.population_moments, 2, 0, 1, 1)
