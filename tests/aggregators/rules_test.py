import chex
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
    own, messages = jnp.asarray(STORED["x"]), jnp.asarray(STORED["neighbors"])
    got = ag.apply(rule, own, messages, STORED["weights"][1:])
    np.testing.assert_allclose(factor * got, STORED[f"out__{name}"], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", RULES)
def test_an_empty_slot_counts_for_nothing(x64, name):
    """A slot of weight 0, whatever it holds, is as good as none."""
    own, messages, weights = case()
    keep = np.array([0, 1, 2, 4, 5])
    few = call(
        RULES[name],
        own,
        jax.tree.map(lambda leaf: leaf[keep], messages),
        weights[keep],
        senders=jnp.asarray(keep),
    )
    spoilt = jax.tree.map(lambda leaf: leaf.at[3].set(jnp.nan), messages)
    many = call(RULES[name], own, spoilt, weights.at[3].set(0))
    chex.assert_trees_all_close(many, few, rtol=1e-9)


@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_one_absurd_message_does_no_harm(name, bad):
    own, messages, weights = case()
    messages = jax.tree.map(lambda leaf: leaf.at[3].set(bad), messages)
    for leaf in jax.tree.leaves(call(ROBUST[name], own, messages, weights)):
        assert np.abs(leaf).max() < 10


@pytest.mark.parametrize("name", RULES)
def test_the_order_of_messages_does_not_matter(x64, name):
    own, messages, weights = case()
    order = np.random.default_rng(1).permutation(len(weights))
    turned = call(
        RULES[name],
        own,
        jax.tree.map(lambda leaf: leaf[order], messages),
        weights[order],
        senders=jnp.asarray(order),
    )
    straight = call(RULES[name], own, messages, weights)
    chex.assert_trees_all_close(turned, straight, rtol=1e-9)


@pytest.mark.parametrize("name", [n for n in RULES if n not in ("geometric median", "ubar")])
def test_translation_moves_the_result(x64, name):
    own, messages, weights = case()
    moved = jax.tree.map(lambda leaf: leaf + 3.0, (own, messages))
    expected = jax.tree.map(lambda leaf: leaf + 3.0, call(RULES[name], own, messages, weights))
    got = call(RULES[name], *moved, weights)
    chex.assert_trees_all_close(got, expected, rtol=1e-9)


@pytest.mark.parametrize("name", [n for n in RULES if n not in ("median", "trimmed mean")])
def test_rotation_turns_the_result(x64, name):
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(4, 4)))

    def rotate(tree):
        return {**tree, "a": tree["a"] @ turn}

    own, messages, weights = case()
    expected = rotate(call(RULES[name], own, messages, weights))
    got = call(RULES[name], rotate(own), rotate(messages), weights)
    chex.assert_trees_all_close(got, expected, rtol=1e-8)


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
    own, messages, weights = case(slots=3)
    with pytest.raises(
        ValueError, match=r"rule must work with 4 inputs.*got trimmed_mean\(2\).*needs at least 5"
    ):
        call(ag.trimmed_mean(2), own, messages, weights)
    with pytest.raises(
        ValueError, match=r"with 4 inputs.*got multi_krum\(1, 1\).*needs at least 5"
    ):
        call(ag.krum(1), own, messages, weights)


def test_neighborhoods_too_small_for_a_rule_are_refused():
    star = jc.topology.star(6)
    with pytest.raises(ValueError, match=r"with 2 inputs.*got trimmed_mean\(1\).*at least 3"):
        jc.neighborhood(star, ag.trimmed_mean(1))
    jc.neighborhood(star, ag.trimmed_mean(1), receivers=np.arange(6) == 0)
    with pytest.raises(
        ValueError, match=r"with 3 inputs.*got bucketing\(2, multi_krum\(1, 1\)\).*at least 5"
    ):
        jc.neighborhood(jc.topology.ring(6), ag.bucketing(2, ag.krum(1)))
    with pytest.raises(ValueError, match="with 6 inputs.*needs at least 7"):
        jc.server(ag.krum(2)).init(jnp.zeros((6, 2)))
    with pytest.raises(TypeError, match="rule must be a Rule .*got int"):
        jc.neighborhood(star, 3)
