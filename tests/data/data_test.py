import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from jcollab import data as jd

LABELS = jd.digits("train").y
needs_data = pytest.mark.skipif(
    not os.environ.get("JCOLLAB_DATA"), reason="JCOLLAB_DATA names no TFDS directory"
)


@pytest.mark.parametrize(
    "parts",
    [
        jd.iid(len(LABELS), 16),
        jd.by_label(LABELS, 16),
        jd.by_label(LABELS, 16, shards_per_client=2),
        jd.by_size(len(LABELS), [1, 2, 3, 10]),
        jd.dirichlet(LABELS, 16, 0.01),
        jd.dirichlet(LABELS, 16, 1.0),
        jd.dirichlet(LABELS, 3, 100.0),
    ],
)
def test_partitions_deal_every_example_once(parts):
    assert sorted(np.concatenate(parts)) == list(range(len(LABELS)))
    assert min(map(len, parts)) > 0


def test_dirichlet_goes_from_one_label_to_all():
    def labels_held(alpha):
        parts = jd.dirichlet(LABELS, 16, alpha)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        shares = [np.bincount(LABELS[p], minlength=10) / len(p) for p in parts]
        return 1 / np.mean([np.sum(s**2) for s in shares])  # effective number of labels

    assert labels_held(0.01) < 2 < labels_held(0.3) < 6 < labels_held(100.0)
    again = [jd.dirichlet(LABELS, 16, 0.1, seed=5) for _ in range(2)]
    assert all((a == b).all() for a, b in zip(*again, strict=True))


def test_by_size_and_by_label_sizes():
    assert list(map(len, jd.by_size(100, [1, 1, 2]))) == [25, 25, 50]
    one_label = jd.by_label(np.repeat(np.arange(4), 5), 4)
    assert [set(p) for p in one_label] == [set(range(5 * i, 5 * i + 5)) for i in range(4)]


def test_wrong_partitions_are_named():
    with pytest.raises(ValueError, match="alpha must be positive and finite, got 0"):
        jd.dirichlet(LABELS, 4, 0)
    with pytest.raises(ValueError, match="alpha must be positive and finite, got nan"):
        jd.dirichlet(LABELS, 4, float("nan"))
    with pytest.raises(ValueError, match="n: 5 parts of 3 examples would leave one empty"):
        jd.iid(3, 5)
    with pytest.raises(ValueError, match="client 0 is left without data"):
        jd.by_size(10, [1e-6, 1])
    with pytest.raises(ValueError, match="fractions must be positive numbers"):
        jd.by_size(10, [0, 1])
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        jd.dirichlet(LABELS, 0, 1.0)
    with pytest.raises(ValueError, match="parts: client 1 is left without data"):
        jd.client_data({"x": np.zeros(3)}, [np.array([0]), np.array([], int)])
    with pytest.raises(ValueError, match=r"client 0 names examples outside 0\.\.2"):
        jd.client_data({"x": np.zeros(3)}, [np.array([3])])
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        jd.minibatches(0)
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'valid'"):
        jd.load("digits", "valid")


def test_client_arrays_are_padded_and_masked():
    data = jd.client_data({"x": np.arange(6.0)}, [np.array([5]), np.array([0, 2, 4])])
    arrays, mask = jd.client_arrays(data)
    assert arrays["x"].tolist() == [[5, 5, 5], [0, 2, 4]]
    assert mask.tolist() == [[True, False, False], [True, True, True]]


def test_minibatches_draw_evenly_from_the_clients_own_examples():
    data = jd.client_data(jnp.arange(6), [np.array([5]), np.array([0, 2, 4])])
    sample = jd.minibatches(4)
    draws = jax.vmap(lambda key: sample(data, key, 0))(jax.random.split(jax.random.key(0), 300))
    assert set(np.unique(draws[:, 0])) == {5}
    values, counts = np.unique(draws[:, 1], return_counts=True)
    assert values.tolist() == [0, 2, 4]
    assert (abs(counts - 400) < 5 * np.sqrt(1200 * 2 / 9)).all()


def test_digits():
    train, test = jd.load("digits", "train"), jd.load("digits", "test")
    assert train.x.shape == (1437, 8, 8, 1) and test.x.shape == (360, 8, 8, 1)
    assert train.x.dtype == np.float32 and train.x.min() >= 0 and train.x.max() == 1
    assert (np.bincount(test.y) >= 33).all()


def test_unknown_and_unprepared_sets_are_named(tmp_path):
    with pytest.raises(ValueError, match="name must be 'digits' or a TFDS data set, got 'mnits'"):
        jd.load("mnits", directory=str(tmp_path))
    with pytest.raises(FileNotFoundError, match="mnist is not prepared in .*JCOLLAB_DATA"):
        jd.load("mnist", directory=str(tmp_path))


@needs_data
def test_mnist_through_tfds_and_its_cache():
    first, second = jd.load("mnist", "test"), jd.load("mnist", "test")
    assert first.x.shape == (10000, 28, 28, 1) and first.x.dtype == np.float32
    assert first.y[:5].tolist() == second.y[:5].tolist()
    np.testing.assert_array_equal(first.x, second.x)
    assert jd.load("mnist", "test", scale=False).x.dtype == np.uint8
    assert len(np.unique(first.y)) == 10 and 0.1 < first.x.mean() < 0.15


@pytest.mark.parametrize("model", [jc.models.MLP(10), jc.models.CNN(10, channels=(4, 8))])
def test_models_and_classification(model):
    batch = jax.tree.map(lambda leaf: jnp.asarray(leaf[:4]), jd.digits("train"))
    params = model.init(jax.random.key(0), batch.x)
    value, metrics = jc.objectives.classification(model.apply)(params, batch, None)
    logits = np.asarray(model.apply(params, batch.x), float)
    shifted = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    np.testing.assert_allclose(value, -shifted[np.arange(4), batch.y].mean(), rtol=1e-5)
    assert metrics["accuracy"] == np.mean(logits.argmax(1) == batch.y)
    with pytest.raises(TypeError, match="predict must be a function"):
        jc.objectives.classification(model.init(jax.random.key(0), batch.x))
