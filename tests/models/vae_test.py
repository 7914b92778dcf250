"""Models beside flows: a VAE that stands where a flow is perturbed, and ResNet-18."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab.flows import perturb

KEY = jax.random.key(0)


def images(b=6, size=8, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=(b, size, size, 1)), jnp.float32)


def test_the_bound_of_a_vae():
    model = jc.models.vae((8, 8, 1), latents=3, hidden=(5,), weight=0.5)
    x = images()
    params = model.init(KEY, x)
    batch = jc.data.Dataset(x, jnp.zeros(6, int))
    value, _ = model.loss(params, batch, KEY)
    mean, log_variance = (np.asarray(a, float) for a in model.encode(params, x))
    noise = np.asarray(jax.random.normal(KEY, mean.shape))
    p = np.asarray(model.decode(params, jnp.asarray(mean + np.exp(log_variance / 2) * noise)))
    bits = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum((1, 2, 3))
    kl = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(1)
    np.testing.assert_allclose(value, (bits + 0.5 * kl).mean(), rtol=1e-4)
    hook = perturb.randomized(model, params, radius=0.0)
    np.testing.assert_allclose(
        hook(batch, None, KEY).x, model.decode(params, jnp.asarray(mean)), rtol=1e-5
    )
    with pytest.raises(ValueError, match="latents must be at least 1, got 0"):
        jc.models.vae((8, 8, 1), latents=0)
    with pytest.raises(ValueError, match="weight must be at least 0, got -1"):
        jc.models.vae((8, 8, 1), weight=-1)


def test_a_vae_learns():
    model = jc.models.vae((8, 8, 1), latents=4, hidden=(32,))
    data = jc.data.load("digits")
    parts = jc.data.by_client(data, [np.arange(len(data.y))])
    algorithm = jc.centralized(model.loss, optax.adam(3e-3))
    start = algorithm.init(jc.replicate(model.init(KEY, data.x), 1))
    _, log = jc.run(algorithm, start, jc.data.minibatches(parts, 32), KEY, num_rounds=100)
    assert log["loss"][-10:].mean() < 0.8 * log["loss"][:10].mean()
