import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from jcollab import data as jd

needs_data = pytest.mark.skipif(
    not os.environ.get("JCOLLAB_DATA"), reason="JCOLLAB_DATA names no TFDS directory"
)


def test_digits(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    train, test = jd.load("digits", "train"), jd.load("digits", "test")
    assert train.x.shape == (1437, 8, 8, 1) and test.x.shape == (360, 8, 8, 1)
    assert train.x.dtype == np.float32 and train.x.min() >= 0 and train.x.max() == 1
    assert (np.bincount(test.y) >= 33).all()
    again = jd.load("digits", "train")  # from files
    for left, right in zip(train, again, strict=True):
        assert left.dtype == right.dtype and left.flags.writeable and right.flags.writeable
        np.testing.assert_array_equal(left, right)


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


def test_stored_bytes_are_the_same_kind_of_array_decoded_and_from_the_cache(tmp_path, monkeypatch):
    class Items(list):
        def __getitems__(self, places):
            return [self[i] for i in places]

    class Builder:
        data_dir = tmp_path

        def as_data_source(self, split):
            images = np.arange(32, dtype=np.uint8).reshape(2, 4, 4, 1)
            return Items({"image": image, "label": i} for i, image in enumerate(images))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jd.datasets, "prepared", lambda name, directory: Builder())
    decoded, cached = (jd.load("squares", scale=False) for _ in range(2))
    for left, right in zip(decoded, cached, strict=True):
        assert (type(left), left.dtype) == (type(right), right.dtype)
        assert left.flags.writeable == right.flags.writeable
        np.testing.assert_array_equal(left, right)
    with pytest.raises(ValueError, match="scale must be True for 'digits'"):
        jd.load("digits", scale=False)


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
