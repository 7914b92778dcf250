import subprocess
import sys

import jax
import jax.numpy as jnp
import optax
import pytest

import jcollab as jc
from tests import ROOT

N, D = 16, 200_000
MEASURED = """
import jax
import jax.numpy as jnp
import optax
import jcollab as jc
from tests.layout.memory_test import arguments, parts

algorithm, run = parts()
state, batches, key = arguments(algorithm, jnp.zeros)

def peak():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

small = jc.decentralized(lambda p, b, k: jnp.sum((p - b) ** 2), optax.sgd(0.1), jc.identity())
few = jnp.zeros((2, 3))
jc.run(small, small.init(few), jc.data.full_batch(few), key, num_rounds=2)
before = peak()
jax.block_until_ready(run(state, batches, key))
print(peak() - before)
"""


def parts():
    def loss(params, batch, key):
        return jnp.mean((params["w"] - batch) ** 2)

    algorithm = jc.decentralized(loss, optax.sgd(0.1, momentum=0.9), jc.gossip(jc.topology.ring(N)))
    run = jax.tree_util.Partial(jc.run, algorithm, num_rounds=5)
    return algorithm, lambda state, batches, key: run(state, batches, key)


def arguments(algorithm, make):
    params = {"w": make((N, D), jnp.float32)}
    init = algorithm.init if make is jnp.zeros else lambda p: jax.eval_shape(algorithm.init, p)
    return init(params), jc.data.full_batch(params["w"]), jax.random.key(0)


def test_the_memory_of_a_program():
    def fn(x):
        return jnp.cumsum(x) * 2

    compiled = jax.jit(fn).lower(jnp.zeros(1000)).compile()
    assert 8000 <= jc.layout.memory_of(compiled) <= 40_000
    assert jc.layout.free_memory() is None or jc.layout.free_memory() > 1 << 20


def forecast(**options):
    algorithm, run = parts()
    state, batches, key = arguments(algorithm, jax.ShapeDtypeStruct)
    return jc.layout.forecast(run, state=state, batches=batches, key=key, **options)


def test_a_forecast_from_shapes():
    need, array = forecast(), N * D * 4  # the state: models, momentum, weights, step
    assert need.arguments == {"state": 2 * array + 1028, "batches": array, "key": 8}
    assert need.devices == 1
    parts = sum(need.arguments.values()) + need.results + need.temporary
    assert abs(need.total - parts) < 1000  # XLA leaves out arguments that are not used
    assert need.results >= 2 * array
    donated = forecast(donate=("state",))
    assert donated.results < array
    assert donated.total <= need.total - 2 * array


def test_a_forecast_of_several_devices():
    algorithm, run = parts()
    mesh = jc.layout.mesh(2)
    with jc.layout.use(mesh):
        state, batches, key = arguments(algorithm, jnp.zeros)
        state = jc.layout.place(state, mesh)
        need = jc.layout.forecast(run, state=state, batches=batches, key=key)
    assert need.devices == 2
    assert need.arguments["state"] == N * D * 4 + 4 + N * N * 2


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read from /proc")
def test_a_forecast_is_near_what_a_run_takes():
    """Pages of memory that the process used for compiling may be used again: not below a third."""
    need = forecast()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    growth = int(done.stdout)
    grown = need.results + need.temporary  # the arguments exist before
    assert grown / 3 < growth < 2 * grown + (64 << 20), (growth, need)


def test_names_of_donated_arguments_are_checked():
    with pytest.raises(ValueError, match="donate must be"):
        jc.layout.forecast(lambda x: x, x=jnp.zeros(3), donate=("y",))
