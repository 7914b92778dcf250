"""Every optimizer of optax as a local one, and those with extra arguments at servers, by a loop."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import jcollab as jc

KEY, N, T = jax.random.key(0), 3, 5
EXTRA = {
    "backtracking": optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(10)),
    "zoom": optax.chain(optax.sgd(1.0), optax.scale_by_zoom_linesearch(10)),
    "lbfgs": optax.lbfgs(),
    "polyak_sgd": optax.polyak_sgd(),
    "reduce_on_plateau": optax.chain(
        optax.sgd(0.05), optax.contrib.reduce_on_plateau(0.5, patience=1, rtol=0.1)
    ),
}
WRAPPED = EXTRA | {
    "schedule_free": optax.contrib.schedule_free(optax.sgd(0.1), 0.1),
    "mechanize": optax.contrib.mechanize(optax.sgd(0.1)),
    "MultiSteps": optax.MultiSteps(optax.adam(0.1), 2).gradient_transformation(),
    "inject_hyperparams": optax.inject_hyperparams(optax.adam)(optax.linear_schedule(0.1, 0, 4)),
    "apply_if_finite": optax.apply_if_finite(optax.sgd(0.1, momentum=0.9), 3),
    "masked": optax.masked(optax.adam(0.1), {"w": True, "b": False}),
    "partition": optax.partition(
        {"a": optax.adam(0.1), "b": optax.polyak_sgd()}, {"w": "a", "b": "b"}
    ),
    "sam": optax.GradientTransformationExtraArgs(
        (sam := optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.05), opaque_mode=True)).init,
        lambda g, state, params, *, grad_fn, **_: sam.update(g, state, params, grad_fn=grad_fn),
    ),
}
OTHERS = {"dpsgd"}  # takes the gradients of single examples


def of_optax():
    """All optimizers that optax makes from a learning rate, with defaults for the rest."""
    known = {}
    for name, make in [*vars(optax).items(), *vars(optax.contrib).items()]:
        if not inspect.isfunction(make) or name.startswith(("_", "scale_by_")) or name in WRAPPED:
            continue
        signature = inspect.signature(make)
        rates = {"learning_rate", "max_learning_rate"} & signature.parameters.keys()
        if rates and "GradientTransformation" in str(signature.return_annotation):
            needed = [p.name for p in signature.parameters.values() if p.default is p.empty]
            if name not in OTHERS:
                known[name] = make(**dict.fromkeys(needed, 0.05))
    return known


OPTIMIZERS = of_optax() | WRAPPED


def loss(params, batch, key):
    return jnp.mean((batch["x"] @ params["w"] + params["b"] - batch["y"]) ** 2)


def problem():
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(4, 2)), "b": rng.normal(size=2)}
    batches = {"x": rng.normal(size=(T, N, 6, 4)), "y": rng.normal(size=(T, N, 6, 2))}
    return jax.tree.map(jnp.asarray, (params, batches))


def plainly(name, value_of, params, batches):
    """A Python loop of optax, with the extra arguments of the optimizer's documentation."""
    optimizer = optax.with_extra_args_support(OPTIMIZERS[name])

    @jax.jit
    def step(params, state, batch):
        fn = lambda params: value_of(params, batch)  # noqa: E731
        value, grad = jax.value_and_grad(fn)(params)
        extra = {"value": value, "grad": grad, "value_fn": fn}
        if name == "sam":
            extra = {"grad_fn": lambda params, i: jax.grad(fn)(params)}
        elif name == "sophia":
            extra = {"obj_fn": fn}
        updates, state = optimizer.update(grad, state, params, **extra)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for batch in batches:
        params, state = step(params, state, batch)
    return params


def at(batches, *place):
    return jax.tree.map(lambda leaf: leaf[place], batches)


def close(got, expected):
    chex.assert_trees_all_close(got, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_optax_is_a_local_one(name, x64):
    """Clients that never meet, each of which is a loop of its own."""
    params, batches = problem()
    algorithm = jc.decentralized(loss, OPTIMIZERS[name], jc.identity())
    state = algorithm.init(jc.replicate(params, N))
    state, _ = jc.run(algorithm, state, jc.data.stacked(batches), KEY)
    for i in range(N):
        own = [at(batches, t, i) for t in range(T)]
        expected = plainly(name, lambda p, batch: loss(p, batch, KEY), params, own)
        close(at(jc.params_of(state), i), expected)


def mean_loss(params, batch):
    return jax.vmap(loss, (None, 0, None))(params, batch, KEY).mean()


def at_server(optimizer):
    return jc.federated(loss, optax.sgd(1.0), server_optimizer=optimizer)


def central(optimizer):
    return jc.centralized(loss, optimizer)


@pytest.mark.parametrize(
    "name",
    ["polyak_sgd", "reduce_on_plateau", "backtracking"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in ("zoom", "lbfgs")],
)
def test_optimizers_with_extra_arguments_at_servers(name, x64):
    """With one local step of length 1, the update of a round is the mean gradient."""
    params, batches = problem()
    expected = plainly(name, mean_loss, params, [at(batches, t) for t in range(T)])
    for build in (at_server, central):
        algorithm = build(OPTIMIZERS[name])
        given = batches
        if build is at_server:
            given = jax.tree.map(lambda leaf: leaf[:, :, None], batches)
        state = algorithm.init(jc.replicate(params, N))
        state, _ = jc.run(algorithm, state, jc.data.stacked(given), KEY)
        close(state.shared.params, expected)


def test_updates_of_another_shape_are_named():
    """This optimizer takes the first axis of the gradient for one of examples."""
    dpsgd = optax.contrib.dpsgd(0.1, 1.0, 1.0, 0)
    algorithm = jc.decentralized(lambda p, b, key: jnp.sum(p * b), dpsgd, jc.identity())
    state = algorithm.init(jnp.ones((N, 2)))
    with pytest.raises(ValueError, match=r"updates of the shapes .* got \(\) for \(2,\)"):
        jax.eval_shape(algorithm.update, state, jnp.ones((N, 2)), KEY)


def test_an_optimizer_that_takes_only_some_extra_arguments_is_named():
    algorithm = jc.centralized(loss, optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.05)))
    params, batches = problem()
    state = algorithm.init(jc.replicate(params, N))
    with pytest.raises(TypeError, match="optimizer must accept every extra argument"):
        jax.eval_shape(algorithm.update, state, at(batches, 0), KEY)
