"""What the contract test checks: a new rule, attack, mixer or algorithm is one line here."""

import contextlib
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc
from jcollab import aggregators as ag
from jcollab.channels import attacks
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
LIES = jc.channels.byzantine(attacks.alie(2.0), LIARS)
LINEAR = {"weighted", "clipped gossip"}  # rules that keep the mean of the clients


def dense():
    """Five inputs for every receiver, which is enough for all rules."""
    return jc.topology.random_regular(N, 4)


def fed(rate, **options):
    """Two local steps, on one example each."""
    return jc.federated(loss, sgd(rate), local_steps=B, **options)


def diverse(builder, rate, **points):
    return builder(
        loss, lambda p, x: (x @ p["w"] + p["b"])[:, None], sgd(rate), alpha=0.5, **points
    )


def score(params, batch, key):
    return loss(params, batch, key)[0]


# how ONE receiver combines messages; a rule that needs more than 5 inputs needs a denser graph
RULES = {
    "weighted": ag.weighted(),
    "clipped gossip": ag.self_centered_clip(0.5),
    "clipped by distance": ag.self_centered_clip(ag.second_largest_distance()),
    "coordinate median": ag.coordinate_median(),
    "trimmed mean": ag.trimmed_mean(1),
    "geometric median": ag.geometric_median(),
    "Krum": ag.krum(1),
    "multi-Krum": ag.multi_krum(0, 2),
    "centered clipping": ag.centered_clip(0.5),
    "UBAR": ag.ubar(score, 0.7),
    "bucketing": ag.bucketing(2, ag.trimmed_mean(1)),
}
ATTACKS = {
    "dissensus": attacks.dissensus(1.5),
    "ALIE": attacks.alie(2.0),
    "IPM": attacks.inner_product_manipulation(),
    "bit flip": attacks.bit_flip(),
    "noise": attacks.gaussian(1.0),
    "mimic": attacks.mimic(),
    "mimic of client 0": attacks.mimic(0),
    "chosen": attacks.choose([attacks.bit_flip(), attacks.alie(1.0)], 1),
}
# name: (function of a graph source g, doubly stochastic?); g(topology) lets a check relabel clients
MIXERS = {
    "independent": (lambda g: jc.identity(), True),
    "all-reduce": (lambda g: jc.all_reduce(), True),
    "D-PSGD": (lambda g: jc.gossip(g(jc.topology.ring(N))), True),
    "D-PSGD sparse": (lambda g: jc.gossip(g(jc.topology.ring(N)), sparse=True), True),
    "lazy gossip": (lambda g: jc.mixing.lazy_mixing(jc.gossip(g(jc.topology.ring(N)))), True),
    "RelaySGD": (lambda g: jc.relay_sum(g(jc.topology.binary_tree(N))), False),
    "RelaySGD overlapped": (
        lambda g: jc.relay_sum(g(jc.topology.chain(N)), fill="previous", overlap=True),
        False,
    ),
    "neighborhood": (lambda g: jc.neighborhood(g(jc.topology.star(N)), ag.weighted()), True),
    "local steps": (lambda g: jc.mix_every(2, jc.all_reduce()), True),
    "personal bias": (
        lambda g: jc.mix_only(lambda path, leaf: path == "w", jc.all_reduce()),
        True,
    ),
    "SGP": (lambda g: jc.mixing.one_peer_exponential(N, rounds=2), True),
    "SGP directed": (lambda g: jc.mixing.push_sum(directed(g)), False),
    "random peers": (lambda g: jc.mixing.random_peer(g(jc.topology.ring(N))), False),
    "double trees": (
        lambda g: jc.mixing.interleave(
            jc.relay_sum(g(jc.topology.binary_tree(N)), fill="own"),
            jc.relay_sum(g(jc.topology.binary_tree(N, reverse=True)), fill="own"),
        ),
        False,
    ),
    "lossy RelaySGD": (
        lambda g: jc.relay_sum(g(jc.topology.chain(N)), channel=jc.channels.drop(0.2)),
        False,
    ),
    "robust RelaySGD": (
        lambda g: jc.relay_sum(
            g(jc.topology.chain(N)),
            fill="previous",
            channel=LIES,
            rule=ag.self_centered_clip(0.5),
        ),
        False,
    ),
    "robust server": (lambda g: jc.server(ag.centered_clip(0.5), LIES), False),
    "groups": (
        lambda g: jc.mixing.collaboration(jc.topology.mixing_matrix(g(jc.topology.ring(N)))),
        True,
    ),
    "personal averaging": (lambda g: jc.personal_average(0.3), True),
}
# name: (function of g and a learning rate, doubly stochastic?)
ALGORITHMS = {
    "centralized": (lambda g, r: jc.centralized(loss, sgd(r)), False),
    "asynchronous": (lambda g, r: jc.algorithms.asynchronous(loss, sgd(r), VISITS), False),
    "FedBuff": (
        lambda g, r: jc.algorithms.asynchronous(
            loss, sgd(r), VISITS, buffer_size=2, weigh=jc.local.polynomial_staleness()
        ),
        False,
    ),
    "GradAlign": (lambda g, r: jc.algorithms.grad_align(loss, sgd(r), 0.1), False),
    "FedAvg": (lambda g, r: fed(r), False),
    "FedAvg of some": (lambda g, r: fed(r, num_sampled=3, dropout=0.2), False),
    "FedPer of some": (lambda g, r: fed(r, share="w", num_sampled=3), False),
    "FedRep": (lambda g, r: fed(r, share=jc.local.sharing("w", personal_steps=1)), False),
    "FedProx, FedAdam": (
        lambda g, r: fed(r, method=jc.local.fedprox(0.1), server_optimizer=optax.adam(0.01)),
        False,
    ),
    "SCAFFOLD": (lambda g, r: fed(r, method=jc.local.scaffold(), keep_opt_state=True), False),
    # few enough of the clients to be drawn with replacement
    "SCAFFOLD of some": (lambda g, r: fed(r, method=jc.local.scaffold(), num_sampled=2), False),
    "SCAFFOLD recomputed": (lambda g, r: fed(r, method=jc.local.scaffold(recomputed=True)), False),
    "FedGA": (lambda g, r: fed(r, method=jc.local.fedga(0.1)), False),
    "FedDyn": (lambda g, r: fed(r, method=jc.local.feddyn(1.0)), False),
    "FedNova": (lambda g, r: fed(r, method=jc.local.fednova(0.9)), False),
    "robust FedAvg": (
        lambda g, r: fed(r, rule=ag.trimmed_mean(1), channel=LIES, num_sampled=5, honest=~LIARS),
        False,
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
    "attacked, late and lossy": (
        lambda g, r: build(
            jc.neighborhood(
                g(jc.topology.torus(2, 4)),
                ag.self_centered_clip(ag.oracle_radius(LIARS)),
                jc.channels.chain(LIES, jc.channels.delayed(2), jc.channels.drop(0.2)),
            ),
            r,
            learners=~LIARS,
        ),
        False,
    ),
    "personal averaging, plug-in": (
        lambda g, r: build(
            jc.personal_average(jc.theory.averaging.positive_part), r, mixing_weight=0.0
        ),
        False,
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
}
# every mixer and every rule is a decentralized algorithm
ALGORITHMS |= {
    name: (lambda g, r, mixer=mixer: build(mixer(g), r), keeps_mean)
    for name, (mixer, keeps_mean) in MIXERS.items()
}
ALGORITHMS |= {
    name: (lambda g, r, rule=rule: build(jc.neighborhood(g(dense()), rule), r), name in LINEAR)
    for name, rule in RULES.items()
}
# relabeling changes what is drawn for, defined by, or done in the order of client numbers
RANDOM = {
    "D-BAT",
    "FedAvg of some",
    "FedPer of some",
    "SCAFFOLD of some",
    "robust FedAvg",
    "asynchronous",
    "FedBuff",
    "lossy RelaySGD",
    "SGP",
    "random peers",
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


LENIENT = {"FedProx, FedAdam"}  # optax.adam multiplies integers by floats


@contextlib.contextmanager
def strict(name=""):
    """JAX in its strictest settings: what runs in them runs in all."""
    with (
        jax.numpy_rank_promotion("raise"),
        jax.numpy_dtype_promotion("standard" if name in LENIENT else "strict"),
        jax.debug_nans(True),
    ):
        yield


class Baseline(NamedTuple):
    """What an algorithm does from KEY and from another key, and how often that traced it."""

    algorithm: jc.Algorithm
    params: dict
    start: jc.State
    states: tuple
    logs: tuple
    traces: tuple


@functools.cache
def baseline(name):
    """Trains once in a process, in strict JAX; every check compares with this."""
    algorithm, (params, batches) = make(name), problem()
    traced = []

    def update(state, batch, key):
        traced.append(name)  # not the key, which would leak
        return algorithm.update(state, batch, key)

    counted = jc.Algorithm(algorithm.init, update)
    runs, traces = [], []
    with strict(name):
        start = algorithm.init(params)
        for key in KEYS:
            runs.append(jc.run(counted, start, jc.data.stacked(batches), key))
            traces.append(len(traced))
    states, logs = zip(*runs, strict=True)
    return Baseline(algorithm, params, start, states, logs, tuple(traces))
