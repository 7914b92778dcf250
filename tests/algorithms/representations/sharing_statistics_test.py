"""Representation sharing of models that carry batch statistics along."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from jcollab import objectives
from jcollab.algorithms import Group
from tests.algorithms.representations.representation_sharing_test import (
    IN,
    KEY,
    C,
    N,
    build,
    dense,
    group,
    head,
    params,
    ragged,
)


@jc.stateful
def centered(p, model_state, x):
    return jnp.tanh((x - model_state) @ p["w"])


@jc.stateful
def centering(p, model_state, x, key):
    mean = x.mean(0)
    return jnp.tanh((x - mean) @ p["w"]), 0.9 * model_state + 0.1 * mean


def test_batch_statistics_are_carried_along_and_used_in_messages():
    data, start = dense(m=5), jnp.ones((N, IN))
    model = Group(centered, head, N, centering)
    mixed = []

    def spy(x):
        mixed.append(x)
        return x

    server = jc.server()
    watched = server._replace(update=lambda x, s, context: server.update(spy(x), s, context))
    algorithm = build(model, watched, objectives.representation_sharing(1.0, 0.0), batch_size=2)
    state = algorithm.init(params(), start)
    new, _ = algorithm.update(state, data, KEY)
    # messages are computed with running averages: those of before the first round
    features = np.stack(
        [centered(jax.tree.map(lambda a, i=i: a[i], params()), 1.0, data.x[i]) for i in range(N)]
    )
    sums = np.stack([[features[i][data.y[i] == c].sum(0) for c in range(C)] for i in range(N)])
    counts = np.stack([[(data.y[i] == c).sum() for c in range(C)] for i in range(N)])
    given = np.asarray(mixed[0].values) / np.maximum(np.asarray(mixed[0].weights), 1)[..., None]
    np.testing.assert_allclose(given, sums / np.maximum(counts, 1)[..., None], atol=1e-6)
    # three batches of an epoch, the last one of a single example filled up with another one
    assert new.clients.model_state.shape == (N, IN)
    rest = (new.clients.model_state - 0.9**3) / (1 - 0.9**3)
    spread = np.asarray(data.x)
    assert (rest > spread.min(1)).all() and (rest < spread.max(1)).all()


def test_statistics_are_of_a_clients_own_examples():
    data = ragged()
    algorithm = build(
        Group(centered, head, N, centering), objective=objectives.representation_sharing(1.0, 0.0)
    )
    new, _ = algorithm.update(algorithm.init(params(), jnp.ones((N, IN))), data, KEY)
    for i in range(N):
        own = np.asarray(data.examples.x)[np.asarray(data.indices[i])[np.asarray(data.mask[i])]]
        seen = (np.asarray(new.clients.model_state[i]) - 0.9) / 0.1
        assert ((seen >= own.min(0) - 1e-5) & (seen <= own.max(0) + 1e-5)).all()
        if len(own) == data.indices.shape[1]:  # nothing to fill up
            np.testing.assert_allclose(seen, own.mean(0), atol=1e-5)


def test_averaged_models_are_averaged_with_their_statistics():
    algorithm = build(
        Group(centered, head, N, centering),
        None,
        objectives.independent(),
        model_mixer=jc.server(),
    )
    new, _ = algorithm.update(algorithm.init(params(), jnp.zeros((N, IN))), dense(), KEY)
    expected = 0.1 * dense().x.mean((0, 1))
    np.testing.assert_allclose(new.clients.model_state, np.tile(expected, (N, 1)), atol=1e-6)


def test_groups_may_carry_something_or_nothing():
    groups = [Group(centered, head, 2, centering), group(2)]
    algorithm = build(groups, objective=objectives.representation_sharing(1.0, 0.0))
    both = (params(2), params(2, 1))
    new, metrics = algorithm.update(algorithm.init(both, (jnp.zeros((2, IN)), ())), dense(), KEY)
    np.testing.assert_allclose(new.clients.model_state[0], 0.1 * dense().x[:2].mean(1), atol=1e-6)
    assert new.clients.model_state[1] == () and np.isfinite(metrics["loss"])
    with pytest.raises(ValueError, match="model_state of group 0 must be stacked for 2"):
        algorithm.init(both, (jnp.zeros((3, IN)), ()))
    with pytest.raises(TypeError, match="train of a group must be a function"):
        build(Group(centered, head, N, "yes"))
