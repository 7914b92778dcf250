"""Trains D-PSGD and RelaySGD; run by several processes, or by one with -1 for its number."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jcollab as jc

N, T = 8, 5


def loss(params, batch, key):
    return jnp.sum((params["w"] - batch) ** 2) + jax.random.normal(key)


def main(process, port, out, timeout=60):
    if process >= 0:
        jc.layout.initialize(f"localhost:{port}", 2, process, timeout=timeout)
    mesh, key = jc.layout.mesh(), jax.random.key(0)
    batches = np.random.default_rng(0).normal(size=(N, T, 3)).astype(np.float32)
    topology, found = jc.topology.chain(N), {}
    own = jc.layout.own_clients(N, mesh)
    assert len(own) == (N if process < 0 else N // 2)
    data = jc.layout.from_own(batches[own.start : own.stop], mesh)  # the own clients' only

    def sample(data, key, step):
        return data[:, step]

    mixers = {"gossip": jc.gossip(topology, sparse=True), "relay": jc.relay_sum(topology)}
    for name, mixer in mixers.items():
        algorithm = jc.decentralized(loss, optax.sgd(0.1, momentum=0.9), mixer)
        with jc.layout.use(mesh):
            state = jc.layout.place(algorithm.init(key, {"w": jnp.zeros((N, 3))}), mesh)
            state, log = jc.run(algorithm, state, data, key, num_rounds=T, sample=sample)
        found[name] = jc.layout.fetch(state.clients.params["w"])
        found[f"{name} loss"] = np.asarray(log["loss"])
    np.savez(out, **found)


if __name__ == "__main__":
    options = {"timeout": int(sys.argv[5])} if len(sys.argv) > 4 else {}
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], **options)
