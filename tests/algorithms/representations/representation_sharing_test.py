"""Representation sharing as an algorithm: against a loop over clients, and its promises."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab import objectives
from jcollab.algorithms import Group
from jcollab.algorithms.representations import representation_sharing

N, C, D, IN = 4, 3, 2, 5
KEY = jax.random.key(0)
LIARS = np.array([False, False, False, True])


def features(p, x):
    return jnp.tanh(x @ p["w"])


def head(p, s):
    return s @ p["v"] + p["b"]


def group(n=N):
    return Group(features, head, n)


def build(groups=None, mixer=None, objective=None, **options):
    options = {"num_classes": C, "num_features": D} | options
    return representation_sharing(
        group() if groups is None else groups,
        optax.sgd(0.5, momentum=0.9),
        jc.server() if mixer is None else mixer,
        objective or objectives.representation_sharing(1.0, 1.0),
        **options,
    )


def params(n=N, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"w": (n, IN, D), "v": (n, D, C), "b": (n, C)}
    return {k: jnp.asarray(rng.normal(size=s), jnp.float32) for k, s in shapes.items()}


def dense(m=6, seed=1):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=(N, m, IN)), jnp.float32)
    return jc.data.Dataset(x, jnp.asarray(rng.integers(0, C, (N, m))))


def ragged(seed=1):
    """Clients with 7, 4, 5 and 2 examples; the last one lacks a class."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(16) % C, [0, 1]])
    examples = jc.data.Dataset(rng.normal(size=(18, IN)).astype(np.float32), y)
    return jc.data.by_client(examples, np.split(np.arange(18), [7, 11, 16]))


def go(algorithm, data, rounds=2, start=None, key=KEY):
    state = algorithm.init(params() if start is None else start)
    return jc.run(algorithm, state, jc.data.full_batch(data), key, num_rounds=rounds)


def shift(x, context):
    """Client i observes client i + 1."""
    return jax.tree.map(lambda leaf: jnp.roll(leaf, -1, axis=0), x)


@pytest.mark.parametrize(
    "weighting, own_share", [("clients", 0), ("samples", 0), ("clients", 1 / N)]
)
def test_equals_a_loop_over_clients(weighting, own_share):
    data, start, rounds = ragged(), params(), 2
    algorithm = build(
        observer=jc.mixing.stateless(shift),
        samples_per_class=9,
        weighting=weighting,
        own_share=own_share,
    )
    state, log = go(algorithm, data, rounds)

    own_indices = [
        np.asarray(i)[np.asarray(m)] for i, m in zip(data.indices, data.mask, strict=True)
    ]
    sets = [(data.examples.x[i], np.asarray(data.examples.y)[i]) for i in own_indices]
    models = [jax.tree.map(lambda leaf: leaf[u], start) for u in range(N)]  # noqa: B023
    speed = [jax.tree.map(jnp.zeros_like, m) for m in models]

    def cost(p, x, y, target, seen):
        total = 0.0
        for xi, yi in zip(x, y, strict=True):
            s = features(p, xi)
            q = jax.nn.softmax(head(p, s))
            total -= jnp.log(q[yi])
            if yi in target:
                total += jnp.mean((s - target[yi]) ** 2)
            for c, t in seen.items():
                h = q @ jax.nn.softmax(head(p, t))
                total -= jnp.log(h if c == yi else 1 - h) / C
        return total / len(y)

    for t in range(rounds):
        means = [
            {c: features(p, x[y == c]).mean(0) for c in range(C) if (y == c).any()}
            for p, (x, y) in zip(models, sets, strict=True)
        ]
        losses = []
        for u, (x, y) in enumerate(sets):
            target = {}
            for c in range(C):
                others = [k for k in range(N) if c in means[k] and not (own_share and k == u)]
                sizes = [(sets[k][1] == c).sum() if weighting == "samples" else 1 for k in others]
                if others:
                    target[c] = np.average([means[k][c] for k in others], 0, sizes)
            args = (x, y, target, means[(u + 1) % N])
            value, grads = jax.value_and_grad(cost)(models[u], *args)
            losses.append(value)
            speed[u] = jax.tree.map(lambda v, g: 0.9 * v + g, speed[u], grads)
        models = [
            jax.tree.map(lambda p, v: p - 0.5 * v, p, v) for p, v in zip(models, speed, strict=True)
        ]
        np.testing.assert_allclose(log["loss"][t], np.mean(losses), rtol=1e-5)
    expected = jax.tree.map(lambda *rows: jnp.stack(rows), *models)
    chex.assert_trees_all_close(state.clients.params, expected, atol=1e-5)


def test_groups_of_one_architecture_are_one_group():
    options = {"observer": jc.mixing.random_peer(), "batch_size": 3, "num_epochs": 2}
    state, log = go(build(**options), dense())
    start = params()
    parts = tuple(jax.tree.map(lambda leaf: leaf[a:b], start) for a, b in [(0, 1), (1, N)])  # noqa: B023
    algorithm = build((group(1), group(N - 1)), **options)
    apart, apart_log = go(algorithm, dense(), start=parts)
    joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *apart.clients.params)
    chex.assert_trees_all_close(joined, state.clients.params, atol=1e-6)
    chex.assert_trees_all_close(apart_log, log, atol=1e-6)


def test_architectures_may_differ_in_all_but_the_width_of_messages():
    def deep(p, x):
        return features({"w": p["w2"]}, jnp.tanh(x @ p["w"]))

    rng = np.random.default_rng(0)
    other = params(2) | {
        "w": jnp.asarray(rng.normal(size=(2, IN, 7)), jnp.float32),
        "w2": jnp.asarray(rng.normal(size=(2, 7, D)), jnp.float32),
    }
    algorithm = build((group(2), Group(deep, head, 2)), observer=jc.mixing.random_peer())
    state, log = go(algorithm, dense(), rounds=30, start=(params(2), other))
    assert log["loss"][-1] < log["loss"][0]
    assert state.clients.params[1]["w"].shape == (2, IN, 7)
    with pytest.raises(ValueError, match="features of a group must have width num_features=3"):
        go(build(num_features=3), dense())


def test_without_weight_sharing_is_independent_learning():
    alone = representation_sharing(
        group(),
        optax.sgd(0.5, momentum=0.9),
        None,
        objectives.independent(),
        num_classes=C,
        num_features=D,
        batch_size=2,
    )
    nothing = build(
        objective=objectives.representation_sharing(0.0, 0.0),
        observer=jc.mixing.random_peer(),
        batch_size=2,
    )
    expected, _ = go(alone, dense())
    state, _ = go(nothing, dense())
    chex.assert_trees_all_close(state.clients.params, expected.clients.params, rtol=1e-6)


def test_clients_learn_from_the_round_before():
    """Who learns first does not matter: what client 0 trains on changes others a round later."""
    data = dense()
    other = data._replace(x=data.x.at[0].multiply(-2.0))
    algorithm = build(mixer=jc.server(), objective=objectives.representation_sharing(1.0, 0.0))
    state = algorithm.init(params())
    a, _ = algorithm.update(state, data, KEY)
    # the same models, and so the same messages, whatever the learning rate of others is
    faster = representation_sharing(
        group(),
        optax.sgd(0.1, momentum=0.9),
        jc.server(),
        objectives.representation_sharing(1.0, 0.0),
        num_classes=C,
        num_features=D,
    )
    b, _ = faster.update(faster.init(params()), data, KEY)
    step_a = jax.tree.map(jnp.subtract, a.clients.params, params())
    step_b = jax.tree.map(jnp.subtract, b.clients.params, params())
    chex.assert_trees_all_close(step_a, jax.tree.map(lambda x: 5 * x, step_b), atol=1e-5)
    moved, _ = algorithm.update(state, other, KEY)
    assert (moved.clients.params["w"][1] != a.clients.params["w"][1]).any()


def test_fedavg_of_one_is_centralized_and_of_equals_does_nothing():
    options = {"mixer": jc.identity(), "objective": objectives.independent(), "batch_size": 2}
    whole = jax.tree.map(lambda leaf: leaf[:1], dense())
    one, start = group(1), params(1)
    alone, _ = go(build(one, **options), whole, start=start)
    averaged, _ = go(build(one, model_mixer=jc.all_reduce(), **options), whole, start=start)
    chex.assert_trees_all_close(averaged.clients.params, alone.clients.params, rtol=1e-6)
    same = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape), dense())
    full = options | {"batch_size": None}
    state, _ = go(
        build(model_mixer=jc.server(), **full), same, start=jc.replicate(start_of(start), N)
    )
    expected, _ = go(build(one, **full), whole, start=start)
    np.testing.assert_allclose(
        state.clients.params["w"], np.repeat(expected.clients.params["w"], N, 0), atol=1e-6
    )


def start_of(tree):
    return jax.tree.map(lambda leaf: leaf[0], tree)


def test_last_batch_is_smaller_and_every_example_is_seen_once():
    """With a rate near 0, a pass in batches adds up to the gradient of sums of batch means."""
    seen = []

    def objective(s, logits, labels, got, classify, key):
        return s[:, 0], {"labels": labels.astype(jnp.float32), "ones": jnp.ones(len(labels))}

    data = ragged()
    for size in (None, 1, 2, 3):
        algorithm = build(objective=objective, batch_size=size)
        frozen = representation_sharing(
            group(), optax.sgd(0.0), None, objective, num_classes=C, num_features=D, batch_size=size
        )
        assert algorithm.init(params()).step == 0
        _, log = frozen.update(frozen.init(params()), data, KEY)
        seen.append(log)
        assert log["ones"] == 1
    for log in seen[1:]:
        chex.assert_trees_all_close(log, seen[0], atol=1e-6)


def test_messages_are_released_through_the_mechanism():
    """Without noise nothing changes, with noise the messages do, on both ways."""
    expected, _ = go(build(observer=jc.mixing.random_peer()), dense())
    for scale, same in {1e-7: True, 3.0: False}.items():
        release = jc.privacy.gaussian_mechanism(scale, 10.0)
        state, _ = go(build(observer=jc.mixing.random_peer(), release=release), dense())
        gap = np.abs(state.clients.params["w"] - expected.clients.params["w"]).max()
        assert (gap < 1e-4) == same


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="groups must have at least one Group, got none"):
        build(())
    with pytest.raises(TypeError, match="groups must be Groups, got int"):
        build((3,))
    with pytest.raises(ValueError, match="clients of a group must be at least 1, got 0"):
        build(group(0))
    with pytest.raises(TypeError, match="objective must be a function, got str"):
        build(objective="code")
    for name in ("num_classes", "num_features", "batch_size", "num_epochs", "samples_per_class"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            build(**{name: 0})
    with pytest.raises(ValueError, match="message must be one of features, logits, got 'models'"):
        build(message="models")
    with pytest.raises(ValueError, match="weighting must be one of clients, samples, got 'n'"):
        build(weighting="n")
    with pytest.raises(ValueError, match="observer must be None for messages that are logits"):
        build(message="logits", observer=jc.mixing.random_peer())
    with pytest.raises(ValueError, match="model_mixer must be None"):
        build((group(2), group(2)), model_mixer=jc.server())
    with pytest.raises(ValueError, match="must be stacked for 4 clients, got 3"):
        build().init(params(3))
    with pytest.raises(ValueError, match="params must have 2 trees"):
        build((group(2), group(2))).init((params(2),))
    algorithm = build()
    state = algorithm.init(params())
    with pytest.raises(TypeError, match="batch must be ClientData, or have fields x and y"):
        algorithm.update(state, {"x": 1}, KEY)
    with pytest.raises(ValueError, match="batch must have x .* and y .*got"):
        algorithm.update(state, dense()._replace(y=jnp.zeros(N)), KEY)
    with pytest.raises(ValueError, match="batch must be stacked for the n=4 clients"):
        algorithm.update(state, jax.tree.map(lambda leaf: leaf[:3], dense()), KEY)
    with pytest.raises(ValueError, match="no observations are received"):
        algorithm.update(state, dense(), KEY)
    logits = build(objective=objectives.federated_distillation())
    with pytest.raises(ValueError, match="messages must be logits"):
        logits.update(logits.init(params()), dense(), KEY)
