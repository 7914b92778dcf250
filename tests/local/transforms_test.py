"""Rates by communication round."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab.core import round_keys

KEY, N, D, T, H = jax.random.key(0), 4, 2, 8, 2
RATES = 1.7 * 0.5 ** np.arange(T)  # 1.7 ... 0.013


def loss(params, batch, key):
    return 0.05 * jnp.sum((params - batch) ** 2)


def falling(t):
    return optax.sgd(optax.exponential_decay(1.7, 1, 0.5)(t), momentum=0.9)


@pytest.mark.parametrize("keep", [False, True])
def test_every_local_step_of_a_round_has_the_rate_of_the_round(keep, x64):
    """Two of four clients are sampled, and their momenta are kept or not."""
    batches = np.random.default_rng(0).normal(size=(T, N, H, D))
    algorithm = jc.federated(
        loss, jc.local.by_round(falling), local_steps=H, num_sampled=2, keep_opt_state=keep
    )
    state = algorithm.init(jnp.ones((N, D)))
    state, _ = jc.run(algorithm, state, jc.data.stacked(jnp.asarray(batches)), KEY)
    x, kept, counts = np.ones(D), np.zeros((N, D)), np.zeros(N, int)
    for t in range(T):
        choose_key = jax.random.split(round_keys(KEY, t)[1])[0]
        chosen, models = np.asarray(algorithm.cohort.choose(choose_key, N)), []
        counts[chosen] += 1
        for i in chosen:
            y, trace = x.copy(), kept[i] if keep else np.zeros(D)
            for k in range(H):
                trace = 0.9 * trace + 0.1 * (y - batches[t, i, k])
                y = y - RATES[t] * trace
            kept[i] = trace
            models.append(y)
        x = np.mean(models, 0)
    assert len(set(counts)) > 1  # clients are sampled unequally often
    np.testing.assert_allclose(state.shared.params, x, rtol=1e-10)


def test_it_is_an_optax_optimizer_that_needs_the_round():
    optimizer = optax.chain(optax.clip(1.0), jc.local.by_round(lambda t: optax.polyak_sgd(t + 1.0)))
    state = optimizer.init(jnp.zeros(2))
    grads = jnp.array([3.0, -0.5])
    updates, _ = optimizer.update(grads, state, jnp.zeros(2), value=9.0, step=2)
    np.testing.assert_allclose(updates, [-3.0, 1.5])  # min(3, 9 / 1.25) times the clipped gradient
    with pytest.raises(ValueError, match="step must be given to by_round"):
        optimizer.update(grads, state, jnp.zeros(2), value=9.0)
    with pytest.raises(TypeError, match="build must return an optax.GradientTransformation"):
        jc.local.by_round(optax.linear_schedule(0.1, 0.0, 9)).init(jnp.zeros(2))
    with pytest.raises(TypeError, match="build must be a function"):
        jc.local.by_round(optax.sgd(0.1))
