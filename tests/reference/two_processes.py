"""Runs algorithms of the contract test; started by several processes, or by one with number -1."""

import argparse

import jax
import numpy as np

import jcollab as jc


def main(process, port, out, timeout, names):
    if process >= 0:
        jc.layout.initialize(f"localhost:{port}", 2, process, timeout=timeout)
    from tests.contract import ALGORITHMS, KEY, N, T, make, problem

    mesh, arrays = jc.layout.mesh(), {}
    params, batches = jax.tree.map(np.asarray, problem())
    own = jc.layout.own_clients(N, mesh)
    assert len(own) == (N if process < 0 else N // 2)
    # each process holds the data of its own clients only, [n/2, T, ...]
    mine = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1)[own.start : own.stop], batches)
    data = jc.layout.from_process_local(mine, mesh)

    def sample(data, key, step):
        return jax.tree.map(lambda leaf: leaf[:, step], data)

    for name in names or ALGORITHMS:
        algorithm = make(name)
        with jc.layout.use(mesh):
            state = jc.layout.place(algorithm.init(params), mesh)
            state, log = jc.run(
                algorithm, state, jc.data.from_function(sample, data), KEY, num_rounds=T
            )
        for path, leaf in jax.tree_util.tree_leaves_with_path(jc.params_of(state)):
            arrays[f"{name} {jax.tree_util.keystr(path)}"] = jc.layout.fetch(leaf)
        arrays[f"{name} loss"] = np.asarray(log["loss"])
    np.savez(out, **arrays)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("process", type=int)
    parser.add_argument("port")
    parser.add_argument("out")
    parser.add_argument("--timeout", type=int, default=60)
    parser.add_argument("--names", nargs="*", default=())
    asked = parser.parse_args()
    main(asked.process, asked.port, asked.out, asked.timeout, asked.names)
