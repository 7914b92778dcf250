import functools

import jax
import jax.numpy as jnp
import numpy as np

from jcollab import flows

KEY = jax.random.key(0)


@functools.cache
def small(**options):
    return flows.glow(**({"levels": 2, "steps": 2, "width": 8} | options))


FLOWS = {
    "full": {"levels": 2, "steps": 2, "width": 6},
    "lu": {"levels": 1, "steps": 2, "width": 6, "convolution": "lu"},
    "corrected": {"levels": 1, "steps": 2, "width": 6, "decoding": "corrected", "remat": True},
    "conditional": {"levels": 1, "steps": 2, "width": 6, "num_classes": 3},
}


def make(name, shape=(3, 4, 4, 1), dtype=None):
    """A flow, parameters that are all away from their start, images and a condition."""
    if name == "coupling":
        flow = flows.coupling_flow(blocks=2, hidden=5, num_classes=3)
    else:
        flow = small(**FLOWS[name])
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(size=(32, *shape[1:])), dtype)
    condition = None
    if flow.num_classes is not None:
        condition = jax.nn.one_hot(jnp.arange(32) % 3, 3, dtype=x.dtype)
    params = flow.init(KEY, x, condition)
    moved = jax.tree.map(
        lambda leaf: leaf + 0.05 * jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), params
    )
    return flow, moved, *jax.tree.map(lambda leaf: leaf[: shape[0]], (x, condition))
