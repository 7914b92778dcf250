import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from jcollab.theory import averaging
from tests.theory.averaging.cases import REFS, close

CASES = [(c["V_l"], c["V_g"], c["delta"]) for c in REFS["closed_form"]]
RECORDED = {
    "naive": "naive",
    "positive part": "debiased_positive_part",
    "clipped ratio": "clipped_ratio",
    "pre-test": "pretest5pct",
}


@pytest.mark.parametrize("name", RECORDED)
def test_plug_in_risks_are_the_recorded_ones(name):
    table = REFS["plugin_known_variance"]
    v_l, v_g, bias = np.array([[c["V_l"], c["V_g"], c["delta"]] for c in table]).T
    risks = averaging.plug_in_risk(averaging.RULES[name], v_l, v_g, bias)
    close(risks, [c[RECORDED[name]] for c in table], atol=1e-10)
    close(risks, [c[f"{RECORDED[name]}_mc"] for c in table], atol=0, rtol=8e-3)
    close(averaging.optimal_risk(v_l, v_g, bias), [c["oracle"] for c in table])
    close(averaging.risk(1, v_l, v_g, bias), [c["full_global"] for c in table])
    by_case = dict(zip(zip(v_l, v_g, bias, strict=True), risks, strict=True))
    # at three standard deviations every rule does worse than learning alone
    assert by_case[1.0, 0.1, 3.0] > 1 and by_case[1.0, 1.0, 3.0] > 1
    assert (risks >= averaging.optimal_risk(v_l, v_g, bias) - 1e-9).all()


def test_the_oracle_is_a_rule_and_pooling_shares_a_weight():
    for v_l, v_g, bias in CASES:
        rule = averaging.oracle(bias)
        close(averaging.plug_in_risk(rule, v_l, v_g, bias), averaging.optimal_risk(v_l, v_g, bias))
    square, v = np.array([1.0, 2.0, 6.0]), np.array([0.5, 1.0, 1.5])
    shared = averaging.shared_weight(averaging.clipped_ratio)
    close(shared(square, v, 0.1), np.full(3, 1 / 3))
    close(shared(jnp.asarray(square), jnp.asarray(v), v), np.full(3, 1 / 3), atol=1e-6)
    with pytest.raises(TypeError, match="rule must be a function"):
        averaging.shared_weight(0.5)
    with pytest.raises(ValueError, match="bias must be finite"):
        averaging.oracle(np.nan)


@pytest.mark.parametrize(
    "name, kink, accuracy",
    [
        ("naive", lambda v_l, v_g: 1.0, 1e-9),
        ("positive part", lambda v_l, v_g: v_l + v_g, 1e-8),
        ("clipped ratio", lambda v_l, v_g: v_l, 1e-8),
        ("pre-test", lambda v_l, v_g: 3.841458820694124 * (v_l + v_g), 2e-4),
    ],
)
def test_plug_in_risk_against_two_dimensional_integrals(name, kink, accuracy):
    """E over L and G themselves, with adaptive quadrature between the kinks of the rule."""
    rule = averaging.RULES[name]
    for v_l, v_g, bias in ((1.0, 0.4, 0.0), (0.3, 1.0, 1.5)):
        total, edge = v_l + v_g, np.sqrt(kink(v_l, v_g))

        def error(d, v_l=v_l, bias=bias, total=total, v_g=v_g):
            # given D = d: L has mean -(V_l / S)(d - bias), variance V_l V_g / S
            a, mean = rule(d * d, v_l, v_g), -(v_l / total) * (d - bias)
            density = np.exp(-((d - bias) ** 2) / (2 * total)) / np.sqrt(2 * np.pi * total)
            return density * ((mean + a * d) ** 2 + v_l * v_g / total)

        cuts = sorted({bias - 9 * total**0.5, -edge, edge, bias, bias + 9 * total**0.5})
        exact = sum(
            integrate.quad(error, low, high, epsabs=1e-12)[0]
            for low, high in itertools.pairwise(cuts)
        )
        close(averaging.plug_in_risk(rule, v_l, v_g, bias), exact, atol=accuracy)
