import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

import jcollab as jc
from jcollab.channels import attacks
from jcollab.core import Wire
from tests import REFERENCE

STORED = np.load(REFERENCE / "clipped_gossip/attack_unit_refs.npz")
KEY = jax.random.key(0)
LAST_OF_THREE = np.arange(3) == 2


def attacked(attack, own, messages, weights, byzantine, sent=None):
    """Messages of an attack on receiver 0."""
    wire = Wire(KEY, 0, sent, own, 0, jnp.arange(len(weights)), weights)
    return attack(own, messages, weights, byzantine, wire)


def inputs(number):
    """The stored target and honest neighbors, and byzantine slots whose honest value is junk."""
    messages = np.concatenate([STORED["good_neighbors"], np.full((number, 5), np.nan)])
    weights = STORED[f"dissensus_weights_nbyz{number}"][1:]
    byzantine = np.arange(4 + number) >= 4
    return tuple(map(jnp.asarray, (STORED["target"], messages, weights, byzantine)))


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
    np.testing.assert_allclose(attacked(attack, *inputs(number)), expected, rtol=1e-12, atol=1e-14)


def test_alie_z():
    assert attacks.alie_z(16, 5) == pytest.approx(float(STORED["alie_zmax_n16_m5"]), abs=1e-12)
    assert attacks.alie_z(50, 24) == pytest.approx(scipy.stats.norm.ppf(24 / 26))
    with pytest.raises(ValueError, match=r"byzantine must be in 0..7, got 8"):
        attacks.alie_z(16, 8)
    with pytest.raises(ValueError, match="z, or both n and byzantine, must be given"):
        attacks.alie()


def test_simple_attacks():
    own, messages = jnp.zeros(2), jnp.array([[1.0, 0.0], [2.0, 0.0], [8.0, 0.0], [5.0, 5.0]])
    weights, byzantine = jnp.full(4, 0.2), jnp.arange(4) == 3
    flipped = attacked(attacks.bit_flip(), own, messages, weights, byzantine)
    np.testing.assert_array_equal(flipped, -messages)
    noisy = attacked(attacks.gaussian(0.1), own, messages, weights, byzantine)
    assert 0 < np.abs(noisy - messages).max() < 1
    copied = attacked(attacks.mimic(), own, messages, weights, byzantine)
    np.testing.assert_array_equal(copied, messages[2])
    gone = weights.at[2].set(0)
    copied = attacked(attacks.mimic(), own, messages, gone, byzantine)
    np.testing.assert_array_equal(copied, own + messages[1])
    copied = attacked(attacks.mimic(1), own, messages, weights, byzantine, jnp.eye(4)[:, :2])
    np.testing.assert_array_equal(copied, [0.0, 1.0])


def test_one_of_several_attacks_by_a_traced_number():
    own, messages = jnp.ones(3), jnp.arange(12.0).reshape(4, 3)
    weights, byzantine = jnp.full(4, 0.2), jnp.arange(4) == 3
    several = [attacks.bit_flip(), attacks.dissensus(1.0), attacks.gaussian(1.0)]

    def chosen(index):
        return attacked(attacks.choose(several, index), own, messages, weights, byzantine)

    every = jax.jit(jax.vmap(chosen))(jnp.arange(3))
    np.testing.assert_array_equal(every[0], -messages)
    np.testing.assert_allclose(every[1][0], attacked(several[1], own, messages, weights, byzantine))
    with pytest.raises(ValueError, match="attacks must be at least one, got none"):
        attacks.choose([], 0)
    with pytest.raises(ValueError, match="index must be in 0..2, got 3"):
        attacks.choose(several, 3)
    with pytest.raises(TypeError, match=r"attacks\[1\] must be a function, got str"):
        attacks.choose([several[0], "alie"], 0)


def test_labels_are_flipped_for_the_byzantine_only():
    data = jc.data.Dataset(np.zeros((6, 1)), np.arange(6, dtype=np.int32))
    honest = jc.data.minibatches(jc.data.by_client(data, np.split(np.arange(6), 3)), 4)
    flipped = attacks.flip_labels(honest, LAST_OF_THREE, 6)
    right, wrong = (batches.draw(KEY, 0).y for batches in (honest, flipped))
    np.testing.assert_array_equal(wrong[:2], right[:2])
    np.testing.assert_array_equal(wrong[2], 5 - right[2])
    rounds = jc.data.stacked(jc.data.Dataset(np.zeros((2, 3, 1)), np.ones((2, 3), int)))
    assert attacks.flip_labels(rounds, LAST_OF_THREE, 10).length == 2
    for mask, error, message in (
        ([2], TypeError, r"must be a mask, bool \[n\], got int64"),
        (np.ones(3, bool), ValueError, "must be fewer than the n=3 clients"),
    ):
        with pytest.raises(error, match=message):
            attacks.flip_labels(honest, mask, 6)
    with pytest.raises(ValueError, match=r"byzantine must be a mask of the n=3 clients, got \[2\]"):
        attacks.flip_labels(honest, LAST_OF_THREE[1:], 6).draw(KEY, 0)


def test_sampled_clients_draw_flipped_labels():
    """Labels are 0 or 9, by client: only that of the byzantine client is wrong."""
    data = jc.data.Dataset(np.zeros((3, 1)), np.array([0, 0, 0], np.int32))
    honest = jc.data.minibatches(jc.data.by_client(data, np.split(np.arange(3), 3)), 2)

    def loss(params, batch, key):
        return jnp.sum((params - batch.y) ** 2) / 4, {"label": batch.y.mean()}

    algorithm = jc.federated(loss, optax.sgd(0.1), num_sampled=2, local_steps=2)
    batches = attacks.flip_labels(honest, LAST_OF_THREE, 10)
    _, log = jc.run(algorithm, algorithm.init(jnp.zeros((3, 1))), batches, KEY, num_rounds=8)
    # the mean over two of three clients, of which the last has label 9
    assert set(log["label"].tolist()) == {0.0, 4.5}
    rows = batches.gather(np.array([2])).rows(None, 1)
    row = jax.tree.map(lambda leaf: leaf[0], rows.own)
    assert rows.pick(row, rows.common, KEY, 0).y.tolist() == [9, 9]


@pytest.mark.parametrize("wrong", [np.zeros(5, bool), [6], [-1], np.ones(6, bool)])
def test_masks_that_do_not_fit_are_refused(wrong):
    channel = jc.channels.byzantine(attacks.bit_flip(), wrong)
    mixer = jc.neighborhood(jc.topology.ring(6), jc.aggregators.weighted(), channel)
    x = jnp.zeros((6, 2))
    with pytest.raises(ValueError, match="byzantine must"):
        mixer.update(x, mixer.init(x), jc.core.Round(KEY, 0))
    with pytest.raises(TypeError, match="attack must be a function"):
        jc.channels.byzantine(None, wrong)
