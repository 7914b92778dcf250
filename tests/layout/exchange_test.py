import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from jcollab import layout
from jcollab.core import State


def moved_bytes(mixer, x, devices=4):
    """Bytes that each device receives in the compiled program, by kind of collective."""
    mesh = layout.mesh(devices)
    with layout.use(mesh):
        state = layout.place(State((x, mixer.init(x)), (), jnp.int32(0)), mesh)

        def mix(x, s):
            return mixer.update(x, s, jc.core.Round(jax.random.key(0), jnp.int32(0)))

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
    pushed = moved_bytes(jc.mixing.push_sum(jc.topology.ring(n).graph.to_directed()), x)
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
