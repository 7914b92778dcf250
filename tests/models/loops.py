import jax
import jax.numpy as jnp
import numpy as np

KEY = jax.random.key(0)


def shapes(model, *shape):
    return jax.eval_shape(model.init, KEY, jnp.zeros(shape))


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def random_params(model, *shape, seed=0):
    """No parameter is 0 or 1, so that each of them matters."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0.3, 0.3, leaf.shape), leaf.dtype),
        shapes(model, *shape),
    )


def images(*shape, seed=1):
    return np.random.default_rng(seed).normal(0.2, 1, shape).astype(np.float32)


def relu(x):
    return np.maximum(x, 0)


def over_groups(x, groups, statistic):
    out = np.empty_like(x)
    size = x.shape[-1] // groups
    for b in range(len(x)):
        for g in range(groups):
            part = np.s_[b, :, :, g * size : (g + 1) * size]
            out[part] = statistic(x[part])
    return out


def group_norm(x, layer, groups):
    mean, var = over_groups(x, groups, np.mean), over_groups(x, groups, np.var)
    return (x - mean) / np.sqrt(var + 1e-5) * np.asarray(layer["scale"]) + np.asarray(layer["bias"])


def evonorm(x, layer, groups):
    gate = x / (1 + np.exp(-np.asarray(layer["v"]) * x))
    scaled = gate / np.sqrt(over_groups(x, groups, np.var) + 1e-5)
    return scaled * np.asarray(layer["scale"]) + np.asarray(layer["bias"])


def initial(model, *shape):
    # drawn by the hardware's generator, which compiles in a fraction of the time
    return jax.jit(model.init)(jax.random.key(0, impl="rbg"), jnp.zeros(shape))["params"]
