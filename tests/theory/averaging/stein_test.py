import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import jcollab as jc
from jcollab.theory import averaging
from tests.theory.averaging.cases import close

CASES = [
    (d, v_g, bias) for d in (3, 4, 10, 40) for v_g in (0.0, 0.7) for bias in (0.0, 0.8, 3.0, 25.0)
]


def expectation(fn, d, noncentrality, cuts=()):
    """E fn(u) of a noncentral chi-square variable, by adaptive quadrature of its density."""
    law = stats.ncx2(d, noncentrality) if noncentrality else stats.chi2(d)
    # in the square root of u, in which the density is bounded
    ends = np.sqrt([0, *sorted(cuts), law.isf(1e-17)])
    return sum(
        integrate.quad(lambda r: 2 * r * law.pdf(r * r) * fn(r * r), low, high, epsabs=1e-13)[0]
        for low, high in itertools.pairwise(ends)
        if high > low
    )


@pytest.mark.parametrize("d, v_g, bias", CASES)
def test_benefits_are_expectations_of_noncentral_chi_squares(d, v_g, bias):
    """Moments of D and of (D - bias)' D by Stein's identities, for any weight a(u)."""
    v_l = 0.5 * d
    total = v_l + v_g
    noncentrality, c, share = d * bias**2 / total, d - 2, v_l / total

    def risk(weight, cuts=()):
        """V_l V_g / S + (V_l / S)^2 E|alpha D - (D - bias)|^2, in units of the variance of D."""
        square = expectation(lambda u: (1 - weight(u)) ** 2 * u, d, noncentrality, cuts)
        along = expectation(lambda u: 1 - weight(u), d + 2, noncentrality, cuts)
        error = (square - 2 * noncentrality * along + noncentrality) * total / d
        return v_l * v_g / total + share**2 * error

    plain = averaging.james_stein_benefit(d, v_l, v_g, bias)
    inverse = expectation(lambda u: 1 / u, d, noncentrality)
    close(plain, v_l**2 / total * c**2 / d * inverse, atol=1e-9)
    close(v_l - plain, risk(lambda u: c / u), atol=1e-7)
    positive = averaging.james_stein_benefit(d, v_l, v_g, bias, positive=True)
    close(v_l - positive, risk(lambda u: min(1.0, c / u), (c,)), atol=1e-7)
    assert 0 < plain <= positive < v_l


@pytest.mark.parametrize("positive", [False, True])
def test_benefits_are_those_of_the_rule_by_monte_carlo(positive):
    rng, repetitions = np.random.default_rng(0), 200_000
    for d, v_g, bias in ((3, 0.0, 1.0), (5, 2.0, 0.0), (12, 4.0, 5.0)):
        v_l = float(d)
        own = rng.normal(size=(repetitions, d))
        others = bias / np.sqrt(d) + np.sqrt(v_g / d) * rng.normal(size=(repetitions, d))
        rule = averaging.james_stein(d, positive=positive)
        a = rule(((others - own) ** 2).sum(1), v_l, v_g)[:, None]
        # against the error of L in the same draws, whose variance is smaller
        gains = (own**2).sum(1) - ((own + a * (others - own)) ** 2).sum(1)
        exact = averaging.james_stein_benefit(d, v_l, v_g, bias, positive=positive)
        assert abs(gains.mean() - exact) < 4 * gains.std() / np.sqrt(repetitions)


def test_special_values():
    # at the point itself the risk is 2 variances; far away nothing is gained
    for d in (3, 7, 1000):
        close(d - averaging.james_stein_benefit(d, d, 0.0, 0.0), 2, atol=1e-9)
    far = averaging.james_stein_benefit(5, 5.0, 0.0, [1e2, 1e4])
    close(far, 3**2 / np.array([1e4, 1e8]), rtol=1e-3, atol=0)
    assert averaging.james_stein_benefit(5, 0.0, 0.0, 1.0) == 0
    rule = averaging.james_stein(4)
    close(rule(np.array([0.0, 1.0, 10.0]), 4.0, 0.0), [0, 2, 0.2])
    capped = averaging.james_stein(4, positive=True)
    close(capped(np.array([0.0, 1.0, 10.0]), 4.0, 0.0), [1, 1, 0.2])
    close(capped(1.0, 4.0, 4.0), 0.5)


def test_shrinkage_toward_the_common_mean():
    """Efron and Morris's formula, through the rule and through the mixer."""
    x = np.random.default_rng(1).normal(size=9) * 1.3 + 4
    deviations = x - x.mean()
    expected = x.mean() + (1 - (9 - 3) / (deviations**2).sum()) * deviations
    rule = averaging.shared_weight(averaging.james_stein(8))
    others, v_g = averaging.others_mean(x), averaging.others_variance(np.ones(9))
    close(x + rule((others - x) ** 2, 1.0, v_g) * (others - x), expected, atol=1e-12)
    mixer, own = jc.personal_average(rule, variance=1.0), jnp.asarray(x, jnp.float32)
    mixed, _ = mixer.update(own, mixer.init(own), jc.core.Round(jax.random.key(0), 0))
    close(mixed, expected, atol=1e-5)
    # equal numbers: the positive part is the common mean itself
    near = averaging.shared_weight(averaging.james_stein(8, positive=True))
    close(near(1e-3 * (others - x) ** 2, 1.0, v_g), np.full(9, 8 / 9))


def test_a_shared_bias_gives_the_weights_of_a_population():
    rng, n, spread = np.random.default_rng(2), 4000, 0.7
    variances = rng.uniform(0.1, 2.0, n)
    x = spread * rng.normal(size=n) + np.sqrt(variances) * rng.normal(size=n)
    square = (averaging.others_mean(x) - x) ** 2
    a = averaging.shared_bias(square, variances, averaging.others_variance(variances))
    close(a, variances / (variances + spread**2), atol=0.03)
    close(averaging.shared_bias(0 * square, variances, 0.0), np.ones(n))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: averaging.james_stein(2), "dimension must be at least 3, got 2"),
        (lambda: averaging.james_stein(4)(-1.0, 1.0, 0.0), "squared_distance must be finite"),
        (lambda: averaging.james_stein_benefit(2, 1.0, 0.0, 0.0), "dimension must be at least 3"),
        (lambda: averaging.james_stein_benefit(3, -1.0, 0.0, 0.0), "local_variance must be finite"),
        (lambda: averaging.james_stein_benefit(3, 1.0, 0.0, -1.0), "bias must be finite"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
