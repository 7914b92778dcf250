import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc

KEY = jax.random.key(0)
GRAPHS = {
    "chain": jc.topology.chain(6),
    "ring": jc.topology.ring(6),
    "star": jc.topology.star(6),
    "tree": jc.topology.binary_tree(6),
    "complete": jc.topology.complete(6),
}


def drive(mixer, values, key=KEY):
    """Outputs of a mixer for a list of inputs, and its last state."""
    state = mixer.init(jnp.asarray(values[0]))
    update = jax.jit(lambda x, s, step: mixer.update(x, s, jc.core.Round(key, step)))
    outputs = []
    for t, x in enumerate(values):
        out, state = update(jnp.asarray(x), state, jnp.int32(t))
        outputs.append(np.asarray(out))
    return outputs, state


def draws(step_key, topology, p):
    """Which (receiver, sender) messages of one round arrive."""
    _, key = None, step_key
    keys = jc.layout.client_keys(key, topology.n)
    width = topology.neighbors.shape[1]
    u = np.stack([jax.random.uniform(k, (width,), jnp.float32) for k in keys])
    return {
        (i, int(topology.neighbors[i, k])): u[i, k] >= p
        for i in range(topology.n)
        for k in range(int(topology.degrees[i]))
    }
