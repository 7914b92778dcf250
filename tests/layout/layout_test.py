import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab import layout
from jcollab.core import State


def test_results_do_not_depend_on_the_chunk():
    x = jnp.arange(14.0).reshape(7, 2)

    def fn(row, key):
        return {"y": row.sum() + jax.random.normal(key), "z": row}

    keys = layout.client_keys(jax.random.key(1), 7)
    expected = jax.vmap(fn)(x, keys)
    for chunk in (None, 1, 3, 7, 100):
        got = layout.per_client(fn, chunk)(x, keys)
        jax.tree.map(np.testing.assert_array_equal, got, expected)
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        layout.per_client(fn, 0)


@pytest.mark.parametrize("runs", [1, 3, 4, 6])
def test_replicas_on_several_devices_equal_vmap(runs):
    def fn(x, shared, key):
        return x["a"] @ shared["m"] + jax.random.normal(key, (2,))

    x = {"a": jax.random.normal(jax.random.key(0), (runs, 3))}
    shared = {"m": jnp.arange(6.0).reshape(3, 2)}
    keys = jax.random.split(jax.random.key(1), runs)
    expected = jax.vmap(fn, (0, None, 0))(x, shared, keys)
    for chunk in (None, 1):
        got = jax.jit(layout.per_replica(fn, (0, None, 0), chunk))(x, shared, keys)
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_client_keys_belong_to_the_client():
    few, many = (layout.client_keys(jax.random.key(0), n) for n in (3, 9))
    assert (jax.random.key_data(few) == jax.random.key_data(many)[:3]).all()


def test_devices_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"num_devices must be in 1\.\.4, got 9"):
        layout.mesh(9)
    with pytest.raises(ValueError, match=r"tree\['a'\] is a scalar"):
        layout.num_clients({"a": jnp.zeros(())})
    with pytest.raises(ValueError, match="holds no array"):
        layout.num_clients(())
    with pytest.raises(ValueError, match=r"state.clients\['b'\] has a client axis of length 3"):
        state = State({"a": jnp.zeros(4), "b": jnp.zeros(3)}, (), jnp.int32(0))
        layout.place(state, layout.mesh(4))
    with pytest.raises(ValueError, match="n=6 clients cannot be split evenly over 4 devices"):
        layout.own_clients(6, layout.mesh(4))
    assert layout.own_clients(8, layout.mesh(4)) == range(8)


@pytest.mark.parametrize("n", [1, 6, 7])
def test_clients_that_the_devices_do_not_divide(n):
    mesh, x = layout.mesh(4), jnp.arange(2.0 * n).reshape(n, 2)
    with layout.use(mesh):
        state = layout.place(State(x, (), jnp.int32(0)), mesh)
        got = jax.jit(layout.per_client(lambda row: row + 1))(state.clients)
    np.testing.assert_array_equal(got, x + 1)


@pytest.mark.parametrize("n", [8, 6])
@pytest.mark.parametrize("mixer", ["gossip", "relay", "all-reduce"])
def test_pmap_and_sharding_equal_one_device(n, mixer):
    topology = jc.topology.binary_tree(n)
    mixers = {
        "gossip": jc.gossip(topology, sparse=True),
        "relay": jc.relay_sum(topology),
        "all-reduce": jc.all_reduce(),
    }

    def loss(w, batch, key):
        return jnp.sum((w - batch) ** 2)

    algorithm = jc.decentralized(loss, optax.sgd(0.1), mixers[mixer])
    batches = jax.random.normal(jax.random.key(0), (3, n, 2))
    state, key = algorithm.init(None, jnp.zeros((n, 2))), jax.random.key(1)
    expected, log = jc.run(algorithm, state, batches, key)
    spread = layout.pmap(algorithm)
    got, got_log = jc.run(spread, state, batches, key)
    np.testing.assert_allclose(got.clients.params, expected.clients.params, atol=1e-6)
    np.testing.assert_allclose(got_log["loss"], log["loss"], rtol=1e-5)
    with layout.use(layout.mesh(4)) as mesh:
        got, _ = jc.run(algorithm, layout.place(state, mesh), batches, key)
    np.testing.assert_allclose(got.clients.params, expected.clients.params, atol=1e-6)


def test_several_devices_work_on_each_client():
    """Two devices share the batch of a client; the compiler adds up their gradients."""
    n, topology, key = 4, jc.topology.ring(4), jax.random.key(1)

    def loss(w, batch, key):
        return jnp.mean((batch @ w) ** 2)

    algorithm = jc.decentralized(loss, optax.sgd(0.1), jc.gossip(topology, sparse=True))
    batches = jax.random.normal(jax.random.key(0), (3, n, 8, 2))
    state = algorithm.init(None, jnp.ones((n, 2)))
    expected, _ = jc.run(algorithm, state, batches, key)
    mesh = layout.mesh(4, inner=2)
    assert mesh.shape == {"clients": 2, "inner": 2}
    spec = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "clients", "inner"))
    with layout.use(mesh):
        spread = jax.device_put(batches, spec)
        got, _ = jc.run(algorithm, layout.place(state, mesh), spread, key)
        text = jax.jit(algorithm.update).lower(layout.place(state, mesh), spread[0], key).compile()
    np.testing.assert_allclose(got.clients.params, expected.clients.params, atol=1e-6)
    assert "all-reduce" in text.as_text()
    with pytest.raises(ValueError, match="inner must divide the 4 devices, got 3"):
        layout.mesh(4, inner=3)


@pytest.mark.parametrize("n", [1, 6, 8, 11])
def test_sums_over_clients(n):
    def fn(row, shared, key):
        return {"y": row * shared + jax.random.normal(key), "z": row.sum()}

    def keeping(row, shared, key):
        return fn(row, shared, key), row * 2

    x, shared = jax.random.normal(jax.random.key(0), (n, 3)), jnp.float32(2.0)
    keys, axes = layout.client_keys(jax.random.key(1), n), (0, None, 0)
    expected = jax.tree.map(lambda leaf: leaf.sum(0), jax.vmap(fn, axes)(x, shared, keys))
    for chunk in (None, 1, 3):
        summed = layout.client_sum(fn, chunk, in_axes=axes)
        got = jax.jit(summed)(x, shared, keys)
        np.testing.assert_allclose(got["y"], expected["y"], rtol=1e-5)
        with layout.use(layout.mesh(4)):
            got = jax.jit(layout.client_sum(fn, chunk, in_axes=axes))(x, shared, keys)
            pair = jax.jit(layout.client_sum(keeping, chunk, in_axes=axes, keep=True))
            also, kept = pair(x, shared, keys)
        np.testing.assert_allclose(got["y"], expected["y"], rtol=1e-5)
        np.testing.assert_allclose(also["z"], expected["z"], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(kept, 2 * x)
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        layout.client_sum(fn, 0)


def test_pmap_names_a_leaf_without_client_axis():
    def update(state, batch, key):
        return state, {}

    spread = layout.pmap(jc.Algorithm(lambda key, params: None, update))
    state = State({"w": jnp.zeros((4, 2)), "count": jnp.zeros(())}, (), jnp.int32(0))
    with pytest.raises(ValueError, match=r"state.clients.*\['count'\] is a scalar"):
        spread.update(state, jnp.zeros(4), None)


def moved_bytes(mixer, x, devices=4):
    """Bytes that each device receives in the compiled program, by kind of collective."""
    mesh = layout.mesh(devices)
    with layout.use(mesh):
        state = layout.place(State((x, mixer.init(x)), (), jnp.int32(0)), mesh)

        def mix(x, s):
            return mixer.update(x, s, key=jax.random.key(0), step=jnp.int32(0))

        text = jax.jit(mix).lower(*state.clients).compile().as_text()
    moved = {}
    pattern = r"= (\w+)\[([\d,]*)\][^ ]* (all-gather|collective-permute|all-reduce|all-to-all)\("
    for kind, shape, name in re.findall(pattern, text):
        size = int(np.prod([int(v) for v in shape.split(",") if v])) * int(kind[1:] or 8) // 8
        moved[name] = moved.get(name, 0) + size
    return moved


@pytest.mark.parametrize("n", [64, 256])
def test_only_rows_that_cross_devices_move(n):
    """On a ring and a chain these are two rows for each device, whatever the number of clients."""
    d, row = 10, 40
    x = jnp.zeros((n, d))
    assert moved_bytes(jc.gossip(jc.topology.ring(n), sparse=True), x) == {
        "collective-permute": 2 * row
    }
    clipped = jc.neighborhood(jc.topology.ring(n), jc.aggregators.self_centered_clip(1.0))
    assert moved_bytes(clipped, x) == {"collective-permute": 2 * row}
    relayed = moved_bytes(jc.relay_sum(jc.topology.chain(n), fill="zero"), x)
    assert relayed == {"collective-permute": 2 * (row + 4)}  # with a count
    pushed = moved_bytes(jc.push_sum(jc.topology.ring(n).graph.to_directed()), x)
    assert pushed == {"collective-permute": 2 * (row + 4)}  # with a push-sum weight
    dense = moved_bytes(jc.gossip(jc.topology.ring(n), sparse=False), x)
    assert dense == {"all-gather": n * row}
    graph = jc.topology.random_regular(n, 4)
    part, owner = n // 4, np.arange(n) // (n // 4)
    most = 0
    for shift in (1, 2, 3):
        crossing = [
            len(
                {
                    j
                    for i in range(p * part, (p + 1) * part)
                    for j in graph.graph.adj[i]
                    if owner[j] == (p - shift) % 4
                }
            )
            for p in range(4)
        ]
        most += max(crossing)
    assert moved_bytes(jc.gossip(graph, sparse=True), x) == {"collective-permute": most * row}


def test_import_starts_no_backend_and_loads_no_framework():
    script = (
        "import sys, jcollab\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge.backends_are_initialized()\n"
        "loaded = {'flax', 'distrax', 'tensorflow', 'tensorflow_datasets', 'matplotlib.pyplot'}\n"
        "assert not loaded & set(sys.modules), loaded & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
