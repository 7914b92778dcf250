"""Every rule, attack, mixer and algorithm of tests/contract.py goes through the same checks."""

import inspect

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab import aggregators
from jcollab.core import Receiver, Round, Wire
from tests.contract import (
    ALGORITHMS,
    ATTACKS,
    KEY,
    KEYS,
    LIARS,
    MIXERS,
    RANDOM,
    RULES,
    N,
    T,
    baseline,
    loss,
    make,
    problem,
    strict,
)

each = pytest.mark.parametrize("name", ALGORITHMS)
# of float32 numbers near 1, after T rounds whose operations come in another order
ROUNDING = {"atol": 1e-6, "rtol": 1e-6}


def run(algorithm, data=None, key=KEY):
    params, batches = problem() if data is None else data
    return jc.run(algorithm, algorithm.init(params), jc.data.stacked(batches), key)


def parameters(function):
    """Names of the parameters, and the defaults of those that have one."""
    listed = inspect.signature(function).parameters.values()
    return [p.name for p in listed], {p.name: p.default for p in listed if p.default is not p.empty}


def assert_same_run(got, name):
    expected = baseline(name).states[0], baseline(name).logs[0]
    chex.assert_trees_all_close(*jax.device_get((got, expected)), **ROUNDING)


@each
def test_a_run_is_traced_once(name):
    assert baseline(name).traces == (1, 1)


@each
def test_arguments_and_the_form_of_a_state(name):
    algorithm, state = baseline(name).algorithm, baseline(name).start
    assert isinstance(algorithm, jc.Algorithm)
    assert parameters(algorithm.init) == (["params", "model_state"], {"model_state": ()})
    assert parameters(algorithm.update) == (["state", "batch", "key"], {})
    assert isinstance(state, jc.State) and state.step.dtype == jnp.int32
    chex.assert_tree_shape_prefix(state.clients, (N,))
    end, log = baseline(name).states[0], baseline(name).logs[0]
    chex.assert_trees_all_equal_shapes_and_dtypes(state, end)
    assert end.step == T and "loss" in log and all(v.shape == (T,) for v in log.values())
    assert np.isfinite(log["loss"]).all()
    models = jc.params_of(state), jc.params_of(end)
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, models), strict=True))


@each
def test_no_leaf_of_a_state_shares_its_memory(name):
    """Neither with another one, nor with the caller's params or the state of a second ``init``."""
    again = baseline(name).algorithm.init(baseline(name).params)
    leaves = jax.tree.leaves((baseline(name).params, baseline(name).start, again))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


@each
def test_params_that_are_not_real_floats_are_refused_by_name(name):
    init, params = baseline(name).algorithm.init, baseline(name).params
    keys = jax.random.split(KEY, N)
    for leaf in (jnp.zeros(N, int), np.ones(N, bool), keys, jnp.zeros(N, complex)):
        with pytest.raises(TypeError, match=r"params\['b'\] must be .*, got " + str(leaf.dtype)):
            init({**params, "b": leaf})


@each
def test_rounds_one_by_one_equal_a_run_and_eager_equals_compiled(name):
    """Each with the memory of the round before, which it is given."""
    algorithm, (params, batches), logs = baseline(name).algorithm, problem(), []
    state = algorithm.init(params)
    for t in range(T):
        state, log = jc.run(
            algorithm, state, jc.data.stacked(batches), KEY, num_rounds=1, donate=True
        )
        logs.append(log)
        if t == 0:
            first = jax.device_get((state, log))
    chex.assert_trees_all_equal(params, problem()[0])  # the caller's arrays are still there
    whole = jax.tree.map(lambda *rounds: jnp.concatenate(rounds), *logs)
    assert_same_run((state, whole), name)
    _, key = jax.random.split(jax.random.fold_in(KEY, 0))  # as a run draws it
    batch = jax.tree.map(lambda leaf: leaf[0], batches)
    eager, log = algorithm.update(baseline(name).start, batch, key)
    chex.assert_trees_all_equal_shapes_and_dtypes(eager, first[0])
    log = jax.tree.map(lambda value: value[None], log)
    chex.assert_trees_all_close((eager, log), first, **ROUNDING)


@each
def test_types_are_kept_beside_float64(name):
    """With 64 bits enabled, where one leaf has them and the other one has not."""
    with jax.enable_x64(True):
        params, batches = problem()
        params["w"] = params["w"].astype(jnp.float64)
        state = make(name).init(params)
        batch = jax.tree.map(lambda leaf: leaf[0], batches)
        after, _ = jax.eval_shape(make(name).update, state, batch, KEY)
        chex.assert_trees_all_equal_shapes_and_dtypes(state, after)


@pytest.mark.slow
@each
def test_64_bits_change_no_draw(name):
    with jax.enable_x64(True):
        got = jax.device_get(run(make(name)))
    expected = jax.device_get((baseline(name).states[0], baseline(name).logs[0]))
    chex.assert_trees_all_close(*jax.tree.map(np.float64, (got, expected)), **ROUNDING)


# these settings make a round slow, so that one of them is tested each time
some = [
    pytest.param(name, marks=() if name == "RelaySGD" else pytest.mark.slow) for name in ALGORITHMS
]


@pytest.mark.parametrize("name", some)
def test_no_tracer_leaks(name):
    batch = jax.tree.map(lambda leaf: leaf[0], problem()[1])
    with jax.checking_leaks():
        jax.eval_shape(make(name).update, baseline(name).start, batch, KEY)


@pytest.mark.parametrize("name", some)
def test_a_round_without_jit_equals_a_compiled_one(name):
    algorithm, batches = baseline(name).algorithm, problem()[1]
    _, key = jax.random.split(jax.random.fold_in(KEY, 0))  # as a run draws it
    batch = jax.tree.map(lambda leaf: leaf[0], batches)
    expected = jax.jit(algorithm.update)(baseline(name).start, batch, key)
    with jax.disable_jit():
        chex.assert_trees_all_close(
            algorithm.update(baseline(name).start, batch, key), expected, **ROUNDING
        )


SERVERS = ["centralized", "FedBuff", "FedAvg", "robust FedAvg"]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_the_mean_of_many_equal_clients_is_their_value(dtype):
    """In half precision a sum of 1000 values would be percents off, or infinite."""
    value = {"w": jnp.array([0.1, 1.1, 2.7], dtype), "b": jnp.array(100, dtype)}
    x = jc.replicate(value, 1000)
    for name in SERVERS:
        chex.assert_trees_all_equal(make(name).init(x).shared.params, value)
    equal = jnp.full((1000, 1000), 1e-3)
    for mixer in (
        jc.all_reduce(),
        jc.server(),
        jc.personal_average(0.3),
        jc.mixing.collaboration(equal),
    ):
        mixed, _ = mixer.update(x, mixer.init(x), Round(KEY, jnp.int32(0)))
        chex.assert_trees_all_equal(mixed, x)
    chex.assert_trees_all_equal(jc.metrics.averaged_model(x), value)
    mean = aggregators.apply(aggregators.weighted(), value, x)
    chex.assert_trees_all_equal(mean, value)


@each
def test_vmap_over_seeds_equals_a_loop(name):
    algorithm = baseline(name).algorithm
    stacked = jax.vmap(lambda key: run(algorithm, key=key))(jnp.stack(KEYS))
    for i in range(len(KEYS)):
        one = jax.tree.map(lambda leaf: leaf[i], stacked)  # noqa: B023
        alone = baseline(name).states[i], baseline(name).logs[i]
        chex.assert_trees_all_close(one, alone, **ROUNDING)


@each
def test_several_devices_equal_one(name):
    """On 4 devices; the slow tests run this file once more on 8."""
    algorithm, batches, mesh = baseline(name).algorithm, problem()[1], jc.layout.mesh()
    with jc.layout.use(mesh):
        state = jc.layout.place(baseline(name).start, mesh)
        state, log = jc.run(algorithm, state, jc.data.stacked(batches), KEY)
    assert_same_run((state, log), name)
    for leaf in jax.tree.leaves(state.clients):
        assert len(leaf.sharding.device_set) == mesh.size > 1


@each
def test_pmap_equals_one_device(name):
    assert_same_run(run(jc.layout.pmap(baseline(name).algorithm)), name)


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name not in RANDOM])
def test_relabeling_clients_relabels_the_result(name):
    new = np.random.default_rng(0).permutation(N)  # client i becomes new[i]
    old = np.argsort(new)

    def relabel(topology):
        graph = nx.empty_graph(N)
        graph.add_edges_from((new[u], new[v]) for u, v in topology.graph.edges)
        return jc.topology.from_networkx(graph)

    params, batches = problem()
    relabeled = (
        jax.tree.map(lambda leaf: leaf[old], params),
        jax.tree.map(lambda leaf: leaf[:, old], batches),
    )
    moved, moved_log = run(make(name, relabel), relabeled)
    models = jc.params_of(baseline(name).states[0])
    if jax.tree.leaves(models)[0].shape[0] == N:
        models = jax.tree.map(lambda leaf: leaf[old], models)
    chex.assert_trees_all_close(jc.params_of(moved), models, atol=1e-5)
    chex.assert_trees_all_close(moved_log, baseline(name).logs[0], atol=1e-5)


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if ALGORITHMS[name][1]])
def test_mean_is_kept_without_learning(name):
    params, _ = problem()
    state, _ = run(make(name, rate=0.0))
    means = [jax.tree.map(lambda leaf: leaf.mean(0), x) for x in (params, jc.params_of(state))]
    chex.assert_trees_all_close(*means, rtol=1e-6, atol=1e-6)


@each
def test_state_survives_serialization(name):
    state = baseline(name).states[0]
    target = baseline(name).algorithm.init(problem(1)[0])
    restored = flax.serialization.from_bytes(target, flax.serialization.to_bytes(state))
    chex.assert_trees_all_equal(restored, state)


@pytest.mark.parametrize("name", MIXERS)
def test_a_mixer(name):
    """``update(x, s, context)`` keeps shapes and types; bytes follow from the shapes alone."""
    mixer = MIXERS[name][0](lambda topology: topology)
    assert isinstance(mixer, jc.Mixer)
    assert parameters(mixer.update) == (["x", "s", "context"], {})
    sent = []
    for dtype, twice in ((jnp.float32, 1), (jnp.bfloat16, 2)):  # as many bytes
        x = jax.tree.map(
            lambda leaf: jnp.stack([leaf] * twice, -1).astype(dtype),  # noqa: B023
            problem()[0],
        )
        with strict():
            state = mixer.init(x)
            chex.assert_tree_shape_prefix(state, (N,))
            for step in (jnp.int32(0), np.int64(0)):
                mixed = jax.eval_shape(mixer.update, x, state, Round(KEY, step))
                chex.assert_trees_all_equal_shapes_and_dtypes((x, state), mixed)
        sent.append(jc.metrics.bytes_sent(mixer, jax.eval_shape(lambda: x)))  # noqa: B023
        assert sent[-1].shape == (N,) and (sent[-1] >= 0).all()
    np.testing.assert_array_equal(*sent)
    if name in ("independent", "random peers"):  # which take no average
        return
    with pytest.raises(TypeError, match=r"params.* must be floating point, got int32"):
        mixer.init({"b": x["b"], "w": jnp.zeros((N, 2), int)})


def messages_of(slots):
    """The own value of one receiver, messages, and equal weights."""
    x = problem()[0]
    own = jax.tree.map(lambda leaf: leaf[0], x)
    messages = jax.tree.map(lambda leaf: jnp.resize(leaf, (slots, *leaf.shape[1:])), x)
    return own, messages, jnp.full(slots, 1 / (slots + 1))


@pytest.mark.parametrize("name", RULES)
def test_a_rule(name):
    """``update(own, messages, weights, s, context)``, which works with ``min_inputs`` inputs."""
    rule = RULES[name]
    assert isinstance(rule, jc.core.Rule) and rule.name != "rule"
    assert parameters(rule.update) == (["own", "messages", "weights", "s", "context"], {})
    own, messages, weights = messages_of(max(rule.min_inputs - 1, 1))
    batch = jax.tree.map(lambda leaf: leaf[0, 0], problem()[1])
    context = Receiver(KEY, jnp.int32(0), jnp.int32(0), jnp.arange(len(weights)), batch=batch)
    state = rule.init(own)
    with strict():
        new, kept = rule.update(own, messages, weights, state, context)
        chex.assert_trees_all_equal_shapes_and_dtypes((new, kept), (own, state))
        chex.assert_tree_all_finite(new)
        # no message has arrived at a client, or at a server
        alone, _ = rule.update(own, messages, 0 * weights, state, context)
        chex.assert_trees_all_close(alone, own, rtol=1e-6)
        server = context._replace(own_counts=False)
        rule.update(own, messages, 0 * weights, state, server)  # whose result it does not use


@pytest.mark.parametrize("name", [name for name in RULES if RULES[name].min_inputs > 2])
def test_a_rule_with_too_few_inputs_is_refused_before_anything_runs(name):
    rule, chain = RULES[name], jc.topology.chain(N)
    too_few, few_clients = rule.min_inputs - 1, problem()[0]["w"][: rule.min_inputs - 1]
    sampled = jc.federated(loss, optax.sgd(0.1), rule=rule, num_sampled=too_few)
    for build in (
        lambda: jc.neighborhood(chain, rule),
        lambda: jc.relay_sum(chain, rule=rule),
        lambda: jc.server(rule).init(few_clients),
        lambda: sampled.init(problem()[0]),
        lambda: aggregators.apply(rule, *messages_of(too_few - 1)),
    ):
        with pytest.raises(ValueError, match=f"rule must work with .*at least {rule.min_inputs}"):
            build()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack(name):
    """``attack(own, messages, weights, byzantine, context)`` on one receiver, in any channel."""
    attack, order = ATTACKS[name], ["own", "messages", "weights", "byzantine", "context"]
    assert parameters(attack) == (order, {})
    topology, x = jc.topology.torus(2, 4), problem()[0]
    senders, mask = jnp.asarray(topology.neighbors), jnp.asarray(topology.mask)
    honest = jax.tree.map(lambda leaf: leaf[senders], x)
    weights = jnp.asarray(topology.weights, jnp.float32)
    wire = Wire(KEY, jnp.int32(0), x, x, jnp.arange(N), senders, weights)
    channel = jc.channels.byzantine(attack, LIARS)
    with strict():
        inbox, arrived, _ = jax.jit(channel.update)(honest, mask, (), wire)
    chex.assert_trees_all_equal_shapes_and_dtypes(inbox, honest)
    np.testing.assert_array_equal(arrived, mask)
    wrong = np.asarray(mask) & LIARS[np.asarray(senders)]
    for message, value in zip(*map(jax.tree.leaves, (inbox, honest)), strict=True):
        np.testing.assert_array_equal(message[~wrong], value[~wrong])
        assert (message[wrong] != value[wrong]).any() and np.isfinite(message).all()
