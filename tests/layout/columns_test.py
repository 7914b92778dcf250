import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from jcollab import layout
from jcollab.layout import columns


@pytest.fixture
def small_blocks(monkeypatch):
    """Makes blocks of 16 coordinates for 8 clients in float32."""
    monkeypatch.setattr(columns, "BLOCK_BYTES", 8 * 16 * 4)
    monkeypatch.setattr(columns, "NARROWEST", 16)


@pytest.mark.parametrize("size", [31, 32, 48, 50, 63])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_equals_the_function_of_the_whole_array(small_blocks, size, dtype):
    """Whole numbers are exact in both types, also where the last block overlaps another one."""
    x = np.random.default_rng(0).integers(-8, 9, (8, size))
    weight = jnp.asarray(2, dtype)

    def mix(x, weight):
        return weight * jnp.roll(x, 1, axis=0) - x

    got = jax.jit(lambda x: layout.by_columns(mix, x, weight))(jnp.asarray(x, dtype))
    assert got.dtype == dtype
    np.testing.assert_array_equal(got.astype(int), 2 * np.roll(x, 1, axis=0) - x)


def test_axes_of_coordinates_are_kept(small_blocks):
    x = np.arange(8 * 5 * 11, dtype=np.float32).reshape(8, 5, 11)
    got = layout.by_columns(lambda x: x[::-1], jnp.asarray(x))
    np.testing.assert_array_equal(got, x[::-1])


def test_derivatives_are_those_of_the_whole_function(small_blocks):
    """x' = w roll(x): the gradient of sum(c x') is w roll^-1(c), and sum(c roll(x)) for w."""
    rng = np.random.default_rng(0)
    x, c = rng.integers(-8, 9, (2, 8, 50)).astype(np.float32)

    def total(x, w):
        return jnp.sum(c * layout.by_columns(lambda x, w: w * jnp.roll(x, 1, 0), x, w))

    at_x, at_w = jax.grad(total, (0, 1))(jnp.asarray(x), 3.0)
    np.testing.assert_array_equal(at_x, 3 * np.roll(c, -1, 0))
    assert at_w == np.sum(c * np.roll(x, 1, 0))


def test_runs_in_the_memory_of_a_donated_array():
    """Rounds of gossip on large models need memory for a block, not for a second array."""
    n, size, rounds = 16, 1 << 18, 4
    mixer = jc.gossip(jc.topology.ring(n), sparse=True)
    x = jnp.zeros((n, size))
    s = mixer.init(x)

    def mix(x, s):
        def one_round(x, _):
            return mixer.update(x, s, jc.core.Round(jax.random.key(0), jnp.int32(0)))[0], None

        return jax.lax.scan(one_round, x, None, length=rounds)[0]

    compiled = jax.jit(mix, donate_argnums=0).lower(x, s).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < x.nbytes / 2


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("kind", ["gossip", "push-sum"])
def test_mixers_agree_with_a_matrix_product(small_blocks, kind, devices):
    """After three rounds, float32 values of size 1 differ by a few rounding errors, 1e-6."""
    n, size, rounds = 8, 50, 3
    graph = jc.topology.ring(n)
    if kind == "gossip":
        mixer, matrix = jc.gossip(graph, sparse=True), jc.topology.mixing_matrix(graph)
    else:
        directed = graph.graph.to_directed()
        mixer = jc.mixing.push_sum(directed)
        matrix = np.eye(n) / 3 + sum(np.roll(np.eye(n), k, 1) for k in (1, -1)) / 3
    x = np.random.default_rng(0).normal(size=(n, size)).astype(np.float32)
    with layout.use(layout.mesh(devices)):
        values, s = jnp.asarray(x), mixer.init(jnp.asarray(x))
        for t in range(rounds):
            values, s = jax.jit(mixer.update)(values, s, jc.core.Round(jax.random.key(0), t))
    want = np.linalg.matrix_power(np.asarray(matrix, float), rounds) @ x
    np.testing.assert_allclose(values, want, atol=1e-6)
