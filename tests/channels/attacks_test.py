import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jcollab as jc
from jcollab.channels import attacks
from tests import REFERENCE

STORED = np.load(REFERENCE / "clipped_gossip/attack_unit_refs.npz")
KEY = jax.random.key(0)


def inputs(number):
    """The stored target and honest neighbours, and byzantine slots whose honest value is junk."""
    received = np.concatenate([STORED["good_neighbors"], np.full((number, 5), np.nan)])
    weights = STORED[f"dissensus_weights_nbyz{number}"][1:]
    byzantine = np.arange(4 + number) >= 4
    return tuple(map(jnp.asarray, (STORED["target"], received, weights, byzantine)))


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(
    "name, attack",
    [
        ("dissensus1.5_nbyz{}", attacks.dissensus(1.5)),
        ("dissensus1.5_unweighted_nbyz{}", attacks.dissensus(1.5, uniform=True)),
        ("alie_zmax", attacks.alie(n=16, byzantine=5)),
        ("alie_z10.0", attacks.alie(10.0)),
        ("ipm0.1", attacks.inner_product_manipulation(0.1)),
    ],
)
def test_messages_equal_the_original(x64, name, attack, number):
    expected = STORED[name.format(number)]
    np.testing.assert_allclose(attack(*inputs(number)), expected, rtol=1e-12, atol=1e-14)


def test_alie_z():
    assert attacks.alie_z(16, 5) == pytest.approx(float(STORED["alie_zmax_n16_m5"]), abs=1e-12)
    assert attacks.alie_z(50, 24) == pytest.approx(scipy.stats.norm.ppf(24 / 26))
    with pytest.raises(ValueError, match=r"byzantine must be in 0..7, got 8 for n=16"):
        attacks.alie_z(16, 8)
    with pytest.raises(ValueError, match="z must be given"):
        attacks.alie()


def test_simple_attacks():
    own, received = jnp.zeros(2), jnp.array([[1.0, 0.0], [2.0, 0.0], [8.0, 0.0], [5.0, 5.0]])
    weights, byzantine = jnp.full(4, 0.2), jnp.arange(4) == 3
    flipped = attacks.bit_flip()(own, received, weights, byzantine)
    np.testing.assert_array_equal(flipped, -received)
    noisy = attacks.gaussian(0.1)(own, received, weights, byzantine, key=KEY)
    assert 0 < np.abs(noisy - received).max() < 1
    copied = attacks.mimic()(own, received, weights, byzantine, sent=None)
    np.testing.assert_array_equal(copied, received[2])
    gone = weights.at[2].set(0)
    copied = attacks.mimic()(own, received, gone, byzantine, sent=None)
    np.testing.assert_array_equal(copied, own + received[1])
    copied = attacks.mimic(1)(own, received, weights, byzantine, sent=jnp.eye(4)[:, :2])
    np.testing.assert_array_equal(copied, [0.0, 1.0])


def test_one_of_several_attacks_by_a_traced_number():
    own, received = jnp.ones(3), jnp.arange(12.0).reshape(4, 3)
    weights, byzantine = jnp.full(4, 0.2), jnp.arange(4) == 3
    several = [attacks.bit_flip(), attacks.dissensus(1.0), attacks.gaussian(1.0)]

    def messages(index):
        return attacks.choose(several, index)(own, received, weights, byzantine, key=KEY)

    every = jax.jit(jax.vmap(messages))(jnp.arange(3))
    np.testing.assert_array_equal(every[0], -received)
    np.testing.assert_allclose(every[1][0], several[1](own, received, weights, byzantine))
    with pytest.raises(ValueError, match="at least one attack"):
        attacks.choose([], 0)


def test_labels_are_flipped_for_the_byzantine_only():
    data = jc.data.Dataset(np.zeros((6, 1)), np.arange(6, dtype=np.int32))
    clients = jc.data.client_data(data, np.split(np.arange(6), 3))
    sample = jc.data.minibatches(4)
    honest = sample(clients, KEY, 0)
    flipped = attacks.flip_labels(sample, [2], 6)(clients, KEY, 0)
    np.testing.assert_array_equal(flipped.y[:2], honest.y[:2])
    np.testing.assert_array_equal(flipped.y[2], 5 - honest.y[2])


@pytest.mark.parametrize("wrong", [np.zeros(5, bool), [6], [-1], np.ones(6, bool)])
def test_masks_that_do_not_fit_are_refused(wrong):
    channel = jc.channels.byzantine(attacks.bit_flip(), wrong)
    mixer = jc.neighborhood(jc.topology.ring(6), jc.aggregators.weighted(), channel)
    x = jnp.zeros((6, 2))
    with pytest.raises(ValueError, match="byzantine must"):
        mixer.update(x, mixer.init(x), jc.core.Round(KEY, 0))
    with pytest.raises(TypeError, match="attack must be a function"):
        jc.channels.byzantine(None, wrong)
