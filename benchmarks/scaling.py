"""Seconds and memory of a round against clients, parameters, local steps, devices and processes.

    python -m benchmarks.scaling [--smoke] [--out FILE] [--draw FOLDER]

Each point is measured in a process of its own and written to a file as one line of JSON. Points
that are in the file are not measured again, so that an interrupted run continues.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

OUT = pathlib.Path("runs/scaling.jsonl")
LIMIT = 600  # seconds of one point
REPEATS = 5
CURVES = {
    "clients, gossip": ("n", (16, 256, 4096, 65_536, 1_000_000)),
    "clients, FedAvg with 16 sampled": ("n", (16, 256, 4096, 65_536, 1_000_000)),
    "parameters": ("parameters", (10**3, 10**4, 10**5, 10**6, 10**7)),
    "local steps": ("steps", (1, 4, 16, 64)),
    "devices": ("devices", (1, 2, 4)),
    "processes": ("processes", (1, 2)),
}
SMOKE = {"parameters": ("parameters", (10**3, 10**4)), "processes": ("processes", (1, 2))}


def measure(
    out: pathlib.Path | None = None, curves: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Measures all points that are not in the file, and returns one row for each curve.

    Args:
        out: file of the points.
        curves: see ``CURVES``.
    """
    out, curves = out or OUT, curves or CURVES
    for curve, (_, values) in curves.items():
        for value in values:
            if (curve, value) not in _known(out):
                point = {"curve": curve, "value": value, **_point(curve, value)}
                out.parent.mkdir(parents=True, exist_ok=True)
                with out.open("a") as file:
                    file.write(json.dumps(point) + "\n")
    return [_row(curve, _known(out), values) for curve, (_, values) in curves.items()]


def _known(out: pathlib.Path) -> dict[tuple[str, int], dict[str, Any]]:
    lines = out.read_text().splitlines() if out.exists() else []
    points = [json.loads(line) for line in lines]
    return {(point["curve"], point["value"]): point for point in points}


def _row(curve: str, known: dict[tuple[str, int], Any], values: tuple[int, ...]) -> dict[str, Any]:
    points = [known[curve, value] for value in values]
    return {
        "curve": curve,
        "values": ", ".join(f"{value:,}" for value in values),
        "seconds a round": ", ".join(f"{p['seconds']:.2g}" for p in points),
        "slope of the last two": slope(points),
        "MiB, measured": ", ".join(f"{p['bytes'] / 2**20:.0f}" for p in points),
        "MiB, forecast": ", ".join(f"{p['forecast'] / 2**20:.0f}" for p in points),
    }


def slope(points: list[dict[str, Any]]) -> float:
    """Returns the exponent s of ``seconds ~ value^s`` between the last two points."""
    (a, b), (s, t) = ([p[part] for p in points[-2:]] for part in ("value", "seconds"))
    return float(np.log(t / s) / np.log(b / a))


def _point(curve: str, value: int) -> dict[str, Any]:
    """Measures one point in one process, or in as many as it needs."""
    count, port = (value, _free_port()) if curve == "processes" else (1, 0)
    command = [sys.executable, "-m", "benchmarks.scaling", "--point", curve, str(value)]
    started = [
        subprocess.Popen([*command, str(i), str(port)], stdout=subprocess.PIPE, text=True)
        for i in range(count)
    ]
    try:
        outputs = [process.communicate(timeout=LIMIT)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    if any(process.returncode for process in started):
        raise RuntimeError(f"the point {curve} = {value} failed")
    rows = [json.loads(output.splitlines()[-1]) for output in outputs]
    total = {part: sum(row[part] for row in rows) for part in ("bytes", "forecast")}
    return {"seconds": max(row["seconds"] for row in rows), **total}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def point(curve: str, value: int, process: int, port: int) -> dict[str, float]:
    """Measures a point in this process: median seconds of a round, and the peak of its memory."""
    import jax

    import jcollab as jc

    jax.config.update("jax_num_cpu_devices", value if curve == "devices" else 1)
    if curve == "processes" and value > 1:
        jc.layout.initialize(f"localhost:{port}", value, process)
    algorithm, make_state, batches, rounds = _work(curve, value)
    key, mesh = jax.random.key(0), jc.layout.mesh()

    def run(state: Any, batches: Any, key: Any) -> Any:
        return jc.run(algorithm, state, batches, key, num_rounds=rounds)

    with jc.layout.use(mesh):
        state = jc.layout.place(make_state(), mesh)
        before = _peak()
        shapes = jax.tree.map(_shape, (state, batches, key))
        need = jc.layout.forecast(run, state=shapes[0], batches=shapes[1], key=shapes[2])
        jax.block_until_ready(run(state, batches, key))
        peak = _peak()
        seconds = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            jax.block_until_ready(run(state, batches, key))
            seconds.append((time.perf_counter() - start) / rounds)
    local = jax.local_device_count()
    given = sum(need.arguments.values())
    return {
        "seconds": statistics.median(seconds),
        "bytes": peak - before + given * local,
        "forecast": need.total * local,
    }


def _shape(leaf: Any) -> Any:
    import jax

    # arrays that were not placed on devices go where the program runs
    sharding = leaf.sharding if getattr(leaf, "committed", False) else None
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _peak() -> int:
    """Returns the largest memory that this process has had; on Linux without that of its parent."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _work(curve: str, value: int) -> tuple[Any, Callable[[], Any], Any, int]:
    """Builds the algorithm, the state, the batches and the number of rounds of a point."""
    import jax.numpy as jnp
    import optax

    import jcollab as jc

    if curve == "clients, gossip":
        # 64 parameters and one example a client
        loss, n, d = _linear, value, 64
        algorithm = jc.decentralized(loss, optax.sgd(0.1), jc.gossip(jc.topology.ring(n)))
        batches = jc.data.full_batch({"x": jnp.ones((n, 1, d)), "y": jnp.ones((n, 1))})
        return algorithm, lambda: algorithm.init(jnp.zeros((n, d))), batches, max(2, 10**5 // n)
    if curve.startswith("clients"):
        algorithm = jc.federated(_linear, optax.sgd(0.1), num_sampled=16, local_steps=4)
        examples = {"x": jnp.ones((value, 64)), "y": jnp.ones(value)}
        data = jc.data.by_owner(examples, np.arange(value))
        batches = jc.data.minibatches(data, 1)
        return algorithm, lambda: algorithm.init(jc.replicate(jnp.zeros(64), value)), batches, 100
    n, width = 8, 1000
    if curve == "parameters":
        width = round(np.sqrt(value))
    params = {"w": jnp.zeros((n, width, width))}
    mixer = jc.gossip(jc.topology.ring(n))
    algorithm = jc.decentralized(_layer, optax.sgd(0.1), mixer)
    mesh = jc.layout.mesh()
    own = np.ones((len(jc.layout.own_clients(n, mesh)), 32, width), np.float32)
    batches = jc.data.full_batch(jc.layout.from_process_local(own, mesh))
    if curve == "local steps":
        algorithm = jc.federated(_layer, optax.sgd(0.1), num_sampled=n, local_steps=value)
    rounds = max(2, 10**6 // width**2) if curve == "parameters" else 3
    return algorithm, lambda: algorithm.init(params), batches, rounds


def _linear(params: Any, batch: Any, key: Any) -> Any:
    return ((batch["x"] @ params - batch["y"]) ** 2).mean()


def _layer(params: Any, batch: Any, key: Any) -> Any:
    return ((batch @ params["w"] - 1) ** 2).mean()


def draw(known: dict[tuple[str, int], Any], folder: pathlib.Path) -> None:
    """Draws a picture for each curve: seconds a round, and memory beside them."""
    import jcollab as jc

    titles = {"clients": [c for c in CURVES if c.startswith("clients")]}
    titles |= {curve: [curve] for curve in CURVES if not curve.startswith("clients")}
    for title, curves in titles.items():
        with jc.plots.style():
            fig, axes = jc.plots.subplots(1, 2, figsize=(8, 3))
            for curve in curves:
                points = [known[curve, value] for value in CURVES[curve][1]]
                values = [p["value"] for p in points]
                label = f"{curve.removeprefix('clients, ')}, slope {slope(points):.2f}"
                axes[0].plot(values, [p["seconds"] for p in points], "o-", label=label)
                (line,) = axes[1].plot(values, [p["bytes"] / 2**20 for p in points], "o-")
                forecast = [p["forecast"] / 2**20 for p in points]
                axes[1].plot(values, forecast, "--", color=line.get_color())
            for ax, name in zip(axes, ("seconds a round", "MiB (dashed: forecast)"), strict=True):
                ax.set(xlabel=title, ylabel=name)
                if len(values) < 4:
                    ax.set(xticks=values, ylim=(0, None))
                else:
                    ax.set(xscale="log", yscale="log")
            axes[0].legend(fontsize=8)
            fig.savefig(folder / f"scaling_{title.replace(' ', '_')}.png", dpi=100)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="few small points")
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    parser.add_argument("--draw", type=pathlib.Path, help="folder for the pictures")
    parser.add_argument("--point", nargs=4, help="used for the process of one point")
    asked = parser.parse_args()
    if asked.point:
        curve, *numbers = asked.point
        print(json.dumps(point(curve, *map(int, numbers))))
        return
    for row in measure(asked.out, SMOKE if asked.smoke else CURVES):
        print(json.dumps(row))
    if asked.draw:
        draw(_known(asked.out), asked.draw)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
