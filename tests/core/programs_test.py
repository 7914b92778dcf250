"""What is compiled once, and what goes with its algorithm."""

import dataclasses
import gc
import logging
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab.core import program

KEY, N = jax.random.key(0), 4
X, DATA = jnp.ones((N, 2)), jnp.zeros((4, N, 2))
CLIENTS = jc.data.by_client(np.arange(40.0).reshape(20, 2), jc.data.iid(20, N))


def loss(params, batch, key):
    return jnp.mean((params - batch) ** 2)


def predict(params, x):
    return x * params


def decentralized(loss=loss):
    return jc.decentralized(loss, optax.sgd(0.1), jc.gossip(jc.topology.ring(N)))


def federated(loss=loss):
    return jc.federated(loss, optax.sgd(0.1), num_sampled=2)


def batches():
    return jc.data.minibatches(CLIENTS, 3)


def fit(algorithm, drawn, **options):
    state = algorithm.init(jnp.ones((N, 2)))
    return jc.fit(algorithm, state, drawn, KEY, num_rounds=4, listeners=(), **options)


def run(algorithm, drawn, **options):
    return jc.run(algorithm, algorithm.init(jnp.ones((N, 2))), drawn, KEY, **options)


def doubled(settings, key):
    return {"loss": settings["rate"] * 2}


GOSSIP, SAMPLED = decentralized(), federated()
REBUILT = {
    "run": lambda: run(GOSSIP, jc.data.stacked(DATA)),
    "run of sampled clients": lambda: run(SAMPLED, batches(), num_rounds=3),
    "fit": lambda: fit(GOSSIP, jc.data.stacked(DATA)),
    "fit in host memory": lambda: fit(SAMPLED, batches(), offload=True),
    "sweep": lambda: jc.sweep(doubled, {"rate": [0.1, 0.2]}, 2),
    "accuracy": lambda: jc.metrics.accuracy(predict, X, np.array([0, 1, 0, 1]))(X),
    "logits of members": lambda: jc.algorithms.ensembles.member_logits(predict)(X, X),
    "arrivals": lambda: jc.theory.arrivals.simulate(KEY, 4, np.ones(2)),
}


def compiled(caplog, use):
    """Names of what is compiled."""
    jax.config.update("jax_log_compiles", True)
    try:
        with caplog.at_level(logging.WARNING, "jax"):
            use()
    finally:
        jax.config.update("jax_log_compiles", False)
    messages = [record.getMessage() for record in caplog.records]
    return [message.split()[1] for message in messages if message.startswith("Compiling")]


@pytest.mark.parametrize("name", REBUILT)
def test_nothing_is_compiled_twice_for_equal_values(name, caplog):
    REBUILT[name]()
    assert compiled(caplog, REBUILT[name]) == []


def test_an_algorithm_that_is_built_anew_is_compiled_anew(caplog):
    def use():
        run(decentralized(), jc.data.stacked(DATA))

    use()
    assert compiled(caplog, use) == ["jit(scanned)"]


def of_settings(loss):
    def build(rate):
        return jc.decentralized(loss, optax.sgd(rate), jc.all_reduce())

    state = jax.vmap(lambda rate: build(rate).init(X))(jnp.array([0.1, 0.2]))
    sides = jc.training.Replicas(settings=jnp.array([0.1, 0.2]))
    keys = jax.random.split(KEY)
    drawn = jc.data.stacked(DATA)
    jc.fit(build, state, drawn, keys, num_rounds=4, listeners=(), replicas=sides)


USES = {
    "run": lambda loss: run(decentralized(loss), jc.data.stacked(DATA)),
    "donated": lambda loss: run(decentralized(loss), jc.data.stacked(DATA), donate=True),
    "sampled": lambda loss: run(federated(loss), batches(), num_rounds=3),
    "fit": lambda loss: fit(decentralized(loss), jc.data.stacked(DATA)),
    "fit in host memory": lambda loss: fit(federated(loss), batches(), offload=True),
    "replicas": of_settings,
}


@pytest.mark.parametrize("name", USES)
def test_an_algorithm_that_is_gone_leaves_nothing_behind(name):
    data = np.ones(3)
    alive = weakref.ref(data)
    USES[name](lambda params, batch, key, data=data: loss(params, batch, key) + data.sum())
    del data
    gc.collect()
    assert alive() is None


def build(get):
    return jax.jit(lambda x: get()(x))


def test_programs_of_methods():
    class Model:
        __hash__ = None

        def apply(self, x):
            return 2 * x

    class NoWeakReferences:
        __slots__ = ("factor",)

        def apply(self, x):
            return 2 * x

    for model, same in ((Model(), True), (NoWeakReferences(), False)):
        twice = [program(model.apply, "double", build) for _ in range(2)]
        assert (twice[0] is twice[1]) == same
        assert twice[0](1.0) == 2


def test_equal_models_have_programs_of_their_own():
    """That of the second one is still traced for new shapes when the first one is gone."""

    @dataclasses.dataclass(frozen=True)
    class Model:
        factor: int

        def apply(self, x):
            return self.factor * x

    first, second = Model(2), Model(2)
    of_first = program(first.apply, "scale", build)
    of_second = program(second.apply, "scale", build)
    assert of_first(1.0) == 2
    del first, of_first
    gc.collect()
    assert of_second(1.0) == 2 and of_second(np.ones(3)).tolist() == [2, 2, 2]
