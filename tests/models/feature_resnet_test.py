"""Residual networks in two parts: sizes, and what they carry along."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc


@pytest.mark.parametrize(
    ("depth", "channels", "width", "parameters"), [(9, 1, 128, 2_470_730), (18, 3, 256, 11_302_730)]
)
def test_residual_networks_with_features_have_the_sizes_of_the_source(
    depth, channels, width, parameters
):
    model = jc.models.FeatureResNet(depth, num_features=width)
    x = jnp.zeros((2, 32, 32, channels))
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == parameters
    features, head, train = jc.models.parts_with_statistics(model)
    s, new = jax.eval_shape(train, shapes["params"], shapes["batch_stats"], x, None)
    chex.assert_trees_all_equal_shapes(new, shapes["batch_stats"])
    assert s.shape == (2, width)
    assert jax.eval_shape(head, shapes["params"], s).shape == (2, 10)
    assert jax.eval_shape(features, shapes["params"], new, x).shape == (2, width)


def test_features_with_statistics_are_those_of_the_module():
    model = jc.models.FeatureResNet(9, num_features=4)
    x = jax.random.normal(jax.random.key(1), (3, 16, 16, 1))
    variables = model.init(jax.random.key(0), x)
    features, head, train = jc.models.parts_with_statistics(model)
    params, model_state = variables["params"], variables["batch_stats"]
    s = features(params, model_state, x)
    assert (jnp.abs(s) < 1).all()
    np.testing.assert_allclose(head(params, s), model.apply(variables, x), atol=1e-6)
    _, new = train(params, model_state, x, jax.random.key(0))
    (first, *_), (before, *_) = jax.tree.leaves(new), jax.tree.leaves(model_state)
    assert not jnp.allclose(first, before)
    with pytest.raises(ValueError, match="depth must be one of 9, 18, got 34"):
        jc.models.FeatureResNet(34).init(jax.random.key(0), x)
    with pytest.raises(ValueError, match="images must be at least 16 x 16"):
        model.init(jax.random.key(0), x[:, :8])
