"""Params may be any pytree: a model in a dataclass, a FrozenDict or NumPy arrays trains alike."""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc

N, KEY = 4, jax.random.key(0)


@flax.struct.dataclass
class Struct:
    w: jax.Array
    name: str = flax.struct.field(pytree_node=False, default="layer")


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Registered:
    w: jax.Array


class Pair(NamedTuple):
    w: jax.Array
    nothing: None = None


class Module(eqx.Module):
    w: jax.Array
    activation: object = eqx.field(static=True)


@pytest.mark.parametrize(
    "algorithm",
    [
        lambda loss: jc.decentralized(loss, optax.adam(0.1), jc.gossip(jc.topology.ring(N))),
        lambda loss: jc.federated(loss, optax.sgd(0.1), method=jc.local.scaffold()),
    ],
    ids=["D-PSGD", "SCAFFOLD"],
)
def test_any_pytree_trains_as_a_dictionary(algorithm):
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(6, N, 3)).astype(np.float32)
    frozen = flax.core.freeze({"layer": {"w": arrays[0]}})
    parts = [
        frozen,
        Struct(arrays[1]),
        Registered(jnp.asarray(arrays[2])),
        Pair(jnp.asarray(arrays[3])),
        Module(jnp.asarray(arrays[4]), jnp.tanh),
        {"layer": [arrays[5], None]},
    ]
    plain = {str(i): jnp.asarray(w) for i, w in enumerate(arrays)}

    def loss(params, batch, key):
        stacked = jnp.stack(jax.tree.leaves(params))
        return jnp.mean((stacked - batch) ** 2 * jnp.arange(1, 7)[:, None])

    batches = jc.data.stacked(rng.normal(size=(2, N, 1, 1, 3)).astype(np.float32))
    trained = algorithm(loss)
    models = []
    for params in (parts, plain):
        state, _ = jc.run(trained, trained.init(params), batches, KEY)
        models.append(jc.params_of(state))
    assert jax.tree.structure(models[0]) == jax.tree.structure(parts)
    for got, expected in zip(*map(jax.tree.leaves, models), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
        assert isinstance(got, jax.Array)
