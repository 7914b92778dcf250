import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from jcollab.objectives import prototypes
from tests import REFERENCE

FOLDER = REFERENCE / "rep_sharing"
KEY = jax.random.key(0)


def ragged():
    recorded = np.load(FOLDER / "aggregation.npz")
    width = max(len(recorded[f"lab{u}"]) for u in range(3))
    values, labels, mask = np.full((3, width, 6), np.nan), np.zeros((3, width), int), []
    values = np.zeros((3, width, 6))
    for u in range(3):
        size = len(recorded[f"lab{u}"])
        values[u, :size], labels[u, :size] = recorded[f"feat{u}"], recorded[f"lab{u}"]
        mask.append(np.arange(width) < size)
    return recorded, jnp.asarray(values), jnp.asarray(labels), jnp.asarray(np.array(mask))


def test_aggregates_of_ragged_clients_equal_the_recorded(x64):
    recorded, values, labels, mask = ragged()
    means, counts = jax.vmap(lambda v, y, m: prototypes.class_means(v, y, 4, m))(
        values, labels, mask
    )
    np.testing.assert_array_equal(counts, recorded["counts"])
    absent = np.isnan(recorded["client_means"])
    np.testing.assert_allclose(
        np.where(absent, np.nan, means), recorded["client_means"], atol=1e-14
    )
    assert (np.asarray(means)[absent] == 0).all() and absent.any()
    for by, name in {"clients": "mean_of_means", "samples": "pooled_mean"}.items():
        sent = prototypes.weigh(means, counts, by)
        mixer = jc.server()
        mixed, _ = mixer.update(sent, mixer.init(sent), jc.core.Round(KEY, 0))
        target, known = prototypes.unweigh(mixed)
        assert known.all()
        np.testing.assert_allclose(
            target, np.broadcast_to(recorded[name], target.shape), atol=1e-14
        )
        if by == "clients":
            target, known = prototypes.unweigh(mixed, sent, 1 / 3)
            expected = recorded["leave_one_out_mean_of_means"]
            np.testing.assert_array_equal(known, ~np.isnan(expected).any(-1))
            np.testing.assert_allclose(target[known], expected[np.asarray(known)], atol=1e-13)


def test_means_of_equal_counts_agree_and_leave_one_out_ignores_the_own():
    rng = np.random.default_rng(0)
    values, labels = jnp.asarray(rng.normal(size=(3, 8, 2))), jnp.tile(jnp.arange(4), (3, 2))

    def targets(values, by, share=0.0):
        means, counts = jax.vmap(lambda v, y: prototypes.class_means(v, y, 4))(values, labels)
        sent = prototypes.weigh(means, counts, by)
        mixed, _ = jc.all_reduce().update(sent, (), jc.core.Round(KEY, 0))
        return prototypes.unweigh(mixed, sent, share)[0], means

    (by_client, means), (by_sample, _) = targets(values, "clients"), targets(values, "samples")
    np.testing.assert_allclose(by_client, by_sample, atol=1e-6)
    np.testing.assert_allclose(by_client[0], targets(values[::-1], "clients")[0][0], atol=1e-6)
    rest, _ = targets(values, "clients", 1 / 3)
    np.testing.assert_allclose(rest, (3 * by_client - means) / 2, atol=1e-6)
    np.testing.assert_allclose(
        rest[0], targets(values.at[0].set(9.0), "clients", 1 / 3)[0][0], atol=1e-5
    )


def test_a_class_that_one_client_alone_has_is_unknown_to_it_without_its_own_part():
    counts = jnp.zeros((3, 1)).at[0].set(1001.0)
    sent = prototypes.weigh(jnp.ones((3, 1, 2)), counts, "samples")
    mixed, _ = jc.all_reduce().update(sent, (), jc.core.Round(KEY, 0))
    means, known = prototypes.unweigh(mixed, sent, 1 / 3)
    np.testing.assert_array_equal(known[:, 0], [False, True, True])
    assert (means[0] == 0).all() and np.allclose(means[1:], 1)


def test_few_samples_are_drawn_without_replacement():
    rng = np.random.default_rng(0)
    labels, mask = jnp.asarray(rng.integers(0, 3, 30)), jnp.arange(30) < 25
    values = jnp.asarray(2.0 ** jnp.arange(30))[:, None]  # a sum shows which ones are in it
    means, counts = prototypes.few_sample_means(KEY, values, labels, 4, 3, mask)
    whole, sizes = prototypes.class_means(values, labels, 4, mask)
    np.testing.assert_array_equal(counts, np.minimum(sizes, 3))
    for c in range(4):
        total = round(float(means[c, 0] * counts[c]))
        chosen = [j for j in range(30) if total >> j & 1]
        assert len(chosen) == counts[c] and all(labels[j] == c and mask[j] for j in chosen)
    other, _ = prototypes.few_sample_means(jax.random.key(1), values, labels, 4, 3, mask)
    assert (other != means).any()
    everything, _ = prototypes.few_sample_means(KEY, values, labels, 4, 25, mask)
    np.testing.assert_array_equal(everything, whole)
