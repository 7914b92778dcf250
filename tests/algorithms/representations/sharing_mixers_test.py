"""Class prototypes over mixers: robust rules, gossip, random peers, and bytes."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from jcollab.aggregators import coordinate_median, per_class, trimmed_mean
from jcollab.algorithms import bytes_exchanged
from jcollab.channels import attacks
from jcollab.objectives.prototypes import unweigh, weigh
from tests.algorithms.representations.representation_sharing_test import (
    KEY,
    LIARS,
    C,
    D,
    N,
    build,
    go,
    ragged,
)


def prototypes(seed=0):
    rng = np.random.default_rng(seed)
    counts = jnp.asarray([[2, 1, 0], [1, 0, 0], [3, 2, 0], [1, 1, 0]], jnp.float32)
    return weigh(jnp.asarray(rng.normal(size=(N, C, D)), jnp.float32), counts)


def test_a_rule_per_class_passes_over_those_without_the_class():
    sent = prototypes()
    mixer = jc.server(per_class(coordinate_median()))
    mixed, _ = mixer.update(sent, mixer.init(sent), jc.core.Round(KEY, 0))
    means, known = unweigh(mixed)
    np.testing.assert_array_equal(known[0], [True, True, False])
    np.testing.assert_allclose(means[0, 0], np.median(sent.values[:, 0], axis=0), atol=1e-6)
    have = np.array([0, 2, 3])
    np.testing.assert_allclose(means[0, 1], np.median(sent.values[have, 1], axis=0), atol=1e-6)
    assert (means[:, 2] == 0).all()
    linear = jc.neighborhood(jc.topology.complete(N), per_class(jc.aggregators.weighted()))
    mixed, _ = linear.update(sent, linear.init(sent), jc.core.Round(KEY, 0))
    plain, _ = jc.all_reduce().update(sent, (), jc.core.Round(KEY, 0))
    # a client without the class stands in with the mean of the others, which is the mean
    np.testing.assert_allclose(unweigh(mixed)[0], unweigh(plain)[0], atol=1e-6)
    with pytest.raises(TypeError, match="rule must be a Rule .*got int"):
        per_class(3)


@pytest.mark.parametrize("attack", [attacks.bit_flip(), attacks.gaussian(100.0)])
def test_false_prototypes_move_the_mean_and_not_a_robust_rule(attack):
    wire = jc.channels.byzantine(attacks.only(attack, "values"), LIARS)
    means = jnp.full((N, C, D), 2.0) + 0.01 * jax.random.normal(KEY, (N, C, D))
    sent = weigh(means, jnp.ones((N, C)))

    def received(mixer):
        return unweigh(mixer.update(sent, mixer.init(sent), jc.core.Round(KEY, 0))[0])[0]

    assert np.abs(received(jc.server(None, wire)) - 2).max() > 0.5
    for rule in (coordinate_median(), trimmed_mean(1)):
        assert np.abs(received(jc.server(per_class(rule), wire)) - 2).max() < 0.05
        graph = jc.neighborhood(jc.topology.complete(N), per_class(rule), wire)
        assert np.abs(received(graph)[~LIARS] - 2).max() < 0.05
    with pytest.raises(ValueError, match="fields must be among .*got \\['mean'\\]"):
        bad = jc.channels.byzantine(attacks.only(attack, "mean"), LIARS)
        received(jc.server(None, bad))


@pytest.mark.parametrize(
    "mixer",
    [
        jc.gossip(jc.topology.ring(N)),
        jc.server(per_class(coordinate_median()), jc.channels.drop(0.3)),
        jc.neighborhood(jc.topology.ring(N), jc.aggregators.weighted(), jc.channels.drop(0.3)),
        jc.relay_sum(jc.topology.chain(N)),
        jc.server(
            None,
            jc.channels.byzantine(attacks.only(attacks.bit_flip(), "values"), LIARS),
        ),
    ],
    ids=["gossip", "lossy server", "lossy ring", "relay", "liars"],
)
def test_runs_over_any_mixer(mixer):
    observer = jc.mixing.random_peer(channel=jc.channels.drop(0.5))
    algorithm = build(mixer=mixer, observer=observer, num_observations=2, honest=~LIARS)
    state, log = go(algorithm, ragged(), rounds=15)
    assert log["cross_entropy"][-1] < log["cross_entropy"][0]
    chex.assert_tree_all_finite(state.clients)


def test_a_gossip_target_is_the_mean_of_the_neighborhood():
    sent = prototypes()
    mixer = jc.gossip(jc.topology.ring(N))
    mixed, _ = mixer.update(sent, mixer.init(sent), jc.core.Round(KEY, 0))
    means, known = unweigh(mixed)
    for u in range(N):
        near = [k for k in ((u - 1) % N, u, (u + 1) % N) if sent.weights[k, 1] > 0]
        np.testing.assert_allclose(means[u, 1], np.mean(sent.values[near, 1], 0), atol=1e-6)
    assert not known[:, 2].any()


def test_random_peer_draws_everybody_alike_and_only_neighbors():
    x = jnp.arange(N)
    for mixer, allowed in {
        jc.mixing.random_peer(): np.ones((N, N)),
        jc.mixing.random_peer(include_self=False): 1 - np.eye(N),
        jc.mixing.random_peer(jc.topology.chain(N)): np.eye(N) + np.eye(N, k=1) + np.eye(N, k=-1),
    }.items():
        s = mixer.init(x)
        draw = jax.vmap(lambda key: mixer.update(x, s, jc.core.Round(key, 0))[0])  # noqa: B023
        got = np.asarray(draw(jax.random.split(KEY, 3000)))
        share = np.stack([(got == j).mean(0) for j in range(N)], axis=1)
        np.testing.assert_allclose(share, allowed / allowed.sum(1, keepdims=True), atol=0.04)
    lost = jc.mixing.random_peer(channel=jc.channels.drop(1.0))
    np.testing.assert_array_equal(lost.update(x, lost.init(x), jc.core.Round(KEY, 0))[0], x)


def test_bytes():
    def of(d, **options):
        up, down = bytes_exchanged(jc.server(), jc.mixing.random_peer(), 10, 10, d, **options)
        assert (up == up[0]).all() and (down == down[0]).all()
        return up[0], down[0]

    assert of(84) == (6720, 6720) and of(128) == (10240, 10240) and of(256) == (20480, 20480)
    assert of(84, num_observations=3) == (4 * 4 * 840, 4 * 4 * 840)
    assert of(84, weighting="samples") == (6760, 6720)
    up, _ = bytes_exchanged(jc.server(), None, 10, 10, 10)
    assert up[0] == 400
    up, down = bytes_exchanged(jc.gossip(jc.topology.ring(10)), None, 10, 10, 84)
    assert up[0] == down[0] == 2 * 3360
    assert bytes_exchanged(None, None, 3, 10, 84)[0].sum() == 0
