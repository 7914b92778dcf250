import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
    mesh = layout.mesh(4)
    with pytest.raises(ValueError, match="n=6 clients cannot be split evenly over 4 devices"):
        layout.place(State(jnp.zeros((6, 2)), (), jnp.int32(0)), mesh)
    with (
        layout.use(mesh),
        pytest.raises(ValueError, match="n=6 clients cannot be split evenly"),
    ):
        layout.per_client(lambda x: x)(jnp.zeros((6, 2)))
    with pytest.raises(ValueError, match=r"num_devices must be in 1\.\.4, got 9"):
        layout.mesh(9)
    with pytest.raises(ValueError, match=r"tree\['a'\] is a scalar"):
        layout.num_clients({"a": jnp.zeros(())})
    with pytest.raises(ValueError, match="holds no array"):
        layout.num_clients(())


def test_import_starts_no_backend_and_loads_no_framework():
    script = (
        "import sys, jcollab\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge.backends_are_initialized()\n"
        "loaded = {'flax', 'distrax', 'tensorflow', 'tensorflow_datasets', 'matplotlib.pyplot'}\n"
        "assert not loaded & set(sys.modules), loaded & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
