"""Input that makes no sense is refused with a ValueError or TypeError that names it.

Each case is a call with one argument left open, its name, and what must not be accepted for it;
values are drawn by hypothesis. Nothing here may compile, and an error from inside of jax is a
failure.
"""

import traceback

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jcollab as jc

below = lambda low: st.integers(-(10**6), low - 1)  # noqa: E731
negative = st.floats(max_value=-1e-6, allow_nan=False) | st.just(float("nan"))
not_positive = negative | st.just(0.0)
not_count = below(1) | st.floats(0.1, 9.9).filter(lambda x: x % 1) | st.just(True) | st.just("2")
not_seed = st.integers(-9, -1) | st.integers(2**32, 2**40) | st.just(1.5)
zeros_and_ones = st.sampled_from([[0, 0, 1, 1], [1, 0, 1, 1], np.array([0, 1, 1, 0])])
no_clients = zeros_and_ones | st.sampled_from(
    [[4], [-1], [0.5], "all", np.ones(5, bool), np.ones((2, 2), bool), [1, 1]]
)
not_share = st.floats(max_value=-1e-6) | st.floats(min_value=1.001) | st.just(float("nan"))
words = st.text("abcxyz_", min_size=1, max_size=8).map(lambda word: f"no {word}")
no_function = st.one_of(st.integers(), st.just("loss"), st.none(), st.lists(st.integers()))
matrices = st.integers(2, 5).flatmap(
    lambda n: st.sampled_from(
        [
            np.ones((n, n)),  # rows do not add up to 1
            np.full((n, n), np.nan),
            np.ones((n, n + 1)) / n,
            np.ones(n),
            np.eye(n) - np.eye(n, k=1) + np.eye(n, k=2),
        ]
    )
)
KEY, TOPOLOGY = jax.random.key(0), jc.topology.ring(4)
LABELS = np.arange(20) % 4
DATA = jc.data.by_client(np.arange(8.0)[:, None], jc.data.iid(8, 4))
RULE, MIXER = jc.aggregators.weighted(), jc.gossip(TOPOLOGY)


def loss(params, batch, key):
    return jnp.mean((params - batch) ** 2)


ASYNCHRONOUS = jc.algorithms.asynchronous(loss, optax.sgd(0.1), [0, 1, 0])
PIECES = jc.text.train_subwords(["a cat sat on a mat"], size=30)
ALGORITHM = jc.decentralized(loss, optax.sgd(0.1), MIXER)
START = ALGORITHM.init(jnp.zeros((4, 1)))


def fit(**options):
    options = {"num_rounds": 2, "listeners": ()} | options
    return jc.fit(ALGORITHM, START, jc.data.stacked(jnp.zeros((2, 4, 1))), KEY, **options)


CASES = {
    "chain": (jc.topology.chain, "n", below(1)),
    "ring": (jc.topology.ring, "n", below(1)),
    "star": (jc.topology.star, "n", below(1)),
    "complete": (jc.topology.complete, "n", below(1)),
    "hypercube": (jc.topology.hypercube, "n", st.sampled_from([-4, 0, 3, 6, 12])),
    "torus": (lambda v: jc.topology.torus(v, 3), "rows", below(1)),
    "dumbbell": (jc.topology.dumbbell, "clique", below(1)),
    "byzantine clients": (
        lambda v: jc.topology.choose_byzantine(TOPOLOGY, v), "count", below(0) | st.integers(4, 99),
    ),
    "spanning tree": (
        lambda v: jc.topology.spanning_tree(TOPOLOGY, v), "root", below(0) | st.integers(4, 99),
    ),
    "constant weights": (
        lambda v: jc.topology.constant_weights(TOPOLOGY, v), "weight", not_positive,
    ),
    "topology": (jc.gossip, "topology|W", no_function),
    "gossip matrix": (jc.gossip, "W", matrices),
    "collaboration matrix": (jc.mixing.collaboration, "matrix|W", matrices),
    "relay over a cycle": (
        lambda v: jc.relay_sum(jc.topology.ring(v)), "tree", st.integers(3, 9),
    ),
    "relay fill": (
        lambda v: jc.relay_sum(jc.topology.chain(3), fill=v), "fill", words,
    ),
    "mix_every": (lambda v: jc.mix_every(v, MIXER), "period", below(1)),
    "mix_every's mixer": (lambda v: jc.mix_every(2, v), "mixer", no_function),
    "mix_only": (lambda v: jc.mix_only(v, MIXER), "select", no_function),
    "interleaved mixers": (lambda v: jc.mixing.interleave(MIXER, v), "mixers", no_function),
    "mixer's function": (jc.mixing.stateless, "mix", no_function),
    "lazy_mixing": (lambda v: jc.mixing.lazy_mixing(MIXER, v), "weight", not_share),
    "peers": (lambda v: jc.mixing.one_peer_exponential(v), "n", below(2)),
    "rounds of peers": (
        lambda v: jc.mixing.one_peer_exponential(4, rounds=v), "rounds", below(1),
    ),
    "rule": (lambda v: jc.neighborhood(TOPOLOGY, v), "rule", no_function | st.just(loss)),
    "server's rule": (jc.server, "rule", st.just(loss) | st.integers()),
    "channel": (lambda v: jc.neighborhood(TOPOLOGY, RULE, v), "channel", st.integers() | words),
    "receivers": (
        lambda v: jc.neighborhood(TOPOLOGY, RULE, receivers=v), "receivers",
        st.sampled_from([[0, 1], np.ones(3, bool), np.zeros(4, bool)]),
    ),
    "function of a rule": (jc.aggregators.rule, "function", no_function),
    "inputs of a rule": (
        lambda v: jc.aggregators.rule(loss, min_inputs=v), "min_inputs", below(1),
    ),
    "rule for more inputs": (
        lambda v: jc.neighborhood(TOPOLOGY, jc.aggregators.trimmed_mean(v)), "rule",
        st.integers(2, 9),
    ),
    "personal average": (jc.personal_average, "weight", not_share),
    "clip radius": (jc.aggregators.self_centered_clip, "radius", negative),
    "centered clip": (
        lambda v: jc.aggregators.centered_clip(1.0, v), "iterations", below(1),
    ),
    "trim": (jc.aggregators.trimmed_mean, "trim", below(0)),
    "krum": (jc.aggregators.krum, "byzantine", below(0)),
    "multi-krum": (lambda v: jc.aggregators.multi_krum(1, v), "chosen", below(1)),
    "median steps": (jc.aggregators.geometric_median, "iterations", below(1)),
    "bucketing": (lambda v: jc.aggregators.bucketing(v, RULE), "size", below(1)),
    "drop": (jc.channels.drop, "probability", not_share),
    "delay of messages": (jc.channels.delayed, "rounds", below(0)),
    "channels of a chain": (
        lambda v: jc.channels.chain(jc.channels.drop(0.1), v), "parts", no_function,
    ),
    "attack": (lambda v: jc.channels.byzantine(v, [0]), "attack", no_function),
    "attack on fields": (lambda v: jc.channels.attacks.only(v, "x"), "attack", no_function),
    "number of an attack": (
        lambda v: jc.channels.attacks.choose([jc.channels.attacks.bit_flip()], v), "index",
        below(0) | st.integers(1, 9),
    ),
    "mimicked client": (jc.channels.attacks.mimic, "client", below(0)),
    "wrong labels": (
        lambda v: jc.channels.attacks.flip_labels(jc.data.minibatches(DATA, 1), v, 4),
        "byzantine", st.sampled_from([[0], np.ones(4, bool), np.zeros((2, 2), bool)]),
    ),
    "noise": (jc.channels.attacks.gaussian, "scale", negative),
    "who lies": (
        lambda v: jc.topology.byzantine_mask(v, 4), "byzantine|who",
        st.sampled_from(["all", [0.5], [-9], [4], [True]]),
    ),
    "proximal": (jc.local.proximal, "penalty", negative),
    "FedProx": (jc.local.fedprox, "mu", negative),
    "FedGA": (jc.local.fedga, "beta", negative),
    "FedDyn": (jc.local.feddyn, "alpha", not_positive),
    "FedNova": (jc.local.fednova, "momentum", not_share | st.just(1.0)),
    "federated method": (
        lambda v: jc.federated(loss, optax.sgd(0.1), method=v), "method", words | st.integers(),
    ),
    "federated weights": (
        lambda v: jc.federated(loss, optax.sgd(0.1), weights=v).init(jnp.zeros((2, 1))), "weights",
        st.sampled_from([[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, np.nan]]),
    ),
    "local steps of clients": (
        lambda v: jc.federated(loss, optax.sgd(0.1), num_steps=v).init(jnp.zeros((2, 1))),
        "num_steps", st.sampled_from([[1], [0, 1], [1, 2]]),
    ),
    "marked function": (jc.stateful, "function", no_function),
    "stale power": (jc.local.polynomial_staleness, "power", negative),
    "largest delay": (jc.local.drop_stale, "largest", below(0)),
    "delay of updates": (jc.local.delay_updates, "delay", below(0)),
    "algorithm's loss": (
        lambda v: jc.decentralized(v, optax.sgd(0.1), MIXER), "loss", no_function,
    ),
    "algorithm's mixer": (
        lambda v: jc.decentralized(loss, optax.sgd(0.1), v), "mixer", no_function,
    ),
    "algorithm's optimizer": (
        lambda v: jc.decentralized(loss, v, MIXER), "optimizer", no_function,
    ),
    "sampled clients": (
        lambda v: jc.federated(loss, optax.sgd(0.1), num_sampled=v), "num_sampled", below(1),
    ),
    "local steps": (
        lambda v: jc.federated(loss, optax.sgd(0.1), local_steps=v), "local_steps", below(1),
    ),
    "ditto": (
        lambda v: jc.algorithms.ditto(ALGORITHM, loss, optax.sgd(0.1), attraction=v), "attraction",
        negative,
    ),
    "disagreement": (
        lambda v: jc.dbat(loss, lambda p, x: x, optax.sgd(0.1), alpha=v, member_rounds=1), "alpha",
        negative,
    ),
    "member rounds": (
        lambda v: jc.dbat(loss, lambda p, x: x, optax.sgd(0.1), alpha=1.0, member_rounds=v),
        "member_rounds", below(1),
    ),
    "replicas of params": (lambda v: jc.replicate(jnp.ones(2), v), "n", below(1)),
    "partition": (lambda v: jc.data.iid(20, v), "n", below(1) | st.integers(21, 99)),
    "dirichlet": (lambda v: jc.data.dirichlet(LABELS, 4, v), "alpha", not_positive),
    "labels": (lambda v: jc.data.by_label(LABELS, v), "n", below(1) | st.integers(21, 99)),
    "batches": (lambda v: jc.data.minibatches(DATA, v), "batch_size", below(1)),
    "batches of passes": (lambda v: jc.data.epochs(DATA, v), "batch_size", below(1)),
    "batches of no data": (lambda v: jc.data.minibatches(v, 1), "data", no_function),
    "batches of a function": (jc.data.from_function, "function", no_function),
    "batches of rounds": (
        jc.data.stacked, "data", st.sampled_from([1.0, (np.ones((1, 2)), np.ones((2, 2)))]),
    ),
    "data set": (jc.data.load, "name", words),
    "split": (lambda v: jc.data.load("digits", v), "split", words),
    "accuracy's batches": (
        lambda v: jc.metrics.accuracy(lambda p, x: x, LABELS, LABELS, batch_size=v), "batch_size",
        below(1),
    ),
    "arrivals": (lambda v: jc.theory.arrivals.round_robin(v, 4), "num_arrivals", below(1)),
    "stragglers": (lambda v: jc.theory.arrivals.straggling(v, 2.0), "probability", not_share),
    "weight of distillation": (
        jc.objectives.representation_sharing, "distillation_weight", negative,
    ),
    "distillation form": (
        lambda v: jc.objectives.federated_distillation(1.0, form=v), "form", words,
    ),
    "privacy": (lambda v: jc.privacy.gaussian_mechanism(1.0, v), "norm_bound", not_positive),
    "search steps": (
        lambda v: jc.objectives.disagreement_points(num_steps=v), "num_steps", below(1),
    ),
    "rounds of a run": (
        lambda v: jc.run(ALGORITHM, START, jc.data.minibatches(DATA, 1), KEY, num_rounds=v),
        "num_rounds", below(1),
    ),
    "rounds of a fit": (lambda v: fit(num_rounds=v), "num_rounds", below(1)),
    "pieces of a fit": (lambda v: fit(eval_every=v), "eval_every", below(1)),
    "divergence": (lambda v: fit(on_divergence=v), "on_divergence", words),
    "sweep's grid": (
        lambda v: jc.sweep(lambda s, k: s, {"lr": v}, 2), "grid", st.sampled_from([[], ["a"], 3]),
    ),
    "sweep's seeds": (lambda v: jc.sweep(lambda s, k: s, {"lr": [0.1]}, v), "seeds", below(1)),
    # labels, indices, masks and owners
    "labels of another form": (
        lambda v: jc.data.by_label(v, 2), "labels",
        st.sampled_from([LABELS[:, None], LABELS / 2, LABELS - 1, LABELS > 1, ["a", "b"]]),
    ),
    "labels of test data": (
        lambda v: jc.metrics.accuracy(lambda p, x: x, np.ones((4, 3)), v), "y",
        st.sampled_from([np.ones((4, 1), int), np.ones(4), -np.ones(4, int), np.ones(4, bool)]),
    ),
    "labels of class means": (
        lambda v: jc.objectives.prototypes.class_means(jnp.ones((3, 1)), np.asarray(v), 3),
        "labels",
        st.sampled_from([[0, 1], [[0], [1], [2]], [0.0, 1.0, 2.0], [0, 1, 3], [-1, 0, 1]]),
    ),
    "mask of class means": (
        lambda v: jc.objectives.prototypes.class_means(jnp.ones((3, 1)), np.arange(3), 3, v),
        "mask", st.sampled_from([np.ones(3), np.ones(2, bool), np.array([0, 1, 2])]),
    ),
    "labels of an ensemble": (
        lambda v: jc.algorithms.ensembles.accuracies(np.ones((2, 4, 3)), v), "y",
        st.sampled_from([np.ones((4, 1), int), np.ones(4), np.arange(4)]),
    ),
    "parts": (
        lambda v: jc.data.by_client(np.arange(4.0), [v]), r"parts[0]",
        st.sampled_from([[True, False, True, False], [0.0, 1.0], [4], [-1], [[0, 1]]]),
    ),
    "owners": (jc.data.by_user, "owners", st.sampled_from([[0.5, np.nan], [1, "a"], [[1], [2]]])),
    "sizes": (
        lambda v: jc.data.by_owner(np.ones(3), sizes=v), "sizes",
        st.sampled_from([[1.5, 1.5], [0, 3], [2, 2], [[3]]]),
    ),
    "clients of a schedule": (
        lambda v: jc.data.arriving(DATA, v, 1), "schedule", st.sampled_from([[0.0], [4], [-2]]),
    ),
    "hosts": (
        lambda v: jc.topology.attach_byzantine(TOPOLOGY, v), "hosts",
        st.sampled_from([[True, False, False, False], [0.5], [4], [-1]]),
    ),
    "byzantine clients as numbers": (
        lambda v: jc.topology.byzantine_mask(v, 4), "byzantine", no_clients,
    ),
    "measured clients": (
        lambda v: jc.metrics.among(v, jc.metrics.consensus_distance)(START), "clients",
        no_clients | st.just([]),
    ),
    "byzantine clients of a radius": (jc.aggregators.oracle_radius, "byzantine", zeros_and_ones),
    "honest clients": (
        lambda v: jc.decentralized(loss, optax.sgd(0.1), MIXER, honest=v).update(
            START, jnp.zeros((4, 1)), KEY
        ), "honest", no_clients,
    ),
    # counts and seeds
    "krum's count": (jc.aggregators.krum, "byzantine", not_count.filter(lambda v: v != 0)),
    "rounds": (
        lambda v: jc.run(ALGORITHM, START, jc.data.minibatches(DATA, 1), KEY, num_rounds=v),
        "num_rounds", not_count,
    ),
    "steps of clients": (
        lambda v: jc.federated(loss, optax.sgd(0.1), num_steps=v).init(jnp.zeros((2, 1))),
        "num_steps", st.sampled_from([[1.0, 1.0], [True, True], [[1], [1]]]),
    ),
    "chunk": (lambda v: jc.layout.vectorized(jnp.sum, v), "chunk", not_count),
    "clients that are sampled": (
        lambda v: jc.layout.sample_clients(KEY, 4, v), "num_sampled", not_count | st.just(5),
    ),
    "seed of a partition": (lambda v: jc.data.iid(9, 3, seed=v), "seed", not_seed),
    "seed of a graph": (lambda v: jc.topology.random_regular(6, 3, seed=v), "seed", not_seed),
    "seeds of a sweep": (
        lambda v: jc.sweep(lambda s, k: s, {"lr": [0.1]}, v), "seeds",
        st.sampled_from([[1, 2**32 + 1], [1, 1], [-1], [0.5], 2.5, True]),
    ),
    # parts of another kind
    "optimizer": (
        lambda v: jc.decentralized(loss, v, MIXER), "optimizer",
        st.sampled_from(
            [MIXER, optax.sgd, 0.1, jc.channels.drop(0.1), jc.local.row_sparse.adam(1)]
        ),
    ),
    "mixer": (
        lambda v: jc.decentralized(loss, optax.sgd(0.1), v), "mixer",
        st.sampled_from([optax.sgd(0.1), jc.all_reduce, TOPOLOGY, RULE, jc.channels.drop(0.1)]),
    ),
    "channel of another kind": (
        lambda v: jc.federated(loss, optax.sgd(0.1), channel=v), "channel",
        st.sampled_from([0.1, jc.channels.drop, RULE, MIXER, optax.sgd(0.1)]),
    ),
    "method of another kind": (
        lambda v: jc.federated(loss, optax.sgd(0.1), method=v), "method",
        st.sampled_from([jc.local.scaffold, jc.local.proximal(0.1), MIXER]),
    ),
    "rule that was not called": (
        lambda v: jc.neighborhood(TOPOLOGY, v), "rule",
        st.sampled_from([jc.aggregators.coordinate_median, jc.aggregators.krum, MIXER]),
    ),
    "weight of a delay": (
        lambda v: jc.algorithms.asynchronous(loss, optax.sgd(0.1), [0, 1], weigh=v), "weigh",
        st.sampled_from([jc.local.polynomial_staleness, lambda d: None, lambda d: jnp.ones(2)]),
    ),
    "state": (
        lambda v: jc.run(ALGORITHM, v, jc.data.full_batch(jnp.zeros((4, 1))), KEY, num_rounds=1),
        "state", st.sampled_from(
            [
                jnp.zeros((4, 1)),
                jc.centralized(loss, optax.sgd(0.1)).init(jnp.zeros((4, 1))),
                jc.federated(loss, optax.sgd(0.1)).init(jnp.zeros((4, 1))),
            ]
        ),
    ),
    "key": (
        lambda v: jc.run(ALGORITHM, START, jc.data.minibatches(DATA, 1), v, num_rounds=1), "key",
        st.sampled_from([0, 1.5, np.zeros(3), "key"]),
    ),
    "value of a loss": (
        lambda v: jc.decentralized(lambda p, b, k: v, optax.sgd(0.1), MIXER).update(
            START, jnp.zeros((4, 1)), KEY
        ), "loss", st.sampled_from([None, 1, np.ones(2), {"loss": 1.0}]),
    ),
    "flow": (jc.flows.likelihood, "flow", st.sampled_from([3, MIXER, jc.flows.glow])),
    # what does not fit each other
    "data of sampled clients": (
        lambda v: jc.federated(loss, optax.sgd(0.1), num_sampled=2).update(
            jc.federated(loss, optax.sgd(0.1), num_sampled=2).init(jnp.zeros((4, 1))),
            jc.data.full_batch(jnp.zeros((v, 1))), KEY,
        ), "n=4", st.sampled_from([2, 3, 5, 8]),
    ),
    "data of clients in host memory": (
        lambda v: jc.fit(
            jc.federated(loss, optax.sgd(0.1), num_sampled=2),
            jc.federated(loss, optax.sgd(0.1), num_sampled=2).init(jnp.zeros((4, 1))),
            jc.data.full_batch(np.zeros((v, 1))), KEY, num_rounds=1, offload=True, listeners=(),
        ), "n=4", st.sampled_from([2, 8]),
    ),
    "clients of a mixer": (
        lambda v: v.update(jnp.zeros((5, 1)), v.init(jnp.zeros((4, 1))), jc.core.Round(KEY, 0)),
        "n=4", st.sampled_from([MIXER, jc.relay_sum(jc.topology.chain(4)), jc.neighborhood(
            TOPOLOGY, RULE), jc.mixing.one_peer_exponential(4)]),
    ),
    "unconnected matrix": (
        jc.gossip, "connected",
        st.sampled_from([np.eye(3), np.kron(np.eye(2), np.full((2, 2), 0.5))]),
    ),
    "shape of what a rule returns": (
        lambda v: jc.aggregators.apply(
            jc.aggregators.rule(lambda own, *rest: v, name="mine"), jnp.ones(2), jnp.ones((3, 2))
        ), "the result of mine", st.sampled_from([0.0, np.ones(3), np.ones((3, 2)), (1, 2)]),
    ),
    "ALIE of both forms": (
        lambda v: jc.channels.attacks.alie(**v), "z, or both",
        st.sampled_from([{}, {"z": 1.0, "n": 9, "byzantine": 2}, {"n": 9}, {"byzantine": 2}]),
    ),
    "rounds of a schedule": (
        lambda v: jc.run(
            ASYNCHRONOUS, ASYNCHRONOUS.init(jnp.zeros((2, 1))),
            jc.data.full_batch(jnp.zeros((2, 1))), KEY, num_rounds=v,
        ), "num_rounds", st.integers(4, 99),
    ),
    "matrix of D2": (
        lambda v: jc.algorithms.d2(loss, optax.sgd(0.1), v).init(jnp.zeros((4, 1))), "mixer",
        st.just(jc.mixing.one_peer_exponential(4)),
    ),
    "images of bytes": (
        lambda v: jc.flows.glow(levels=1, steps=1, width=2).init(KEY, v), "x",
        st.sampled_from([np.zeros((1, 4, 4, 1), np.uint8), np.full((1, 4, 4, 1), 255.0)]),
    ),
    "vocabulary of an encoder": (
        lambda v: jc.text.SentenceEncoder(PIECES, jc.models.BagEncoder(v), {}), "model",
        st.integers(4, 8),
    ),
    "clients of a state": (
        lambda v: ALGORITHM.update(START, jnp.zeros((v, 1)), KEY),
        "batch|n=|client", st.integers(1, 9).filter(lambda n: n != 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@settings(
    max_examples=10, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(draw=st.data())
def test_nonsense_is_refused_by_name(name, draw):
    call, argument, values = CASES[name]
    value = draw.draw(values)
    with pytest.raises((ValueError, TypeError)) as caught:
        call(value)
    message, frames = str(caught.value), traceback.extract_tb(caught.value.__traceback__)
    assert any(word in message for word in argument.split("|")), f"{value!r}: {message}"
    # the error is ours, not one of jax or networkx on the way
    raised = frames[-1].filename
    assert "/jcollab/" in raised, f"{value!r} passed until {raised}: {message}"
