"""Functions of all examples of a client, a few at a time."""

import jax.numpy as jnp
import numpy as np
import pytest

from jcollab.algorithms.representations import epochs


@pytest.mark.parametrize("size", [1, epochs.LOOPED, epochs.LOOPED + 1, 2 * epochs.LOOPED + 3])
def test_all_examples_are_seen_once_and_in_order(size):
    x = jnp.arange(2.0 * size).reshape(size, 2)
    y = jnp.arange(size)
    seen = []

    def double(part):
        seen.append(len(part))
        return 2 * part

    outputs, labels, counts = epochs.over_all(double, (x, y), (), size)
    np.testing.assert_array_equal(outputs, 2 * x)
    np.testing.assert_array_equal(labels, y)
    assert counts.shape == (size,) and counts.all()
    assert max(seen) <= epochs.LOOPED
