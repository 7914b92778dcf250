import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from jcollab import aggregators as ag
from tests.aggregators.cases import ROBUST, RULES, STORED, call, case, loss

SUM_OF_THREE = 3  # the original's multi-Krum returns a sum


@pytest.mark.parametrize(
    "name, rule, factor",
    [
        ("gossip", ag.weighted(), 1),
        ("mean", ag.trimmed_mean(0), 1),
        ("cm", ag.coordinate_median(), 1),
        ("tm1", ag.trimmed_mean(1), 1),
        ("tm2", ag.trimmed_mean(2), 1),
        ("tm3", ag.trimmed_mean(3), 1),
        ("tm4", ag.trimmed_mean(4, shrink=True), 1),
        ("rfa1", ag.geometric_median(1), 1),
        ("rfa8", ag.geometric_median(), 1),
        ("krum_f1_m1", ag.krum(1, power=4), 1),
        ("krum_f2_m1", ag.krum(2, power=4), 1),
        ("krum_f1_m3", ag.multi_krum(1, 3, power=4), SUM_OF_THREE),
        ("scclip_tau0.1", ag.self_centered_clip(0.1), 1),
        ("scclip_tau1.0", ag.self_centered_clip(1.0), 1),
        ("scclip_tau10.0", ag.self_centered_clip(10.0), 1),
        ("scclip_tau1000000000.0", ag.self_centered_clip(1e9), 1),
        (
            "scclip_adaptive_second_largest",
            ag.self_centered_clip(ag.second_largest_distance()),
            1,
        ),
    ],
)
def test_rules_equal_the_original(x64, name, rule, factor):
    own, received = jnp.asarray(STORED["x"]), jnp.asarray(STORED["neighbors"])
    got = ag.apply(rule, own, received, STORED["weights"][1:])
    np.testing.assert_allclose(factor * got, STORED[f"out__{name}"], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", RULES)
def test_an_empty_slot_counts_for_nothing(x64, name):
    """A slot of weight 0, whatever it holds, is as good as none."""
    own, received, weights = case()
    keep = np.array([0, 1, 2, 4, 5])
    few = call(
        RULES[name],
        own,
        jax.tree.map(lambda leaf: leaf[keep], received),
        weights[keep],
        senders=jnp.asarray(keep),
    )
    spoilt = jax.tree.map(lambda leaf: leaf.at[3].set(jnp.nan), received)
    many = call(RULES[name], own, spoilt, weights.at[3].set(0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), many, few)


@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_one_absurd_message_does_no_harm(name, bad):
    own, received, weights = case()
    received = jax.tree.map(lambda leaf: leaf.at[3].set(bad), received)
    for leaf in jax.tree.leaves(call(ROBUST[name], own, received, weights)):
        assert np.abs(leaf).max() < 10


@pytest.mark.parametrize("name", RULES)
def test_the_order_of_messages_does_not_matter(x64, name):
    own, received, weights = case()
    order = np.random.default_rng(1).permutation(len(weights))
    turned = call(
        RULES[name],
        own,
        jax.tree.map(lambda leaf: leaf[order], received),
        weights[order],
        senders=jnp.asarray(order),
    )
    straight = call(RULES[name], own, received, weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), turned, straight)


@pytest.mark.parametrize("name", [n for n in RULES if n not in ("geometric median", "ubar")])
def test_translation_moves_the_result(x64, name):
    own, received, weights = case()
    moved = jax.tree.map(lambda leaf: leaf + 3.0, (own, received))
    expected = jax.tree.map(lambda leaf: leaf + 3.0, call(RULES[name], own, received, weights))
    got = call(RULES[name], *moved, weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), got, expected)


@pytest.mark.parametrize("name", [n for n in RULES if n not in ("median", "trimmed mean")])
def test_rotation_turns_the_result(x64, name):
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(4, 4)))

    def rotate(tree):
        return {**tree, "a": tree["a"] @ turn}

    own, received, weights = case()
    expected = rotate(call(RULES[name], own, received, weights))
    got = call(RULES[name], rotate(own), rotate(received), weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8), got, expected)


def test_rules_refuse_bad_numbers():
    with pytest.raises(ValueError, match="radius must be at least 0, got -1"):
        ag.self_centered_clip(-1.0)
    with pytest.raises(ValueError, match="radius must be at least 0, got nan"):
        ag.centered_clip(float("nan"))
    with pytest.raises(ValueError, match="iterations must be at least 1"):
        ag.centered_clip(1.0, 0)
    with pytest.raises(ValueError, match="trim must be at least 0, got -1"):
        ag.trimmed_mean(-1)
    with pytest.raises(ValueError, match="byzantine must be at least 0"):
        ag.krum(-1)
    with pytest.raises(ValueError, match="chosen must be at least 1"):
        ag.multi_krum(1, 0)
    with pytest.raises(ValueError, match="smoothing must be positive"):
        ag.geometric_median(smoothing=0.0)
    with pytest.raises(ValueError, match=r"ratio must be in \(0, 1\]"):
        ag.ubar(loss, 1.5)
    with pytest.raises(TypeError, match="score must be a function"):
        ag.ubar(None, 0.5)
    own, received, weights = case(slots=3)
    with pytest.raises(ValueError, match="trim=2 needs at least 5 inputs.* has 4"):
        call(ag.trimmed_mean(2), own, received, weights)
    with pytest.raises(ValueError, match="byzantine=1, chosen=1 needs at least 5 inputs.* has 4"):
        call(ag.krum(1), own, received, weights)


def test_neighborhoods_too_small_for_a_rule_are_refused():
    star = jc.topology.star(6)
    with pytest.raises(ValueError, match="trim=1 needs at least 3 inputs.* has 2"):
        jc.neighborhood(star, ag.trimmed_mean(1))
    jc.neighborhood(star, ag.trimmed_mean(1), receivers=np.arange(6) == 0)
    with pytest.raises(ValueError, match="needs at least 5 inputs.* has 3"):
        jc.neighborhood(jc.topology.ring(6), ag.bucketing(2, ag.krum(1)))
    with pytest.raises(ValueError, match="needs at least 7 inputs.* has 6"):
        jc.server(ag.krum(2)).init(jnp.zeros((6, 2)))
    with pytest.raises(TypeError, match="rule must be a function or StatefulRule, got int"):
        jc.neighborhood(star, 3)
