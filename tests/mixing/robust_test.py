"""Robust rules, attacks, message loss, delay, gossip and relays together."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab import aggregators as ag
from jcollab import channels
from jcollab.channels import attacks

KEY = jax.random.key(0)
N, D = 8, 3
BYZANTINE = np.arange(N) >= 6
TOPOLOGY = jc.topology.torus(2, 4)
MATRIX = jc.topology.mixing_matrix(TOPOLOGY)


def start(seed=0, scale=1.0):
    return jnp.asarray(scale * np.random.default_rng(seed).normal(size=(N, D)))


def once(mixer, x, step=0, key=KEY):
    return np.asarray(mixer.update(x, mixer.init(x), jc.core.Round(key, step))[0])


def clip(v, radius):
    length = np.linalg.norm(v)
    return v if length <= radius else v * (radius / length)


def mixed(rule, attack=None, **options):
    channel = channels.byzantine(attack, BYZANTINE) if attack else None
    return jc.neighborhood(TOPOLOGY, rule, channel, **options)


def test_no_byzantine_message_moves_a_client_by_more_than_its_weight_times_the_radius(x64):
    x, radius = start(), 0.3
    honest = once(mixed(ag.self_centered_clip(radius), lambda own, *others: own), x)
    delta = jc.topology.byzantine_weight(TOPOLOGY, BYZANTINE)
    for attack in (attacks.gaussian(100.0), attacks.dissensus(50.0), attacks.bit_flip()):
        moved = once(mixed(ag.self_centered_clip(radius), attack), x) - honest
        lengths = np.linalg.norm(moved, axis=1)[~BYZANTINE]
        assert (lengths <= delta[~BYZANTINE] * radius + 1e-12).all() and lengths.max() > 0


def test_a_common_radius_keeps_the_mean(x64):
    x = start()
    for radius in (0.1, 1.0, np.inf):
        out = once(mixed(ag.self_centered_clip(radius)), x)
        np.testing.assert_allclose(out.mean(0), x.mean(0), atol=1e-14)


@pytest.mark.parametrize(
    "attack", [attacks.gaussian(5.0), attacks.bit_flip(), attacks.inner_product_manipulation()]
)
def test_consensus_stays_under_any_attack_with_the_oracle_radius(x64, attack):
    x = jnp.ones((N, D))
    out = once(mixed(ag.self_centered_clip(ag.oracle_radius(BYZANTINE)), attack), x)
    np.testing.assert_allclose(out[~BYZANTINE], 1.0, rtol=1e-12)


def test_dissensus_freezes_and_reverses_gossip(x64):
    x = start()
    matrix, honest = np.asarray(MATRIX), ~BYZANTINE
    pull = matrix[:, honest] @ x[honest] - matrix[:, honest].sum(1)[:, None] * x
    near = honest & (matrix[:, BYZANTINE].sum(1) > 0)
    for epsilon in (1.0, 1.5):
        moved = once(mixed(ag.weighted(), attacks.dissensus(epsilon)), x) - x
        np.testing.assert_allclose(moved[near], (1 - epsilon) * pull[near], atol=1e-12)


def test_receivers_and_chunks():
    x = start()
    rule, attack = ag.coordinate_median(), attacks.alie(2.0)
    whole = once(mixed(rule, attack), x)
    for chunk in (1, 3):
        np.testing.assert_allclose(once(mixed(rule, attack, chunk=chunk), x), whole, atol=1e-6)
    some = once(mixed(rule, attack, receivers=~BYZANTINE), x)
    np.testing.assert_allclose(some[~BYZANTINE], whole[~BYZANTINE], atol=1e-6)
    np.testing.assert_array_equal(some[BYZANTINE], x[BYZANTINE])
    with pytest.raises(ValueError, match=r"receivers must be a mask, bool \[n=8\]"):
        mixed(rule, receivers=[0, 1])
    with pytest.raises(ValueError, match="receivers must have at least one"):
        mixed(rule, receivers=np.zeros(N, bool))


def test_attack_loss_and_delay_against_a_loop_over_clients(x64):
    """Clipping over messages that were turned round, come two rounds late, or get lost."""
    delay, loss, radius, width = 2, 0.3, 0.5, TOPOLOGY.neighbors.shape[1]
    wire = channels.chain(
        channels.byzantine(attacks.bit_flip(), BYZANTINE),
        channels.delayed(delay),
        channels.drop(loss),
    )
    mixer = jc.neighborhood(TOPOLOGY, ag.self_centered_clip(radius), wire)
    x, state = start(), None
    state, expected, sent = mixer.init(x), np.asarray(x), []
    for step in range(6):
        key = jax.random.fold_in(KEY, step)
        x, state = mixer.update(x, state, jc.core.Round(key, jnp.int32(step)))
        sent.append(np.where(BYZANTINE[:, None], -expected, expected))
        keys = jc.layout.client_keys(jax.random.fold_in(key, 2), N)
        kept = jax.vmap(lambda k: jax.random.uniform(k, (width,), jnp.float32))(keys) >= loss
        fresh = expected.copy()
        if step >= delay:
            for i in range(N):
                slots = [k for k in range(TOPOLOGY.degrees[i]) if kept[i, k]]
                senders = TOPOLOGY.neighbors[i, slots]
                weights = MATRIX[i, senders]
                weights = weights / (MATRIX[i, i] + weights.sum())
                for j, w in zip(senders, weights, strict=True):
                    fresh[i] += w * clip(sent[step - delay][j] - expected[i], radius)
        expected = fresh
        np.testing.assert_allclose(x, expected, atol=1e-12)


def test_a_client_without_own_weight_keeps_its_value_if_every_message_is_lost():
    swap = jc.topology.with_weights(jc.topology.chain(2), np.array([[0.0, 1.0], [1.0, 0.0]]))
    mixer = jc.neighborhood(swap, ag.weighted(), channels.drop(1.0))
    np.testing.assert_array_equal(once(mixer, jnp.array([1.0, 5.0])), [1.0, 5.0])


def test_relayed_means_through_a_rule(x64):
    """With plain weights a rule sees what the sum sees; a robust one bounds a false subtree."""
    tree, x = jc.topology.binary_tree(N), start()
    for fill in ("initial", "previous", "own", "zero", "counts"):
        plain, ruled = (jc.relay_sum(tree, fill=fill, rule=r) for r in (None, ag.weighted()))
        a, b = plain.init(x), ruled.init(x)
        value = x
        for step in range(4):
            out, a = plain.update(value, a, jc.core.Round(KEY, step))
            same, b = ruled.update(value, b, jc.core.Round(KEY, step))
            np.testing.assert_allclose(out, same, atol=1e-12)
            value = out + 0.1 * start(step)
    liar = channels.byzantine(attacks.gaussian(1e6), np.arange(N) == 7)
    for rule, bound in ((None, 1e3), (ag.self_centered_clip(0.5), None)):
        mixer = jc.relay_sum(tree, fill="own", channel=liar, rule=rule)
        out = once(mixer, x)
        moved = np.abs(out - x)[:7].max()
        assert moved > bound if rule is None else moved < 0.5
    with pytest.raises(ValueError, match="with 2 inputs.*needs at least 3"):
        jc.relay_sum(tree, rule=ag.trimmed_mean(1))


def test_a_server_with_any_rule(x64):
    x = start()
    np.testing.assert_allclose(once(jc.server(), x), np.tile(x.mean(0), (N, 1)), atol=1e-12)
    out = once(jc.server(ag.coordinate_median()), x)
    np.testing.assert_allclose(out, np.tile(np.median(x, 0), (N, 1)), atol=1e-12)
    liars = channels.byzantine(attacks.gaussian(1e6), BYZANTINE)
    for rule in (ag.krum(2), ag.geometric_median(), ag.trimmed_mean(2), ag.centered_clip(1.0)):
        assert np.abs(once(jc.server(rule, liars), x)).max() < 5
    # self-centered: around the last result, which starts at the mean
    center = np.asarray(x.mean(0))
    expected = center + sum(clip(v - center, 0.2) for v in np.asarray(x)) / N
    out = once(jc.server(ag.self_centered_clip(0.2)), x)
    np.testing.assert_allclose(out, np.tile(expected, (N, 1)), atol=1e-12)


def test_late_and_lost_messages_at_a_server(x64):
    mixer = jc.server(channel=channels.delayed(1))
    x = start()
    state = mixer.init(x)
    first, state = mixer.update(x, state, jc.core.Round(KEY, 0))
    np.testing.assert_allclose(first, np.tile(x.mean(0), (N, 1)), atol=1e-12)
    second, state = mixer.update(x + 1.0, state, jc.core.Round(KEY, 1))
    np.testing.assert_allclose(second, np.tile(x.mean(0), (N, 1)), atol=1e-12)
    chex.assert_tree_shape_prefix(state, (N,))
    everything = once(jc.server(channel=channels.drop(1.0)), x)
    np.testing.assert_allclose(everything, np.tile(x.mean(0), (N, 1)), atol=1e-12)


def loss(params, batch, key):
    return 0.5 * jnp.sum((params["w"] - batch) ** 2)


def test_gossip_relays_loss_delay_and_clipping_in_one_program():
    """Half of the coordinates are relayed, half gossiped, all clipped, late, lossy and attacked."""
    wire = channels.chain(
        channels.byzantine(attacks.alie(10.0), BYZANTINE),
        channels.delayed(1),
        channels.drop(0.1),
    )
    rule = ag.self_centered_clip(0.02)
    tree = jc.topology.spanning_tree(TOPOLOGY)
    mixer = jc.mixing.interleave(
        jc.relay_sum(tree, fill="previous", channel=wire, rule=rule),
        jc.neighborhood(TOPOLOGY, rule, wire),
    )
    algorithm = jc.decentralized(loss, optax.sgd(0.05), mixer, honest=~BYZANTINE)
    targets = jnp.broadcast_to(start(1), (60, N, D)).astype(jnp.float32)
    params = {"w": jnp.zeros((N, D))}
    state, log = jc.run(algorithm, algorithm.init(params), jc.data.stacked(targets), KEY)
    models = np.asarray(state.clients.params["w"])[~BYZANTINE]
    center = np.asarray(targets[0])[~BYZANTINE].mean(0)
    assert np.isfinite(models).all() and log["loss"][-1] < log["loss"][0]
    assert np.abs(models - center).max() < 1.5
    naive = jc.decentralized(loss, optax.sgd(0.05), jc.neighborhood(TOPOLOGY, ag.weighted(), wire))
    state, _ = jc.run(naive, naive.init(params), jc.data.stacked(targets), KEY)
    assert np.abs(np.asarray(state.clients.params["w"])[~BYZANTINE] - center).max() > 10


def test_idle_clients_do_not_learn_and_do_not_count():
    mixer = jc.identity()
    algorithm = jc.decentralized(loss, optax.sgd(0.1), mixer, learners=~BYZANTINE)
    params, batch = {"w": jnp.ones((N, D))}, jnp.zeros((N, D)).at[6:].set(100.0)
    state, log = algorithm.update(algorithm.init(params), batch, KEY)
    np.testing.assert_array_equal(state.clients.params["w"][6:], 1.0)
    np.testing.assert_allclose(state.clients.params["w"][:6], 0.9)
    np.testing.assert_allclose(log["loss"], D / 2)
    reported = jc.decentralized(loss, optax.sgd(0.1), mixer, honest=~BYZANTINE)
    state, log = reported.update(reported.init(params), batch, KEY)
    np.testing.assert_allclose(log["loss"], D / 2)
    assert (state.clients.params["w"][6:] != 1).all()
    both = jc.decentralized(loss, optax.sgd(0.1), mixer, learners=BYZANTINE, honest=~BYZANTINE)
    with pytest.raises(ValueError, match=r"honest must be among the learners"):
        both.update(both.init(params), batch, KEY)
    with pytest.raises(ValueError, match="learners must be a mask"):
        short = jc.decentralized(loss, optax.sgd(0.1), mixer, learners=BYZANTINE[:3])
        short.update(short.init(params), batch, KEY)


def test_a_sweep_over_the_radius_is_one_program():
    wire = channels.byzantine(attacks.dissensus(1.5), BYZANTINE)
    targets = jnp.broadcast_to(start(1), (20, N, D)).astype(jnp.float32)
    params = {"w": jnp.zeros((N, D))}

    def final(radius, key):
        rule = ag.self_centered_clip(radius)
        mixer = jc.neighborhood(TOPOLOGY, rule, wire)
        algorithm = jc.decentralized(loss, optax.sgd(0.1), mixer, honest=~BYZANTINE)
        state, _ = jc.run(algorithm, algorithm.init(params), jc.data.stacked(targets), key)
        return jc.metrics.among(~BYZANTINE, jc.metrics.consensus_distance)(state)

    keys = jax.random.split(KEY, 2)
    sweep = jax.jit(jax.vmap(jax.vmap(final, (None, 0)), (0, None)))
    distances = sweep(jnp.array([0.0, 0.1, 10.0]), keys)["consensus_distance"]
    assert distances.shape == (3, 2) and np.isfinite(distances).all()
    np.testing.assert_allclose(
        distances[1, 0], final(0.1, keys[0])["consensus_distance"], rtol=1e-4
    )
