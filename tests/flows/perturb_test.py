"""Perturbations in latent space: recorded traces, exact balls, and hooks in any algorithm."""

import json
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab.core import Model
from jcollab.data import Dataset
from jcollab.flows import ascent, perturb
from tests.flows.recorded import (
    HERE,
    KEY,
    TAG,
    cross_entropy,
    first,
    last,
    predict,
    recorded,
    recorded_problem,
)

RECORDED = json.loads((HERE / "reference.json").read_text())[TAG]
SETTINGS = {
    "l2": {"radius": 1.0, "step_size": 0.5, "num_steps": 3, "norm": "l2"},
    "linf": {"radius": 0.3, "step_size": 0.1, "num_steps": 5, "norm": "linf"},
}


@pytest.mark.parametrize("start", ["zero", "rs"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_attacks_are_the_recorded_ones(norm, start):
    flow, flow_params, predict, own, x, noise = recorded_problem()
    traces, expected = recorded(f"{TAG}_pert"), RECORDED["adv"][f"{norm}_{start}"]
    labels = jnp.argmax(predict(own, x), -1)
    z, _ = flow.encode(flow_params, x, noise)

    def loss(delta):
        return cross_entropy(predict(own, flow.decode(flow_params, z + delta)), labels).mean()

    begin = last(traces[f"{norm}_{start}_start"]) if start == "rs" else jnp.zeros_like(z)
    delta = jax.jit(lambda d: ascent.ascend(loss, d, **SETTINGS[norm]))(begin)
    np.testing.assert_allclose(first(delta), traces[f"{norm}_{start}_delta"], atol=3e-6)
    decoded = flow.decode(flow_params, z + delta)
    np.testing.assert_allclose(first(decoded), traces[f"{norm}_{start}_xpert"], rtol=1e-5)
    np.testing.assert_allclose(loss(delta), expected["loss_after"], rtol=1e-5)
    sizes = np.asarray(ascent.lengths(delta)).ravel()
    np.testing.assert_allclose(sizes, expected["delta_l2"], rtol=1e-5)
    np.testing.assert_allclose(jnp.abs(delta).max((1, 2, 3)), expected["delta_linf"], rtol=1e-5)


@pytest.mark.parametrize("name", ["gauss_std0.2_noproj", "gauss_std20_l2proj20"])
def test_random_perturbations_are_the_recorded_ones(name):
    flow, flow_params, _, _, x, noise = recorded_problem()
    traces = recorded(f"{TAG}_pert")
    std, norm = (0.2, None) if "0.2" in name else (20.0, "l2")
    z, _ = flow.encode(flow_params, x, noise)
    delta = ascent.project(std * last(traces["rand_noise"]), std, norm)
    decoded = jnp.clip(flow.decode(flow_params, z + delta), 0, 1)
    np.testing.assert_allclose(first(decoded), traces[f"rand_{name}"], rtol=1e-5, atol=1e-6)
    sizes = np.asarray(ascent.lengths(delta)).ravel()
    np.testing.assert_allclose(sizes, RECORDED["rand"][name]["delta_l2"], rtol=1e-5)


class Doubling(NamedTuple):
    """``z = 2 x + noise``, undone with the same noise."""

    num_classes: int | None = None

    def encode(self, params, x, noise=None, condition=None):
        return params * x + noise, None

    def decode(self, params, z, noise=None, condition=None):
        return (z - noise) / params

    def noise(self, key, x):
        return jax.random.uniform(key, x.shape)


FLOW, TWO = Doubling(), jnp.float32(2.0)


def example(b=4, d=3, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.uniform(0.2, 0.8, (b, d, 1, 1)), jnp.float32)
    params = jnp.asarray(rng.normal(size=(d, classes)), jnp.float32)
    return Dataset(x, jnp.asarray(rng.integers(0, classes, b))), params


def hooks(radius, **options):
    attack = {"radius": radius, "step_size": radius / 2} | options
    return {
        "randomized": perturb.randomized(FLOW, TWO, radius=radius, **options),
        "away": perturb.away(FLOW, TWO, radius=radius, **options),
        "adversarial": perturb.adversarial(predict, FLOW, TWO, **attack),
        "pgd": perturb.pgd(predict, **attack),
    }


def test_random_perturbations_are_normal_before_they_are_projected():
    batch, params = example(b=3000)
    moved = perturb.randomized(FLOW, TWO, radius=0.3, norm=None, clamp=None)(
        batch, Model(params), KEY
    )
    latent = np.asarray(2 * (moved.x - batch.x)).ravel() / 0.3
    n = len(latent)
    assert abs(latent.mean()) < 5 / np.sqrt(n)
    assert abs(latent.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((np.abs(latent) < 1).mean() - 0.6827) < 5 * np.sqrt(0.6827 * 0.3173 / n)


@pytest.mark.parametrize("name", ["randomized", "away", "adversarial", "pgd"])
def test_hooks_keep_labels_and_radius(name):
    batch, params = example()
    moved = jax.jit(hooks(0.1, norm="linf")[name])(batch, Model(params), KEY)
    np.testing.assert_array_equal(moved.y, batch.y)
    latent = (1 if name == "pgd" else 2) * (moved.x - batch.x)
    assert 0.05 < jnp.abs(latent).max() <= 0.1 * (1 + 1e-5)
    if name == "away":
        assert (moved.x >= batch.x - 1e-6).all()  # latents are positive
    still = hooks(0.0, norm="linf")[name](batch, Model(params), KEY)
    np.testing.assert_allclose(still.x, batch.x, atol=1e-6)  # the noise is undone
    never = hooks(0.1, norm="linf", ratio=0.0)[name](batch, Model(params), KEY)
    np.testing.assert_array_equal(never.x, batch.x)
    near = hooks(5.0, norm="l2", clip=0.01)[name](batch, Model(params), KEY)
    assert ascent.lengths(near.x - batch.x).max() <= 0.01 * (1 + 1e-5)
    inside = hooks(5.0, norm="l2", clamp=(0.0, 1.0))[name](batch, Model(params), KEY)
    assert inside.x.min() >= 0 and inside.x.max() <= 1


def test_a_function_gives_the_start_of_attacks():
    batch, params = example()
    options = {"radius": 0.1, "step_size": 0.1, "num_steps": 0, "norm": "linf", "clamp": None}
    options["start"] = lambda z, key: jnp.where(z > 0, 0.05, 7.0)
    moved = perturb.pgd(predict, **options)(batch, Model(params), KEY)
    expected = batch.x + np.where(batch.x > 0, 0.05, 0.1)  # 7 lies outside of the ball
    np.testing.assert_allclose(moved.x, expected, rtol=1e-6)
    moved = perturb.adversarial(predict, FLOW, TWO, **options)(batch, Model(params), KEY)
    latent = np.asarray(2 * (moved.x - batch.x))  # latents are twice the image and positive
    np.testing.assert_allclose(latent, np.full_like(latent, 0.05), atol=1e-5)


def test_samples_do_not_interact():
    """Perturbing a batch in another order perturbs it alike, up to the random draws."""
    batch, params = example()
    attack = perturb.pgd(predict, radius=0.1, step_size=0.05, norm="l2", start="zero")
    order = jnp.array([2, 0, 3, 1])
    both = (
        attack(batch, Model(params), KEY).x[order],
        attack(jax.tree.map(lambda leaf: leaf[order], batch), Model(params), KEY).x,
    )
    np.testing.assert_allclose(*both, rtol=1e-6)


def test_attacks_raise_the_loss_of_their_labels():
    batch, params = example(b=64)
    own = jnp.argmax(predict(params, batch.x), -1)
    for labels, target in (("own", own), ("true", batch.y)):
        attack = perturb.adversarial(
            predict, FLOW, TWO, radius=0.2, step_size=0.1, norm="l2", labels=labels, clamp=None
        )
        moved = attack(batch, Model(params), KEY)
        before, after = (cross_entropy(predict(params, x), target) for x in (batch.x, moved.x))
        assert (after > before).mean() > 0.99
    noise = perturb.randomized(FLOW, TWO, radius=0.2, norm="l2")(batch, Model(params), KEY)
    random = cross_entropy(predict(params, noise.x), batch.y).mean()
    assert random < after.mean()


def test_the_hook_sees_what_a_model_carries_and_leaves_it_alone():
    """Batch statistics: the attack evaluates, the training step alone updates."""
    batch, params = example()

    def scaled(params, model_state, x):
        return predict(params, x) * model_state

    def train(params, model_state, x, key):
        return predict(params, x), model_state + 1

    scaled = jc.stateful(scaled)
    attack = perturb.adversarial(scaled, FLOW, TWO, radius=0.1, step_size=0.05)
    loss = jc.objectives.classification(scaled, augment=attack, train=jc.stateful(train))
    value, model_state, metrics = loss(params, jnp.float32(3.0), batch, KEY)
    assert model_state == 4 and metrics.keys() == {"accuracy"}
    augment_key, _ = jax.random.split(KEY)
    moved = attack(batch, Model(params, jnp.float32(3.0)), augment_key)
    expected = cross_entropy(predict(params, moved.x), batch.y).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    state = jc.centralized(loss, optax.sgd(0.1)).init(params[None], jnp.zeros(1))
    state, _ = jc.centralized(loss, optax.sgd(0.1)).update(
        state, jax.tree.map(lambda leaf: leaf[None], batch), KEY
    )
    np.testing.assert_array_equal(state.shared.model_state, 1)


def test_no_gradient_flows_through_the_attack():
    batch, params = example()
    attack = perturb.pgd(predict, radius=0.1, step_size=0.05)
    loss = jc.objectives.classification(predict, augment=attack)
    augment_key, _ = jax.random.split(KEY)
    moved = attack(batch, Model(params), augment_key)
    plain = jc.objectives.classification(predict)
    both = (
        jax.grad(f, has_aux=True)(params, b, KEY)[0] for f, b in ((loss, batch), (plain, moved))
    )
    np.testing.assert_allclose(*both, rtol=1e-6)


@pytest.mark.parametrize("name", ["randomized", "adversarial"])
def test_any_algorithm_trains_with_perturbations(name):
    """Gossip, federated, D-BAT: every client draws its own, and attacks its own model."""
    n, b = 3, 4
    batch, params = example(b=n * 2 * b)
    stacked = jax.tree.map(lambda leaf: leaf.reshape(n, 2 * b, *leaf.shape[1:]), batch)
    models = jc.replicate(params, n)
    hook = hooks(0.1)[name]
    loss = jc.objectives.classification(predict, augment=hook)
    sgd = optax.sgd(0.1)
    gossip = jc.decentralized(loss, sgd, jc.gossip(jc.topology.ring(n)))
    state, log = gossip.update(gossip.init(models), stacked, KEY)
    own = [
        loss(params, jax.tree.map(lambda leaf: leaf[i], stacked), key)[0]  # noqa: B023
        for i, key in enumerate(jc.layout.client_keys(jax.random.split(KEY)[0], n))
    ]
    np.testing.assert_allclose(log["loss"], np.mean(own), rtol=1e-5)
    fed = jc.federated(loss, sgd, local_steps=2)
    steps = jax.tree.map(lambda leaf: leaf.reshape(n, 2, b, *leaf.shape[2:]), stacked)
    state, log = fed.update(fed.init(models), steps, KEY)
    chex.assert_tree_all_finite((state, log))

    class Both(NamedTuple):
        x: jax.Array
        y: jax.Array
        unlabeled: jax.Array

    diverse = jc.dbat(loss, predict, sgd, alpha=0.5, member_rounds=1)
    state, log = diverse.update(diverse.init(models), Both(*stacked, stacked.x), KEY)
    chex.assert_tree_all_finite((state, log))


def test_augmentations_in_turn():
    batch, params = example()
    model = Model(params)

    def shift(batch, model, key):
        return batch._replace(x=batch.x + model.params[0, 0])

    both = jc.objectives.in_turn(jc.objectives.on_inputs(lambda x, key: 2 * x), shift)
    np.testing.assert_allclose(both(batch, model, KEY).x, 2 * batch.x + params[0, 0])
    assert jc.objectives.in_turn()(batch, model, KEY) is batch
    noisy = jc.objectives.on_inputs(lambda x, key: x + jax.random.uniform(key))
    moved = jc.objectives.in_turn(noisy, noisy)(batch, model, KEY).x - batch.x
    draws = [jax.random.uniform(jax.random.fold_in(KEY, i)) for i in range(2)]
    np.testing.assert_allclose(moved, np.full(moved.shape, sum(draws)), rtol=1e-5)
    with pytest.raises(TypeError, match=r"augments\[1\] must be a function, got int"):
        jc.objectives.in_turn(shift, 3)
    with pytest.raises(TypeError, match="function must be a function, got int"):
        jc.objectives.on_inputs(3)


def test_bad_input_is_named():
    for build, message in [
        (lambda: perturb.randomized(FLOW, TWO, radius=-1.0), "radius must be at least 0, got -1"),
        (lambda: perturb.randomized(FLOW, TWO, radius=1, norm="l1"), "norm must be one of"),
        (lambda: perturb.away(FLOW, TWO, radius=1, ratio=2), r"ratio must be in \[0, 1\], got 2"),
        (lambda: perturb.pgd(predict, radius=1, step_size=-1), "step_size must be at least 0"),
        (
            lambda: perturb.pgd(predict, radius=1, step_size=1, start="one"),
            "start must be one of random, zero, got 'one'",
        ),
        (
            lambda: perturb.pgd(predict, radius=1, step_size=1, labels="no"),
            "labels must be one of",
        ),
        (
            lambda: perturb.pgd(predict, radius=1, step_size=1, clamp=(1, 0)),
            "clamp must be .low, high.",
        ),
        (lambda: perturb.pgd(predict, radius=1, step_size=1, clip=-1), "clip must be at least 0"),
        (lambda: perturb.pgd(predict, radius=1, step_size=1, norm=None), "norm must be one of"),
    ]:
        with pytest.raises(ValueError, match=message):
            build()
    with pytest.raises(TypeError, match="unexpected keyword argument 'clop'"):
        perturb.away(FLOW, TWO, radius=1, clop=2)
    with pytest.raises(TypeError, match="predict must be a function, got int"):
        perturb.pgd(3, radius=1, step_size=1)
