import jax.numpy as jnp
import numpy as np
import pytest

from jcollab.aggregators import apply, coordinate_median, per_class, weighted
from jcollab.objectives.prototypes import Prototypes


def test_a_class_is_aggregated_over_those_that_have_it():
    """Class 0 is everybody's, class 1 is of the messages alone, class 2 is nobody's."""
    counts = np.array([[2.0, 0, 0], [1, 4, 0], [1, 2, 0]])
    means = np.random.default_rng(0).normal(size=(3, 3, 5))
    values = jnp.asarray(means * counts[..., None])
    own = Prototypes(values[0], jnp.asarray(counts[0]))
    messages, weights = Prototypes(values[1:], jnp.asarray(counts[1:])), jnp.array([0.3, 0.2])
    mixed = apply(per_class(weighted()), own, messages, weights)
    expected = [np.average(means[:, 0], 0, [0.5, 0.3, 0.2]), np.average(means[1:, 1], 0, [3, 2])]
    np.testing.assert_allclose(mixed.values, [*expected, np.zeros(5)], atol=1e-6)
    assert mixed.weights.tolist() == [1, 1, 0]
    middle = apply(per_class(coordinate_median()), own, messages, weights)
    np.testing.assert_allclose(middle.values[0], np.median(means[:, 0], 0), atol=1e-6)
    np.testing.assert_array_equal(middle.values[2], 0)
    with pytest.raises(TypeError, match="messages must be Prototypes, got"):
        apply(per_class(weighted()), jnp.zeros(3), jnp.zeros((2, 3)))
    with pytest.raises(TypeError, match="rule must be a Rule .*got the function <lambda>"):
        per_class(lambda own, messages, weights, context: own)
