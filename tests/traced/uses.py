"""What is done with a part so that each of its numbers shows: small runs of every kind of part."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from jcollab import objectives
from jcollab.core import Receiver, Round, Wire
from jcollab.local import row_sparse

N, D, KEY = 4, 2, jax.random.key(0)
draw = np.random.default_rng(0).normal
X, Y = jnp.asarray(draw(size=(2, N, D)), jnp.float32)
EXAMPLES = jc.data.Dataset(jnp.asarray(draw(size=(N, 3, D)), jnp.float32), jnp.ones((N, 3), int))
PAIRS = objectives.PairBatch(*jnp.arange(2, 26).reshape(2, 4, 3) % 9)
RING = jc.topology.ring(N)
SGD = optax.sgd(0.1, momentum=0.5)


def loss(params, batch, key):
    return jnp.mean((params - batch) ** 2)


def predict(params, x):
    return x * params


def value(result):
    return result


def trained(algorithm, batch=Y):
    state = algorithm.init(X)
    for t in range(2):
        state, log = algorithm.update(state, batch, jax.random.fold_in(KEY, t))
    return jc.params_of(state), log


def in_steps(algorithm):
    return trained(algorithm, jnp.stack([Y, X], 1))


def method(part):
    return in_steps(jc.federated(loss, SGD, local_steps=2, method=part))


def shared(algorithm):
    state, log = algorithm.update(algorithm.init(X), EXAMPLES, KEY)
    return state.clients.params, log


def group():
    return jc.algorithms.Group(lambda p, x: x * p, lambda p, s: s[:, :2] + p[:2], N)


def sharing(objective):
    return shared(
        jc.representation_sharing(
            group(),
            SGD,
            jc.server(),
            objective,
            num_classes=2,
            num_features=D,
            observer=jc.mixing.random_peer(),
        )
    )


def mixed(mixer):
    x, s = X, mixer.init(X)
    for t in range(3):
        x, s = mixer.update(x + Y, s, Round(jax.random.fold_in(KEY, t), jnp.int32(t)))
    return x


def weighing(topology):
    """Everything that a graph's weights are used for."""
    gossip = [jc.gossip(topology, sparse=sparse) for sparse in (False, True)]
    return [
        mixed(mixer) for mixer in (*gossip, jc.neighborhood(topology, jc.aggregators.weighted()))
    ]


def chosen(rule):
    context = Receiver(KEY, jnp.int32(0), batch=Y[0])
    return jc.aggregators.apply(rule, X[0], X[1:], None, context)


def attacked(attack):
    weights, bad = jnp.full(N - 1, 0.25), jnp.array([False, False, True])
    wire = Wire(KEY, jnp.int32(0), X, X[0], 0, jnp.arange(1, N), weights)
    return attack(X[0], X[1:], weights, bad, wire)


def sent(channel):
    senders, weights = jnp.asarray(RING.neighbors), jnp.asarray(RING.weights)
    wire = Wire(KEY, jnp.int32(0), X, X, jnp.arange(N), senders, weights)
    inbox = X[senders]
    return channel.update(inbox, jnp.asarray(RING.mask), channel.init(inbox), wire)[:2]


def optimized(optimizer):
    params, state = X, optimizer.init(X)
    update = optax.with_extra_args_support(optimizer).update
    for t in range(3):
        updates, state = update(params - Y, state, params, step=t, anchor=Y, delay=t)
        params = optax.apply_updates(params, updates)
    return params


def on_rows(optimizer):
    table, state = X, optimizer.init(X)
    for t in range(2):
        table, state = row_sparse.apply(optimizer, table, state, jnp.array([0, 3]), Y[:2], t + 1)
    return table


def over_steps(schedule):
    return schedule(jnp.arange(9))


def over_delays(rule):
    return rule(jnp.arange(3))


class Latents:
    """A flow that doubles."""

    noise = num_classes = None
    encode = staticmethod(lambda params, x, noise, condition: (2 * x, jnp.zeros(len(x))))
    decode = staticmethod(lambda params, z, noise, condition: z / 2)


def augmented(augment):
    return augment(jc.data.Dataset(X, jnp.array([0, 1, 0, 1])), jc.core.Model(Y[0]), KEY)


def density(flow):
    x = X[:, None, :, None]
    return flow.encode(flow.init(KEY, x), x)


def searched(search):
    return search(lambda x: (x * Y[0]).sum(), X, KEY)


def encode(params, ids, train, rngs):
    return jnp.stack([ids.sum(1), (ids**2).sum(1)], 1) * 0.1, jnp.zeros((len(ids), 9))


ENCODER = types.SimpleNamespace(apply=encode)
PIECES = types.SimpleNamespace(size=9, maskable=np.arange(9) > 2)


def on_pairs(loss):
    return loss(None, PAIRS, KEY)


def on_words(loss):
    batch = {"contexts": X[:2], "targets": jnp.arange(2), "negatives": jnp.array([[2, 3]])}
    batch |= {"bags": jnp.array([[2, -1], [3, 0]])}
    return loss({"words": X, "sources": Y[batch["bags"]]}, batch, KEY)


def images(model):
    x = jax.nn.sigmoid(X)[:, None, :, None]
    return model.loss(model.init(KEY, x), jc.data.Dataset(x, jnp.zeros(N, int)), KEY)


def noisy(release):
    return release.noise(KEY, release.bound(X), jnp.ones(N))


def drawn(times):
    return times(KEY)


def sampled(problem):
    return jc.data.synthetic.regression_samples(2)(problem, KEY, jnp.int32(0))


def of_problem(sample):
    return sample(jc.data.synthetic.gaussian_regression(np.ones(D)), KEY, jnp.int32(0))


def quadratic(loss):
    return loss(X[0], jc.data.synthetic.Quadratics(jnp.eye(D), Y[0]), KEY)
