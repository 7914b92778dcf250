import subprocess
import sys

import jax.numpy as jnp
import pytest

from jcollab import layout
from jcollab.core import State


def test_devices_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"num_devices must be in 1\.\.4, got 9"):
        layout.mesh(9)
    with pytest.raises(
        ValueError, match=r"tree\['a'\] must lead with the client axis .*, got a scalar"
    ):
        layout.num_clients({"a": jnp.zeros(())})
    with pytest.raises(ValueError, match="must have at least one array"):
        layout.num_clients(())
    with pytest.raises(ValueError, match=r"state.clients\['b'\] must lead with n="):
        state = State({"a": jnp.zeros(4), "b": jnp.zeros(3)}, (), jnp.int32(0))
        layout.place(state, layout.mesh(4))
    with pytest.raises(ValueError, match="n=6 clients cannot be split evenly over 4 devices"):
        layout.own_clients(6, layout.mesh(4))
    assert layout.own_clients(8, layout.mesh(4)) == range(8)


def test_import_starts_no_backend_and_loads_no_framework():
    script = (
        "import sys, jcollab\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge.backends_are_initialized()\n"
        "loaded = {'flax', 'distrax', 'tensorflow', 'tensorflow_datasets', 'matplotlib.pyplot'}\n"
        "assert not loaded & set(sys.modules), loaded & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
