"""Representation sharing on the problem of the contract test."""

import jax.numpy as jnp

import jcollab as jc


def prototypes_over_a_ring(g, optimizer, n=8, d=3):
    """Of a model that is linear in two parts; signs of the targets are the classes."""
    group = jc.algorithms.Group(
        lambda p, x: jnp.tanh(x * p["w"][None]), lambda p, s: s[:, :2] * p["b"], clients=n
    )
    algorithm = jc.representation_sharing(
        group,
        optimizer,
        jc.gossip(g(jc.topology.ring(n))),
        jc.objectives.representation_sharing(),
        num_classes=2,
        num_features=d,
        observer=jc.mixing.random_peer(),
        batch_size=1,
    )

    def update(state, batch, key):
        labels = (batch["y"] > 0).astype(jnp.int32)
        return algorithm.update(state, jc.data.Dataset(batch["x"], labels), key)

    return jc.Algorithm(algorithm.init, update)
