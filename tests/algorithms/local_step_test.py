"""Extra arguments of optimizers: value, grad, value_fn, anchor and step, in every builder."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab import objectives
from tests.algorithms.personal_cases import KEY, D, N, T, problem, quadratic, train

TARGETS = jc.data.Dataset(jnp.linspace(-1, 1, 4 * D).reshape(4, D), jnp.array([0, 1, 1, 0]))


def value(h, c, x):
    return 0.5 * np.sum(h * (x - c) ** 2)


def polyak(h, c, x, memory):
    slope = h * (x - c)
    return x - min(1.0, value(h, c, x) / np.sum(slope**2)) * slope, memory


def backtracking(h, c, x, rate):
    """Armijo's rule from 3 times the negative gradient, with the rate of the step before."""
    slope, step = h * (x - c), -3 * h * (x - c)
    rate = min(1.5 * rate, 1.0)
    while value(h, c, x + rate * step) > value(h, c, x) + 1e-4 * rate * np.sum(step * slope):
        rate *= 0.8
    return x + rate * step, rate


SEARCH = optax.chain(optax.sgd(3.0), optax.scale_by_backtracking_linesearch(30))
OPTIMIZERS = {
    "Polyak": (optax.polyak_sgd(), polyak),
    "backtracking": (SEARCH, backtracking),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_by_value_are_those_of_a_loop_in_decentralized(name, x64):
    optimizer, step = OPTIMIZERS[name]
    params, batches = problem()
    state, _ = train(
        jc.decentralized(quadratic, optimizer, jc.mix_every(2, jc.all_reduce())), params, batches
    )
    x, memory = params.copy(), np.full(N, 1.0)
    for t in range(T):
        for i in range(N):
            x[i], memory[i] = step(batches["h"][t, i], batches["c"][t, i], x[i], memory[i])
        if t % 2 == 1:
            x = np.tile(x.mean(0), (N, 1))
    np.testing.assert_allclose(jc.params_of(state), x, rtol=1e-10)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_by_value_are_those_of_a_loop_in_federated(name, keep, x64):
    optimizer, step = OPTIMIZERS[name]
    params, batches = problem()
    x, rounds, memory = params[0], 2, np.full(N, 1.0)
    steps = {k: v.reshape(rounds, 2, N, D).swapaxes(1, 2) for k, v in batches.items()}
    algorithm = jc.federated(quadratic, optimizer, local_steps=2, keep_opt_state=keep)
    state, _ = train(algorithm, np.tile(x, (N, 1)), steps)
    for t in range(rounds):
        y = np.tile(x, (N, 1))
        for i in range(N):
            memory[i] = memory[i] if keep else 1.0
            for k in range(2):
                h, c = (steps[name][t, i, k] for name in ("h", "c"))
                y[i], memory[i] = step(h, c, y[i], memory[i])
        x = y.mean(0)
    np.testing.assert_allclose(jc.params_of(state)[0], x, rtol=1e-10)


def toward_anchor(rate):
    """The gradient of the loss and of ``(rate/2) ||y - anchor||^2``."""

    def update(updates, state, params, *, anchor, **_):
        pull = jax.tree.map(lambda g, y, x: g + rate * (y - x), updates, params, anchor)
        return pull, state

    return optax.GradientTransformationExtraArgs(lambda params: (), update)


def test_an_own_transform_pulls_to_the_anchor(x64):
    """In federated it is FedProx; in decentralized, where rounds have one step, it does nothing."""
    params, batches = problem()
    params = np.tile(params[:1], (N, 1))
    steps = jax.tree.map(lambda leaf: leaf.reshape(2, 2, N, D).swapaxes(1, 2), batches)
    own = optax.chain(toward_anchor(0.7), optax.sgd(0.1))
    by_hand, _ = train(jc.federated(quadratic, own, local_steps=2), params, steps)
    prox = jc.federated(quadratic, optax.sgd(0.1), local_steps=2, method=jc.local.fedprox(0.7))
    np.testing.assert_allclose(
        jc.params_of(by_hand), jc.params_of(train(prox, params, steps)[0]), rtol=1e-12
    )
    free, _ = train(jc.federated(quadratic, optax.sgd(0.1), local_steps=2), params, steps)
    assert np.abs(jc.params_of(free) - jc.params_of(by_hand)).max() > 1e-3
    gossip = [
        train(jc.decentralized(quadratic, each, jc.all_reduce()), params, batches)[0]
        for each in (own, optax.sgd(0.1))
    ]
    np.testing.assert_allclose(*(jc.params_of(state) for state in gossip), rtol=1e-12)


def test_the_anchor_of_an_asynchronous_client_is_the_model_that_it_fetched(x64):
    _, batches = problem()
    batch = {name: leaf[:2].swapaxes(0, 1) for name, leaf in batches.items()}
    algorithm = jc.algorithms.asynchronous(
        quadratic,
        optax.sgd(1.0),
        np.array([1]),
        local_optimizer=optax.chain(toward_anchor(0.7), optax.sgd(0.1)),
    )
    state = algorithm.init(jnp.ones((N, D)))
    state, _ = algorithm.update(state, jax.tree.map(jnp.asarray, batch), KEY)
    y = np.ones(D)
    for k in range(2):
        h, c = batch["h"][1, k], batch["c"][1, k]
        y = y - 0.1 * (h * (y - c) + 0.7 * (y - 1))
    np.testing.assert_allclose(state.shared.params, y, rtol=1e-12)


def recording():
    """SGD whose state is what it got in the last step."""

    def init(params):
        like = jax.tree.map(jnp.zeros_like, params)
        number = jnp.zeros((), jax.tree.leaves(params)[0].dtype)
        numbers = {"value": number, "again": number, "step": jnp.int32(0)}
        return numbers | dict.fromkeys(("grad", "slope", "anchor"), like)

    def update(updates, state, params, *, value, grad, value_fn, anchor, step, **_):
        again, slope = jax.value_and_grad(value_fn)(params)
        got = {"value": value, "again": again, "grad": grad, "slope": slope, "anchor": anchor}
        got |= {"step": step}
        return jax.tree.map(lambda g: -0.1 * g, updates), got

    return optax.GradientTransformationExtraArgs(init, update)


def predict(params, x):
    return x * params


def member_loss(params, batch, key):
    return quadratic(params, {"h": batch["h"], "c": batch["c"]}, key)


def sharing(optimizer):
    group = jc.algorithms.Group(lambda p, x: x * p, lambda p, s: s[:, :2] + p[:2], N)
    return jc.representation_sharing(
        group,
        optimizer,
        jc.server(),
        objectives.representation_sharing(1.0, 0.0),
        num_classes=2,
        num_features=D,
        batch_size=2,
    )


GOSSIP = jc.gossip(jc.topology.complete(N))
BEFORE, COMMON = "before", "common"
# name: (algorithm of an optimizer, where its state is, which model the anchor is)
BUILDERS = {
    "decentralized": (lambda o: jc.decentralized(quadratic, o, GOSSIP), None, BEFORE),
    "D2": (lambda o: jc.algorithms.d2(quadratic, o, GOSSIP), None, BEFORE),
    "exact diffusion": (
        lambda o: jc.algorithms.exact_diffusion(quadratic, o, GOSSIP),
        None,
        BEFORE,
    ),
    "tracking": (lambda o: jc.algorithms.gradient_tracking(quadratic, o, GOSSIP), None, BEFORE),
    "fine-tuning": (lambda o: jc.algorithms.fine_tuning(quadratic, o), None, BEFORE),
    "centralized": (lambda o: jc.centralized(quadratic, o), "shared", BEFORE),
    "grad_align": (lambda o: jc.algorithms.grad_align(quadratic, o, 0.0), "shared", BEFORE),
    "federated": (
        lambda o: jc.federated(quadratic, o, local_steps=2, keep_opt_state=True),
        None,
        COMMON,
    ),
    "federated, server": (
        lambda o: jc.federated(quadratic, optax.sgd(1.0), server_optimizer=o),
        "shared",
        BEFORE,
    ),
    "asynchronous": (
        lambda o: jc.algorithms.asynchronous(quadratic, o, np.array([1, 0])),
        "shared",
        BEFORE,
    ),
    "APFL": (lambda o: jc.algorithms.apfl(quadratic, o, jc.all_reduce()), None, BEFORE),
    "APFL, local": (
        lambda o: jc.algorithms.apfl(quadratic, o, jc.all_reduce(), weight=0.3),
        "local_opt_state",
        BEFORE,
    ),
    "Ditto": (
        lambda o: jc.algorithms.ditto(
            jc.centralized(quadratic, optax.sgd(0.1)), quadratic, o, attraction=0.5, local_steps=2
        ),
        None,
        COMMON,
    ),
    "D-BAT": (
        lambda o: jc.dbat(
            member_loss, predict, o, alpha=0.5, member_rounds=1, unlabeled=lambda batch: batch["c"]
        ),
        None,
        BEFORE,
    ),
    "D-BAT on clients": (
        lambda o: jc.algorithms.collaborative_dbat(
            member_loss, predict, o, alpha=0.5, public=lambda batch: batch["c"][0], against="others"
        ),
        None,
        BEFORE,
    ),
    "representation sharing": (sharing, None, BEFORE),
}


def round_of(name, algorithm, state):
    """The state after one more round."""
    _, batches = problem()
    batch = {k: jnp.asarray(v[0]) for k, v in batches.items()}
    if name.startswith("D-BAT"):
        batch = {k: jnp.stack([v] * 2, 1) for k, v in batch.items()}
    if name == "representation sharing":
        batch = jax.tree.map(lambda leaf: jnp.stack([leaf] * N), TARGETS)
    if name.startswith("federated"):
        batch = jc.data.full_batch(batch)
    return jax.jit(algorithm.update)(state, batch, KEY)[0]


@pytest.mark.parametrize("name", BUILDERS)
def test_every_builder_passes_value_gradient_function_anchor_and_step(name, x64):
    """The value and the gradient are those of value_fn, and the anchor is the round's model."""
    build, where, anchor = BUILDERS[name]
    algorithm = build(recording())
    params, _ = problem()
    before = algorithm.init(jnp.asarray(params))
    # the second round, in which D-BAT's second member disagrees with the first
    before = before._replace(step=jnp.int32(1))
    after = round_of(name, algorithm, before)
    if where == "shared":
        got, model = after.shared.opt_state, before.shared.params
    else:
        got = getattr(after.clients, where or "opt_state")
        model = before.shared.params if anchor == COMMON else jc.params_of(before)
        model = jnp.broadcast_to(model, params.shape)
    if name == "D-BAT":
        got, model = jax.tree.map(lambda leaf: leaf[1], (got, model))
    assert (np.asarray(got["step"]) == 1).all()
    assert np.abs(got["grad"]).min() > 0 and (np.asarray(got["value"]) != 0).all()
    np.testing.assert_allclose(got["value"], got["again"], rtol=1e-12)
    np.testing.assert_allclose(got["grad"], got["slope"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got["anchor"], model, rtol=1e-12)


def test_what_an_optimizer_does_not_use_is_not_computed():
    def loss(params, batch, key):
        return jnp.sum(jnp.arctan(params - batch))

    def traced(optimizer):
        """How often the loss is in the program."""
        algorithm = jc.decentralized(loss, optimizer, jc.identity())
        state = algorithm.init(jnp.zeros((2, 3)))
        return str(jax.make_jaxpr(algorithm.update)(state, jnp.ones((2, 3)), KEY)).count(" atan ")

    plain = traced(optax.sgd(0.1))
    assert traced(optax.polyak_sgd()) == plain < traced(SEARCH)
