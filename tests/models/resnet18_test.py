import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from jcollab.flows import perturb

KEY = jax.random.key(0)


def images(b=6, size=8, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=(b, size, size, 1)), jnp.float32)


def test_resnet18_has_the_parameters_of_the_paper():
    shapes = jax.eval_shape(jc.models.ResNet18().init, KEY, jnp.zeros((1, 32, 32, 3)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == 11_173_962


def test_statistics_change_in_training_only():
    """An attack evaluates the classifier S + 1 times, and the step moves the averages once."""
    model = jc.models.ResNet18(3, width=2, blocks=(1, 1))
    predict, train = jc.models.with_statistics(model)
    x = images()
    variables = model.init(KEY, x)
    params, model_state = variables["params"], variables["batch_stats"]
    batch = jc.data.Dataset(x, jnp.arange(6) % 3)
    attack = perturb.pgd(predict, radius=0.1, step_size=0.05, num_steps=2)
    loss = jax.jit(jc.objectives.classification(predict, augment=attack, train=train))
    _, new, _ = loss(params, model_state, batch, KEY)
    model = jc.core.Model(params, model_state)
    seen = attack(batch, model, jax.random.split(KEY)[0])
    _, once = train(params, model_state, seen.x, KEY)
    chex.assert_trees_all_close(new, once, rtol=1e-4, atol=1e-6)
    moved = [
        bool((a != b).any()) for a, b in zip(*map(jax.tree.leaves, (model_state, new)), strict=True)
    ]
    assert moved and all(moved)
    with pytest.raises(TypeError, match="model must be a flax module, got int"):
        jc.models.with_statistics(3)
