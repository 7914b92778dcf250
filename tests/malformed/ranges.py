"""Numbers and names out of range, and parts that are no parts."""

import jax.numpy as jnp
import numpy as np
import optax
from hypothesis import strategies as st

import jcollab as jc
from tests.malformed.values import (
    ALGORITHM,
    DATA,
    KEY,
    LABELS,
    MIXER,
    RULE,
    START,
    TOPOLOGY,
    below,
    fit,
    loss,
    matrices,
    negative,
    no_function,
    no_selection,
    not_positive,
    not_share,
    words,
)

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
    "mix_only": (lambda v: jc.mix_only(v, MIXER), "select", no_selection),
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
    "stratified": (lambda v: jc.data.stratified(LABELS, v), "n", below(1) | st.integers(21, 99)),
    "sizes": (lambda v: jc.data.dirichlet_sizes(20, 4, v), "alpha", not_positive),
    "least size": (lambda v: jc.data.dirichlet_sizes(9, 2, 1.0, min_size=v), "min_size", below(1)),
    "blocks of time": (
        lambda v: jc.data.by_time(np.arange(20), v), "n", below(1) | st.integers(21, 99),
    ),
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
}  # fmt: skip
