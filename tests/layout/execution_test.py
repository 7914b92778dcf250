import chex
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
        chex.assert_trees_all_close(got, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        layout.per_client(fn, 0)


def _chunks(change, rows):
    """Returns the numbers of clients for which ``change`` is called together."""
    seen = []

    def look(rows):
        seen.append(len(rows))
        return rows

    def fn(row):
        # the first entry is looked at; vmap puts its axis in front of it
        return jax.pure_callback(look, row[:1], change(row)[:1], vmap_method="expand_dims")

    jax.block_until_ready(layout.per_client(fn)(rows))
    return seen


def test_on_a_cpu_clients_of_one_step_are_vectorized_together_up_to_64_mib():
    assert _chunks(lambda row: row, jnp.zeros((4, 1 << 22))) == [4]
    assert _chunks(lambda row: row, jnp.zeros((4, (1 << 22) + 1))) == [1] * 4


def test_on_a_cpu_clients_of_several_steps_are_vectorized_in_chunks_of_256_kib():
    def steps(row):
        return jax.lax.fori_loop(0, 3, lambda _, row: row + 1, row)

    for kib, together in ((32, [4]), (128, [2, 2]), (256, [1] * 4), (512, [1] * 4)):
        assert _chunks(steps, jnp.zeros((4, kib * 256))) == together, kib


@pytest.mark.parametrize("rewrite", [lambda fn: fn, layout.fast_layers])
def test_on_a_cpu_clients_with_convolutions_follow_one_another(rewrite):
    def convolve(row):
        image, kernel = row[:16].reshape(1, 4, 4, 1), row[:4].reshape(2, 2, 1, 1)
        how = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=how)[
            0, 0, 0
        ]

    assert _chunks(rewrite(convolve), jnp.zeros((4, 16))) == [1] * 4


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


@pytest.mark.parametrize("n", [1, 6, 7])
def test_clients_that_the_devices_do_not_divide(n):
    mesh, x = layout.mesh(4), jnp.arange(2.0 * n).reshape(n, 2)
    with layout.use(mesh):
        state = layout.place(State(x, (), jnp.int32(0)), mesh)
        got = jax.jit(layout.per_client(lambda row: row + 1))(state.clients)
    np.testing.assert_array_equal(got, x + 1)


def test_several_devices_work_on_each_client():
    """Two devices share the batch of a client; the compiler adds up their gradients."""
    n, topology, key = 4, jc.topology.ring(4), jax.random.key(1)

    def loss(w, batch, key):
        return jnp.mean((batch @ w) ** 2)

    algorithm = jc.decentralized(loss, optax.sgd(0.1), jc.gossip(topology, sparse=True))
    batches = jax.random.normal(jax.random.key(0), (3, n, 8, 2))
    state = algorithm.init(jnp.ones((n, 2)))
    expected, _ = jc.run(algorithm, state, jc.data.stacked(batches), key)
    mesh = layout.mesh(4, inner=2)
    assert mesh.shape == {"clients": 2, "inner": 2}
    spec = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "clients", "inner"))
    with layout.use(mesh):
        spread = jax.device_put(batches, spec)
        got, _ = jc.run(algorithm, layout.place(state, mesh), jc.data.stacked(spread), key)
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


@pytest.mark.parametrize("replicas", [2, 3, 4, 5, 6, 7, 9])
def test_results_of_replicas_can_be_given_back(replicas):
    """Also where the devices do not divide their number."""
    step = jax.jit(layout.per_replica(lambda x: x[:, None] * x[None, :] @ x))
    x = jnp.arange(2.0 * replicas).reshape(replicas, 2) / replicas
    expected = x
    for _ in range(2):
        x, expected = step(x), jax.vmap(lambda v: v[:, None] * v[None, :] @ v)(expected)
    np.testing.assert_allclose(x, expected, rtol=1e-6)


def test_chunks_divide_the_clients_where_they_can():
    """A last chunk of another size would be a second program."""
    budget = layout.chunks.CPU_CHUNK_BYTES
    for n, fits, size in ((16, 5, 4), (16, 16, 16), (16, 100, 16), (7, 5, 5), (100, 30, 25)):
        calls = []

        def fn(x, calls=calls):
            calls.append(x)
            return x + 1

        x = jnp.arange(float(n))
        mapped = layout.per_client(fn, bytes_each=budget // fits)
        assert mapped(x).tolist() == (x + 1).tolist()
        assert len(calls) == 1  # traced once, for a last chunk of another size too
        assert layout.chunks.chunked(fn, (x,), None, budget // fits)[1] == size
