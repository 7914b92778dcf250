"""Labels, indices, masks, counts, seeds, parts of another kind, and what does not fit."""

import jax.numpy as jnp
import numpy as np
import optax
from hypothesis import strategies as st

import jcollab as jc
from tests.malformed.values import (
    ALGORITHM,
    ASYNCHRONOUS,
    DATA,
    KEY,
    LABELS,
    MIXER,
    PIECES,
    RULE,
    START,
    TOPOLOGY,
    loss,
    no_clients,
    not_count,
    not_seed,
    zeros_and_ones,
)

CASES = {
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
    "state to place": (
        lambda v: jc.layout.place(v, jc.layout.mesh(1)), "state",
        st.sampled_from([3, (), {"clients": 1}]),
    ),
    "result to draw": (jc.plots.curves, "result", st.sampled_from([3, None, {}])),
    "figure to save": (lambda v: jc.plots.save(v, "unused.png"), "fig", st.sampled_from([3, None])),
}  # fmt: skip
