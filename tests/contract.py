"""Every algorithm of the contract test; a new one is one line in ALGORITHMS."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from tests.reference.sharing import prototypes_over_a_ring

N, D, B, T = 8, 3, 2, 3
KEYS = jax.random.key(0), jax.random.key(1)
KEY = KEYS[0]


def loss(params, batch, key):
    value = 0.5 * jnp.mean((batch["x"] @ params["w"] + params["b"] - batch["y"]) ** 2)
    return value, {"bias": params["b"]}


def sgd(rate):
    return optax.sgd(rate, momentum=0.9)


def build(mixer, rate=0.1, **options):
    return jc.decentralized(loss, sgd(rate), mixer, **options)


def directed(g):
    """A star with its links in both directions, in which out-degrees differ."""
    return g(jc.topology.star(N)).graph.to_directed()


VISITS = jc.theory.arrivals.simulate(KEY, 2 * T, np.linspace(0.3, 2.0, N))
LIARS = np.arange(N) >= N - 2
LIES = jc.channels.byzantine(jc.channels.attacks.alie(2.0), LIARS)


def cautious(g, rate, rule, channel=None, **options):
    mixer = jc.neighborhood(g(jc.topology.torus(2, 4)), rule, channel)
    return build(mixer, rate, **options)


def fed(optimizer, **options):
    """Two local steps, on one example each."""
    return jc.federated(loss, optimizer, local_steps=B, **options)


def corrected(rate):
    return optax.chain(jc.local.control_variate(), sgd(rate))


def diverse(builder, rate, **points):
    return builder(
        loss, lambda p, x: (x @ p["w"] + p["b"])[:, None], sgd(rate), alpha=0.5, **points
    )


def score(params, batch, key):
    return loss(params, batch, key)[0]


# name: (function of a graph source g and a learning rate, doubly stochastic?); g(topology) lets a
# check relabel the clients
ALGORITHMS = {
    "asynchronous": (lambda g, r: jc.algorithms.asynchronous(loss, sgd(r), VISITS), False),
    "FedBuff": (
        lambda g, r: jc.algorithms.asynchronous(
            loss, sgd(r), VISITS, buffer_size=2, weigh=jc.local.polynomial_staleness()
        ),
        False,
    ),
    "centralized": (lambda g, r: jc.centralized(loss, sgd(r)), False),
    "GradAlign": (lambda g, r: jc.algorithms.grad_align(loss, sgd(r), 0.1), False),
    "FedAvg": (lambda g, r: fed(sgd(r)), False),
    "FedAvg of some": (lambda g, r: fed(sgd(r), num_sampled=3, dropout=0.2), False),
    "FedProx, FedAdam": (
        lambda g, r: fed(
            optax.chain(jc.local.proximal(0.1), sgd(r)), server_optimizer=optax.adam(0.01)
        ),
        False,
    ),
    "SCAFFOLD": (
        lambda g, r: fed(corrected(r), drift=jc.local.scaffold(), keep_opt_state=True),
        False,
    ),
    "SCAFFOLD of some": (
        lambda g, r: fed(corrected(r), drift=jc.local.scaffold(), num_sampled=3),
        False,
    ),
    "SCAFFOLD recomputed": (
        lambda g, r: fed(corrected(r), drift=jc.local.scaffold(recomputed=True)),
        False,
    ),
    "FedGA": (lambda g, r: fed(sgd(r), drift=jc.local.gradient_alignment(0.1)), False),
    "FedDyn": (
        lambda g, r: fed(
            optax.chain(jc.local.proximal(1.0), corrected(r)),
            drift=jc.local.dynamic_regularization(1.0),
        ),
        False,
    ),
    "FedNova": (lambda g, r: fed(sgd(r), length=jc.local.normalized(0.9)), False),
    "robust FedAvg": (
        lambda g, r: fed(
            sgd(r), rule=jc.aggregators.trimmed_mean(1), channel=LIES, num_sampled=5, honest=~LIARS
        ),
        False,
    ),
    "independent": (lambda g, r: build(jc.identity(), r), True),
    "all-reduce": (lambda g, r: build(jc.all_reduce(), r), True),
    "D-PSGD": (lambda g, r: build(jc.gossip(g(jc.topology.ring(N))), r), True),
    "D-PSGD sparse": (lambda g, r: build(jc.gossip(g(jc.topology.ring(N)), sparse=True), r), True),
    "RelaySGD": (lambda g, r: build(jc.relay_sum(g(jc.topology.binary_tree(N))), r), False),
    "RelaySGD overlapped": (
        lambda g, r: build(jc.relay_sum(g(jc.topology.chain(N)), fill="previous", overlap=True), r),
        False,
    ),
    "neighborhood": (
        lambda g, r: build(jc.neighborhood(g(jc.topology.star(N)), jc.aggregators.weighted()), r),
        True,
    ),
    "local steps": (lambda g, r: build(jc.mix_every(2, jc.all_reduce()), r), True),
    "personal bias": (
        lambda g, r: build(jc.mix_only(lambda path, leaf: path == "w", jc.all_reduce()), r),
        True,
    ),
    "RelaySGD/Grad": (
        lambda g, r: build(
            jc.relay_sum(g(jc.topology.chain(N)), fill="zero"), r, mixing_weight=0.0
        ),
        False,
    ),
    "RelaySGD mixed": (
        lambda g, r: build(
            jc.relay_sum(g(jc.topology.chain(N))), r, mixing_weight=0.5, overlap=True
        ),
        False,
    ),
    "D-PSGD overlapped": (
        lambda g, r: build(jc.gossip(g(jc.topology.ring(N))), r, overlap=True),
        True,
    ),
    "D2": (lambda g, r: jc.algorithms.d2(loss, sgd(r), jc.gossip(g(jc.topology.star(N)))), True),
    "exact diffusion": (
        lambda g, r: jc.algorithms.exact_diffusion(loss, sgd(r), jc.gossip(g(jc.topology.ring(N)))),
        True,
    ),
    "gradient tracking": (
        lambda g, r: jc.algorithms.gradient_tracking(
            loss, sgd(r), jc.gossip(g(jc.topology.ring(N)))
        ),
        True,
    ),
    "quasi-global momentum": (
        lambda g, r: jc.algorithms.quasi_global_momentum(
            loss, r, jc.gossip(g(jc.topology.ring(N)))
        ),
        True,
    ),
    "SGP": (lambda g, r: build(jc.mixing.one_peer_exponential(N, rounds=2), r), True),
    "SGP directed": (lambda g, r: build(jc.mixing.push_sum(directed(g)), r), False),
    "double trees": (
        lambda g, r: build(
            jc.mixing.interleave(
                jc.relay_sum(g(jc.topology.binary_tree(N)), fill="own"),
                jc.relay_sum(g(jc.topology.binary_tree(N, reverse=True)), fill="own"),
            ),
            r,
        ),
        False,
    ),
    "lossy RelaySGD": (
        lambda g, r: build(jc.relay_sum(g(jc.topology.chain(N)), channel=jc.channels.drop(0.2)), r),
        False,
    ),
    "clipped gossip": (
        lambda g, r: cautious(g, r, jc.aggregators.self_centered_clip(0.5)),
        True,
    ),
    "coordinate median": (lambda g, r: cautious(g, r, jc.aggregators.coordinate_median()), False),
    "trimmed mean": (lambda g, r: cautious(g, r, jc.aggregators.trimmed_mean(1)), False),
    "geometric median": (lambda g, r: cautious(g, r, jc.aggregators.geometric_median()), False),
    "multi-Krum": (lambda g, r: cautious(g, r, jc.aggregators.multi_krum(0, 2)), False),
    "centred clipping": (lambda g, r: cautious(g, r, jc.aggregators.centered_clip(0.5)), False),
    "UBAR": (
        lambda g, r: cautious(g, r, jc.aggregators.ubar(score, 0.7), overlap=True),
        False,
    ),
    "bucketing": (
        lambda g, r: cautious(
            g, r, jc.aggregators.bucketing(2, jc.aggregators.trimmed_mean(1)), LIES
        ),
        False,
    ),
    "attacked, late and lossy": (
        lambda g, r: cautious(
            g,
            r,
            jc.aggregators.self_centered_clip(jc.aggregators.oracle_radius(LIARS)),
            jc.channels.chain(LIES, jc.channels.delayed(2), jc.channels.drop(0.2)),
            learners=~LIARS,
        ),
        False,
    ),
    "personal averaging": (
        lambda g, r: build(jc.personal_average(0.3), r, mixing_weight=0.9),
        True,
    ),
    "personal averaging, plug-in": (
        lambda g, r: build(
            jc.personal_average(jc.theory.averaging.positive_part), r, mixing_weight=0.0
        ),
        False,
    ),
    "groups": (
        lambda g, r: build(
            jc.mixing.collaboration(jc.topology.mixing_matrix(g(jc.topology.ring(N)))), r
        ),
        True,
    ),
    "APFL": (
        lambda g, r: jc.algorithms.apfl(
            loss, sgd(r), jc.mix_every(2, jc.all_reduce()), weight_rate=0.1
        ),
        False,
    ),
    "Ditto": (
        lambda g, r: jc.algorithms.ditto(build(jc.all_reduce(), r), loss, sgd(r), attraction=0.5),
        False,
    ),
    "D-BAT": (
        lambda g, r: diverse(jc.dbat, r, member_rounds=1, unlabeled=lambda b: b["x"]),
        False,
    ),
    "D-BAT on clients": (
        lambda g, r: diverse(
            jc.algorithms.collaborative_dbat, r, against="others", public=lambda b: b["x"].mean(0)
        ),
        False,
    ),
    "fine-tuning": (lambda g, r: jc.algorithms.fine_tuning(loss, sgd(r)), True),
    "robust server": (
        lambda g, r: build(jc.server(jc.aggregators.centered_clip(0.5), LIES), r),
        False,
    ),
    "representation sharing": (lambda g, r: prototypes_over_a_ring(g, sgd(r)), True),
    "row-sparse tables": (
        lambda g, r: jc.algorithms.sparse_decentralized(
            loss,
            lambda batch: {"w": jnp.arange(D)},
            jc.local.row_sparse.adam(r) if r else jc.local.row_sparse.sgd(lambda step: 0.0),
            jc.gossip(g(jc.topology.ring(N))),
        ),
        True,
    ),
    "robust RelaySGD": (
        lambda g, r: build(
            jc.relay_sum(
                g(jc.topology.chain(N)),
                fill="previous",
                channel=LIES,
                rule=jc.aggregators.self_centered_clip(0.5),
            ),
            r,
        ),
        False,
    ),
}
# relabelling changes what is drawn for, defined by, or done in the order of client numbers
RANDOM = {
    "D-BAT",
    "FedAvg of some",
    "SCAFFOLD of some",
    "robust FedAvg",
    "asynchronous",
    "FedBuff",
    "lossy RelaySGD",
    "SGP",
    "bucketing",
    "attacked, late and lossy",
    "robust server",
    "robust RelaySGD",
    "representation sharing",
}


def make(name, g=lambda topology: topology, rate=0.1):
    return ALGORITHMS[name][0](g, rate)


def problem(seed=0):
    rng = np.random.default_rng(seed)
    params = {"w": rng.normal(size=(N, D)), "b": rng.normal(size=N)}
    batches = {"x": rng.normal(size=(T, N, B, D)), "y": rng.normal(size=(T, N, B))}
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (params, batches))


class Baseline(NamedTuple):
    """What an algorithm does from KEY and from another key, and how often that traced it."""

    algorithm: jc.Algorithm
    start: jc.State
    states: tuple
    logs: tuple
    traces: tuple


@functools.cache
def baseline(name):
    """Trains once in a process; every check compares with this."""
    algorithm, (params, batches) = make(name), problem()
    traced = []

    def update(state, batch, key):
        traced.append(key)
        return algorithm.update(state, batch, key)

    counted = jc.Algorithm(algorithm.init, update)
    starts = [algorithm.init(params) for key in KEYS]
    runs, traces = [], []
    for start, key in zip(starts, KEYS, strict=True):
        runs.append(jc.run(counted, start, jc.data.stacked(batches), key))
        traces.append(len(traced))
    states, logs = zip(*runs, strict=True)
    return Baseline(algorithm, starts[0], states, logs, tuple(traces))
