import os

import numpy as np
import pytest

import jcollab as jc

pytestmark = pytest.mark.skipif(
    not os.environ.get("JCOLLAB_DATA"), reason="JCOLLAB_DATA names no TFDS directory"
)


def test_owners_of_a_set():
    """MNIST has no owners; its labels stand for them."""
    data = jc.data.from_tfds("mnist", "label", "image", "label", split="test", clients=[7, 3])
    whole = jc.data.load("mnist", "test")
    assert list(data.names) == [3, 7]
    expected = np.concatenate([whole.x[whole.y == 3], whole.x[whole.y == 7]])
    np.testing.assert_array_equal(data.examples.x, expected)
    assert data.examples.x.dtype == np.float32 and data.examples.y.dtype == np.int32
    assert data.size.tolist() == [(whole.y == 3).sum(), (whole.y == 7).sum()]
    images = jc.data.from_tfds("mnist", "label", "image", split="test[:64]")
    assert images.examples.shape == (64, 28, 28, 1)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"client": "user"}, r"features of mnist must be among \['image', 'label'\], got \['user'"),
        ({"split": "dev"}, "split must be one of mnist, got 'dev'"),
        ({"clients": [99]}, r"clients must have examples in mnist \(test\[:64\]\), got none"),
        ({"name": "mnits"}, "name must be .* a TFDS data set, got 'mnits'"),
    ],
)
def test_wrong_arguments(change, message):
    options = {"name": "mnist", "client": "label", "x": "image", "split": "test[:64]"} | change
    with pytest.raises(ValueError, match=message):
        jc.data.from_tfds(**options)
