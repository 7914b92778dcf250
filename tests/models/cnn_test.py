import jax
import jax.numpy as jnp

import jcollab as jc


def test_the_network_of_the_alignment_paper_has_its_parameters():
    """Two 5 x 5 convolutions without padding and one dense layer, 47 classes: 100,271 in all."""
    model = jc.models.CNN(47, hidden=(), padding="VALID")
    params = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 100_271
