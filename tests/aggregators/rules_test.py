import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from jcollab import aggregators as ag
from tests import REFERENCE

STORED = np.load(REFERENCE / "clipped_gossip/aggregator_unit_refs.npz")
SUM_OF_THREE = 3  # the original's multi-Krum returns a sum


def loss(params, batch, key):
    return jnp.sum((params - batch) ** 2)


ROBUST = {
    "clip": ag.self_centered_clip(0.7),
    "adaptive clip": ag.self_centered_clip(ag.second_largest_distance()),
    "oracle clip": ag.self_centered_clip(ag.oracle_radius(jnp.arange(9) == 3)),
    "median": ag.coordinate_median(),
    "trimmed mean": ag.trimmed_mean(1),
    "geometric median": ag.geometric_median(),
    "krum": ag.krum(1),
    "multi-krum": ag.multi_krum(1, 2),
    "ubar": ag.ubar(loss, 0.5),
}
RULES = {"weighted": ag.weighted(), **ROBUST}


def case(slots=6, shape=(4,), seed=0):
    rng = np.random.default_rng(seed)
    own = {"a": rng.normal(size=shape), "b": rng.normal(size=(2, 3))}
    received = {
        "a": rng.normal(size=(slots, *shape)),
        "b": rng.normal(size=(slots, 2, 3)),
    }
    weights = rng.uniform(0.05, 0.12, size=slots)
    return jax.tree.map(jnp.asarray, (own, received, weights))


def call(rule, own, received, weights, senders=None, batch=0.0, **context):
    senders = jnp.arange(len(weights)) if senders is None else senders
    if rule is RULES["ubar"]:
        rule = ag.ubar(lambda p, b, k: sum(jnp.sum(x**2) for x in jax.tree.leaves(p)), 0.5)
    context = {"key": jax.random.key(0), "step": 0, "receiver": 0, **context}
    return ag.apply(rule, own, received, weights, senders=senders, batch=batch, **context)


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


def test_centered_clipping_equals_the_original_over_three_calls(x64):
    own, received = jnp.asarray(STORED["x"]), jnp.asarray(STORED["neighbors"])
    rule = ag.centered_clip(1.0)
    center = rule.init(own)
    for call_number in range(3):
        out, center = rule.update(own, received, STORED["weights"][1:], center)
        np.testing.assert_allclose(out, STORED[f"out__cp1_call{call_number}"], rtol=1e-12)


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


@pytest.mark.parametrize("count", [2, 3, 7, 8, 9, 12, 33])
@pytest.mark.parametrize("absent", [0, 1, 2, 3])
def test_median_and_trimmed_mean_equal_numpy(x64, count, absent):
    rng = np.random.default_rng(count)
    own, received = rng.normal(size=5), rng.normal(size=(count, 5))
    gone = rng.permutation(count)[: min(absent, count - 1)]
    weights = np.where(np.isin(np.arange(count), gone), 0, 0.01)
    rows = np.concatenate([own[None], np.delete(received, gone, 0)])
    args = (jnp.asarray(own), jnp.asarray(received), jnp.asarray(weights))
    np.testing.assert_allclose(ag.apply(ag.coordinate_median(), *args), np.median(rows, 0))
    trim = min(3, (len(rows) - 1) // 2)
    ranked = np.sort(rows, 0)[trim : len(rows) - trim]
    got = ag.apply(ag.trimmed_mean(trim), *args)
    np.testing.assert_allclose(got, ranked.mean(0), rtol=1e-12)


def test_wide_models_are_sorted_block_by_block(x64):
    rng = np.random.default_rng(0)
    own, received = rng.normal(size=(3, 3001)), rng.normal(size=(11, 3, 3001))
    rows = np.concatenate([own[None], received])
    got = ag.apply(ag.coordinate_median(), jnp.asarray(own), jnp.asarray(received))
    np.testing.assert_array_equal(got, np.median(rows, 0))
    got = ag.apply(ag.geometric_median(3), jnp.asarray(own), jnp.asarray(received))
    z = np.zeros_like(own)
    for _ in range(3):
        pull = 1 / np.maximum(np.sqrt(((z - rows) ** 2).sum((1, 2))), 0.1)
        z = np.tensordot(pull / pull.sum(), rows, 1)
    np.testing.assert_allclose(got, z, rtol=1e-9)


def test_clipping_with_no_and_with_all_bounds(x64):
    own, received, weights = case()
    free = call(ag.self_centered_clip(jnp.inf), own, received, weights)
    gossip = call(ag.weighted(), own, received, weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), free, gossip)
    still = call(ag.self_centered_clip(0.0), own, received, weights)
    jax.tree.map(np.testing.assert_array_equal, still, own)


def test_the_oracle_knows_the_honest_spread(x64):
    own, received, weights = case()
    byzantine = np.arange(6) >= 4
    gaps = jax.tree.map(lambda x, m: ((m - x) ** 2).reshape(6, -1).sum(1), own, received)
    squared = np.asarray(gaps["a"] + gaps["b"])
    delta = weights[4:].sum()
    tau = np.sqrt((weights[:4] * squared[:4]).sum() / delta)
    expected = call(ag.self_centered_clip(tau), own, received, weights)
    oracle = ag.self_centered_clip(ag.oracle_radius(byzantine))
    got = call(oracle, own, received, weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), got, expected)
    alone = ag.self_centered_clip(ag.oracle_radius(np.zeros(6, bool)))
    gossip = call(ag.weighted(), own, received, weights)
    got = call(alone, own, received, weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), got, gossip)


def test_bucketing_keeps_the_mean_and_shuffles(x64):
    own, received, _ = case()
    weights = jnp.full(6, 1 / 7)
    mean = call(ag.weighted(), own, received, weights)
    for size in (1, 2, 3):
        rule = ag.bucketing(size, ag.weighted())
        got = call(rule, own, received, weights)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), got, mean)
    lost = weights.at[2].set(0)
    spoilt = jax.tree.map(lambda leaf: leaf.at[2].set(jnp.nan), received)
    rows = [own["a"], *(received["a"][k] for k in (0, 1, 3, 4, 5))]
    got = call(ag.bucketing(2, ag.trimmed_mean(0)), own, spoilt, lost)
    np.testing.assert_allclose(got["a"], np.mean(rows, 0), rtol=1e-9)
    # a bucket of two distinct values out of (0, 1, 1, 1): the median sees more than 0 and 1
    seen = {
        float(
            call(
                ag.bucketing(2, ag.coordinate_median()),
                jnp.array([0.0]),
                jnp.array([[1.0], [2.0]]),
                jnp.full(2, 1 / 3),
                key=jax.random.key(i),
            )[0]
        )
        for i in range(20)
    }
    assert len(seen) > 1
    stateful = ag.bucketing(2, ag.centered_clip(1.0))
    assert isinstance(stateful, ag.StatefulRule)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        ag.bucketing(0, ag.weighted())


def test_ubar_follows_its_definition(x64):
    own, target = jnp.array([1.0, 0.0]), jnp.array([0.0, 0.0])
    received = jnp.array([[0.9, 0.0], [1.2, 0.0], [0.5, 0.0], [9.0, 0.0]])
    rule = ag.ubar(loss, 0.75, own_weight=0.25, learning_rate=0.1)
    got = call(rule, own, received, jnp.full(4, 0.2), batch=target)
    # near: 0.9, 1.2, 0.5; no worse than own: 0.9, 0.5; gradient of the own loss: 2
    np.testing.assert_allclose(got, [0.25 + 0.75 * 0.7 - 0.2, 0.0])
    worse = call(ag.ubar(loss, 1.0), own, received + 5.0, jnp.full(4, 0.2), batch=target)
    np.testing.assert_allclose(worse, [(1.0 + 5.5) / 2, 2.5])  # the nearest, as none is good
    with pytest.raises(ValueError, match="ubar scores models on the batch"):
        ag.apply(rule, own, received, key=jax.random.key(0), batch=None)


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
