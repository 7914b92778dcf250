"""A run with checkpoints that is meant to be killed.

``killed.py ALGORITHM FOLDER OUT ROUNDS KIND``, where KIND is ``stacked``, ``stream`` for batches of
a function that are skipped after a kill, or ``grain`` for batches whose position is saved.
"""

import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from tests.contract import KEY, B, D, N, make


def batches_of(kind, arrays):
    count = len(arrays["x"])
    rounds = [{name: leaf[t] for name, leaf in arrays.items()} for t in range(count)]
    if kind == "stream":
        return jc.data.stream(lambda: iter(rounds))
    if kind == "grain":
        rows = [{k: leaf[i, 0] for k, leaf in batch.items()} for batch in rounds for i in range(N)]
        return jc.data.grain_batches(rows, np.arange(count * N).reshape(-1, N).T, B)
    return jc.data.stacked(jax.tree.map(jnp.asarray, arrays))


def main(name, folder, out, rounds, kind="stacked"):
    rng = np.random.default_rng(1)
    batches = {"x": rng.normal(size=(rounds, N, B, D)), "y": rng.normal(size=(rounds, N, B))}
    batches = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), batches)
    algorithm, params = make(name), {"w": jnp.ones((N, D)), "b": jnp.zeros(N)}

    def evaluate(state):
        time.sleep(0.02)  # so that some are killed between rounds, and some while saving
        return {"distance": jc.metrics.consensus_distance(state)}

    pathlib.Path(folder, "started").parent.mkdir(parents=True, exist_ok=True)
    result = jc.fit(
        algorithm,
        algorithm.init(params),
        batches_of(kind, batches),
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
    main(*sys.argv[1:4], int(sys.argv[4]), *sys.argv[5:])
