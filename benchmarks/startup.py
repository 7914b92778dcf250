"""The start of a program: the first call, beside hand-written JAX, and with stored programs.

Each measurement is a process of its own:

    python -m benchmarks.startup CASE jcollab|by-hand [FOLDER]

With a folder, it uses the compiled programs there (``jc.layout.use_compilation_cache``). The first
call includes the initial state, the compilation and the run.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

REPEATS = 5
ROUNDS = 300


def measure(names: tuple[str, ...] = (), repeats: int = REPEATS) -> list[dict[str, Any]]:
    """Measures processes alternately, and returns medians of their seconds.

    Args:
        names: cases, all by default.
        repeats: processes of each kind.
    """
    rows = []
    for name in names or tuple(CASES):
        with tempfile.TemporaryDirectory() as folder:
            kinds = {"jcollab": ["jcollab"], "stored": ["jcollab", folder]}
            if name in BY_HAND:
                kinds["by hand"] = ["by-hand"]
            _process(name, *kinds["stored"])  # fills the folder
            times: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
            for _ in range(repeats):
                for kind, arguments in kinds.items():
                    times[kind].append(_process(name, *arguments))
        rows.append(_row(name, times))
    return rows


def _row(name: str, times: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    def median(kind: str, part: str) -> float:
        return statistics.median(row[part] for row in times[kind])

    own, stored = median("jcollab", "first call"), median("stored", "first call")
    hand = median("by hand", "first call") if "by hand" in times else None
    after = {kind: median(kind, "setup") + median(kind, "first call") for kind in times}
    return {
        "case": name,
        "imports and data [s]": median("jcollab", "imports"),
        "first call [s]": own,
        "by hand [s]": hand or "",
        "first call / by hand": own / hand if hand else "",
        "with stored programs [s]": stored,
        "with stored programs / without": stored / own,
        "with setup: stored / without": after["stored"] / after["jcollab"],
        "whole process: stored / without": median("stored", "process")
        / median("jcollab", "process"),
    }


def _process(*arguments: str) -> dict[str, float]:
    start = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.startup", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {**json.loads(done.stdout), "process": time.perf_counter() - start}


def _digits() -> tuple[Any, Any, Any, Any]:
    """Builds the clients, the model and the parameters of the README's program."""
    import jax

    import jcollab as jc

    train = jc.data.load("digits")
    parts = jc.data.dirichlet(train.y, n=16, alpha=0.01)
    model = jc.models.MLP(num_classes=10)

    def init() -> Any:
        return jc.replicate(model.init(jax.random.key(0), train.x[:1]), 16)

    return train, parts, model, init


def decentralized() -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Builds the README's program: RelaySGD on a chain of 16 clients."""
    import optax

    import jcollab as jc

    mixer = jc.relay_sum(jc.topology.chain(16))
    return _of_digits(lambda loss: jc.decentralized(loss, optax.sgd(0.3, momentum=0.9), mixer))


def federated() -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Builds FedAvg with 4 of 16 clients and 5 local steps."""
    import optax

    import jcollab as jc

    return _of_digits(lambda loss: jc.federated(loss, optax.sgd(0.1), num_sampled=4, local_steps=5))


def _of_digits(build: Callable[[Any], Any]) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    import jax

    import jcollab as jc

    train, parts, model, init = _digits()

    def first(params: Any) -> Any:
        batches = jc.data.minibatches(jc.data.by_client(train, parts), 32)
        algorithm = build(jc.objectives.classification(model.apply))
        key = jax.random.key(0)
        return jc.run(algorithm, algorithm.init(params), batches, key, num_rounds=ROUNDS)

    return init, first


def representation_sharing() -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Builds a round of 10 clients with LeNet5, as :mod:`benchmarks.rep_sharing`."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import jcollab as jc

    x = np.random.default_rng(0).normal(size=(10, 64, 28, 28, 1)).astype(np.float32)
    y = np.tile(np.arange(64, dtype=np.int32) % 10, (10, 1))
    model = jc.models.LeNet5()
    algorithm = jc.representation_sharing(
        jc.algorithms.Group(*jc.models.two_parts(model), 10),
        optax.adam(1e-3),
        jc.server(),
        jc.objectives.representation_sharing(10.0, 1.0),
        num_classes=10,
        num_features=84,
        observer=jc.mixing.random_peer(),
        samples_per_class=5,
        batch_size=32,
    )

    def init() -> Any:
        keys = jax.random.split(jax.random.key(0), 10)
        return jax.vmap(model.init, (0, None))(keys, x[0, :1])

    def first(params: Any) -> Any:
        batches = jc.data.full_batch(jc.data.Dataset(jnp.asarray(x), jnp.asarray(y)))
        state = algorithm.init(params)
        return jc.run(algorithm, state, batches, jax.random.key(0), num_rounds=1)

    return init, first


def flows() -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Builds a training step of Glow: 2 levels of 8 steps, width 64, batch 32."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import jcollab as jc

    x = jnp.asarray(np.random.default_rng(0).uniform(size=(32, 28, 28, 1)), jnp.float32)
    flow = jc.flows.glow(levels=2, steps=8, width=64)

    def first(params: Any) -> Any:
        algorithm = jc.centralized(jc.flows.likelihood(flow), optax.adam(1e-3))
        data = jax.tree.map(lambda leaf: leaf[None], jc.data.Dataset(x, jnp.zeros(32, jnp.int32)))
        state, batches = algorithm.init(params), jc.data.full_batch(data)
        return jc.run(algorithm, state, batches, jax.random.key(0), num_rounds=1)

    return lambda: jc.replicate(flow.init(jax.random.key(0), x), 1), first


def decentralized_by_hand() -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Builds :func:`decentralized` without the library."""
    import jax
    import jax.numpy as jnp
    import optax

    init, arrays, step, optimizer = _by_hand(optax.sgd(0.3, momentum=0.9))

    def first(params: Any) -> Any:
        shift = {"right": lambda x: jnp.pad(x[:-1], [(1, 0)] + [(0, 0)] * (x.ndim - 1))}
        shift["left"] = lambda x: jnp.pad(x[1:], [(0, 1)] + [(0, 0)] * (x.ndim - 1))

        @jax.jit
        def run(params: Any, opt_state: Any, key: Any, data: Any) -> Any:
            def one_round(carry: Any, key: Any) -> Any:
                x, opt_state, received, counts = carry
                keys = jax.random.split(key, 16)
                x, opt_state, loss = jax.vmap(step, (0, 0, 0, 0, None))(
                    x, opt_state, keys, data[0], data[1]
                )
                received = {
                    way: jax.tree.map(lambda a, b, way=way: shift[way](a + b), x, received[way])
                    for way in shift
                }
                counts = {way: shift[way](counts[way] + 1) for way in shift}
                missing = 15.0 - counts["left"] - counts["right"]

                def average(own: Any, left: Any, right: Any, initial: Any) -> Any:
                    rest = missing.reshape(16, *[1] * (own.ndim - 1))
                    return (own + left + right + rest * initial) / 16

                x = jax.tree.map(average, x, received["left"], received["right"], params)
                return (x, opt_state, received, counts), loss.mean()

            zeros = {way: jax.tree.map(jnp.zeros_like, params) for way in shift}
            start = (params, opt_state, zeros, {way: jnp.zeros(16) for way in shift})
            return jax.lax.scan(one_round, start, jax.random.split(key, ROUNDS))

        opt_state = jax.vmap(optimizer.init)(params)
        return run(params, opt_state, jax.random.key(0), arrays())

    return init, first


def federated_by_hand() -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Builds :func:`federated` without the library."""
    import jax
    import optax

    init, arrays, step, optimizer = _by_hand(optax.sgd(0.1))

    def first(params: Any) -> Any:
        @jax.jit
        def run(params: Any, key: Any, data: Any) -> Any:
            def client(params: Any, key: Any, own: Any) -> Any:
                def one(carry: Any, key: Any) -> Any:
                    x, opt_state, loss = step(*carry, key, own, data[1])
                    return (x, opt_state), loss

                start = (params, optimizer.init(params))
                (x, _), losses = jax.lax.scan(one, start, jax.random.split(key, 5))
                return x, losses.mean()

            def one_round(params: Any, key: Any) -> Any:
                chosen = jax.random.choice(key, 16, (4,), replace=False)
                own = jax.tree.map(lambda leaf: leaf[chosen], data[0])
                keys = jax.random.split(key, 4)
                x, losses = jax.vmap(client, (None, 0, 0))(params, keys, own)
                return jax.tree.map(lambda leaf: leaf.mean(0), x), losses.mean()

            return jax.lax.scan(one_round, params, jax.random.split(key, ROUNDS))

        return run(jax.tree.map(lambda leaf: leaf[0], params), jax.random.key(0), arrays())

    return init, first


def _by_hand(optimizer: Any) -> tuple[Callable, Callable, Callable, Any]:
    """Builds what both programs by hand share: parameters, data, and a step of one client."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    train, parts, model, init = _digits()

    def arrays() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        sizes = np.array([len(part) for part in parts])
        rows = np.zeros((16, sizes.max()), np.int32)
        for i, part in enumerate(parts):
            rows[i, : len(part)] = part
        return (jnp.asarray(rows), jnp.asarray(sizes)), (jnp.asarray(train.x), jnp.asarray(train.y))

    def step(params: Any, opt_state: Any, key: Any, own: Any, examples: Any) -> Any:
        batch = own[0][jax.random.randint(key, (32,), 0, own[1])]

        def loss(params: Any) -> Any:
            logits, labels = model.apply(params, examples[0][batch]), examples[1][batch]
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    return init, arrays, step, optimizer


CASES = {
    "decentralized": decentralized,
    "federated": federated,
    "representation_sharing": representation_sharing,
    "flows": flows,
}
BY_HAND = {"decentralized": decentralized_by_hand, "federated": federated_by_hand}


def main(name: str, kind: str, folder: str | None = None) -> None:
    """Runs one program in this process, and prints the seconds of its parts as JSON."""
    start = time.perf_counter()
    import jax

    import jcollab as jc

    if folder:
        jc.layout.use_compilation_cache(folder)
    init, first = (CASES if kind == "jcollab" else BY_HAND)[name]()
    ready = time.perf_counter()
    params = jax.block_until_ready(init())
    begun = time.perf_counter()
    jax.block_until_ready(first(params))
    times = {"imports": ready - start, "setup": begun - ready}
    print(json.dumps({**times, "first call": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
