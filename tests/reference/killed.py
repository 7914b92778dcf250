"""A run with checkpoints that is meant to be killed: ``killed.py ALGORITHM FOLDER OUT ROUNDS``."""

import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from tests.contract import KEY, B, D, N, make


def main(name, folder, out, rounds):
    rng = np.random.default_rng(1)
    batches = {"x": rng.normal(size=(rounds, N, B, D)), "y": rng.normal(size=(rounds, N, B))}
    batches = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), batches)
    algorithm, params = make(name), {"w": jnp.ones((N, D)), "b": jnp.zeros(N)}

    def evaluate(state):
        time.sleep(0.02)  # so that some are killed between rounds, and some while saving
        return {"distance": jc.metrics.consensus_distance(state)}

    pathlib.Path(folder, "started").parent.mkdir(parents=True, exist_ok=True)
    result = jc.fit(
        algorithm,
        algorithm.init(params),
        jc.data.stacked(batches),
        KEY,
        num_rounds=rounds,
        eval_every=1,
        evaluate=evaluate,
        listeners=[jc.training.JsonLines(f"{out}.jsonl")],
        checkpoint=jc.training.Checkpoint(pathlib.Path(folder, "run"), 0, {"algorithm": name}),
    )
    leaves = {f"state{i}": leaf for i, leaf in enumerate(jax.tree.leaves(result.state))}
    np.savez(f"{out}.npz", **leaves, **{f"log_{k}": v for k, v in result.log.items()})


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
