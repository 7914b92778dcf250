"""Workloads on one accelerator, as shares of its measured matrix peak and memory bandwidth.

Where there are several, ``CUDA_VISIBLE_DEVICES=0`` leaves one. Every result is written as a line of
JSON when it is there, so that an interruption keeps it.
"""

from __future__ import annotations

import gc
import json
import pathlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import rich.box
from rich.console import Console
from rich.table import Table

from benchmarks import cases
from benchmarks.workloads import Workload, images, rules, sequences

BUILDERS: dict[str, Callable[..., Workload]] = {
    "federated": images.federated,
    "attention": sequences.attention,
    "rule": rules.rule,
}
VGG = cases.Case(
    "W7 VGG-11, 16 clients",
    "round",
    "federated",
    {
        **{"model": "VGG11", "width": 64, "side": 32, "channels": 3},
        **{"clients": 16, "steps": 1, "batch": 32, "rate": 0.01},
    },
    {"width": 2, "clients": 2, "batch": 2},
)
CASES = (*cases.of(("w1",)), VGG, *cases.of(("w6",)), *cases.of(("w2",)), *cases.of(("w4",)))
NAMES = tuple(case.name for case in CASES)
DTYPES = ("float32", "bfloat16")


class Peak(NamedTuple):
    """What the device reaches: operations per second of each dtype, and bytes per second."""

    flop: dict[str, float]
    bytes: float


def main(
    names: tuple[str, ...] = NAMES,
    out: pathlib.Path = pathlib.Path("runs/gpu.jsonl"),
    limit: float = 450.0,
    repeats: int = 5,
    smoke: bool = False,
) -> None:
    """Measures workloads on one accelerator; prints a table.

    Args:
        names: beginnings of names of cases.
        out: file of JSON lines, to which results are appended.
        limit: seconds after which no further program is started.
        repeats: repetitions of each program; the table has medians.
        smoke: tiny sizes and one repetition, to test that everything runs.
    """
    start, rows = time.perf_counter(), []
    out.parent.mkdir(parents=True, exist_ok=True)
    peak = measure_peak(smoke)
    device = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, **peak._asdict()}
    try:
        with out.open("a") as file:
            print(json.dumps(device), file=file, flush=True)
            for case, dtype, name, options in programs(cases.of(names, CASES), smoke):
                if time.perf_counter() - start > limit:
                    print(f"stopped after {limit:.0f} s")
                    break
                row = {"case": case.name, "dtype": dtype, "execution": name}
                row |= result(
                    case, {"dtype": dtype, **options}, peak, 1 if smoke else repeats, smoke
                )
                print(json.dumps(row), file=file, flush=True)
                rows.append(row)
    finally:  # also when it is interrupted
        show(device, rows)


def programs(
    chosen: list[cases.Case], smoke: bool
) -> Iterator[tuple[cases.Case, str, str, dict[str, int]]]:
    """Yields case, dtype and execution: all vectorized programs first, then loops over chunks."""
    for case in chosen:
        for dtype in DTYPES:
            n = case.arguments(smoke).get("clients")
            yield case, dtype, "vmap" if n else "", {"chunk": n} if n else {}
    for case in chosen:
        n = case.arguments(smoke).get("clients", 0)
        for chunk in sorted({n // 4, 1} - {0}, reverse=True) if n else ():
            for dtype in DTYPES:
                yield case, dtype, f"chunks of {chunk}", {"chunk": chunk}


def result(
    case: cases.Case, options: dict[str, Any], peak: Peak, repeats: int, smoke: bool
) -> dict[str, Any]:
    """Measures a program: seconds of the first call and of later ones, and the shares."""
    gc.collect()  # frees the arrays of the last program
    start = time.perf_counter()
    try:
        workload = BUILDERS[case.kind](**case.arguments(smoke), **options)
        workload.run()
        first = time.perf_counter() - start
        seconds = median(workload.run, repeats)
    except jax.errors.JaxRuntimeError as error:  # such as memory that does not suffice
        return {"error": str(error).splitlines()[0][:100]}
    return {
        "first": first,
        "seconds": seconds,
        "share of matrix peak": workload.flop / seconds / peak.flop[options["dtype"]],
        "share of bandwidth": workload.bytes / seconds / peak.bytes,
    }


def measure_peak(smoke: bool) -> Peak:
    """Measures a large matrix product in each dtype, and the scaling of a donated array."""
    size, count, loops = (128, 1 << 16, 2) if smoke else (8192, 1 << 29, 10)

    @jax.jit
    def product(a: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, loops, lambda _, b: (a @ b) * (1 / size), a)

    def flop(dtype: str) -> float:
        a = jnp.ones((size, size), dtype)
        return loops * 2 * size**3 / median(lambda: jax.block_until_ready(product(a)))

    scale = jax.jit(lambda x: x * 0.999, donate_argnums=0)
    x = jnp.ones(count, jnp.float32)

    def run() -> None:
        nonlocal x
        x = jax.block_until_ready(scale(x))

    return Peak({dtype: flop(dtype) for dtype in DTYPES}, 2 * x.nbytes / median(run))


def median(run: Callable[[], Any], repeats: int = 5) -> float:
    """Measures the median seconds of a call, after one that is not measured."""
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def show(device: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Prints the results as a table."""
    tera = ", ".join(f"{dtype} {flop / 1e12:.3g}" for dtype, flop in device["flop"].items())
    bandwidth = f"{device['bytes'] / 1e9:.3g} GB/s"
    table = Table(
        *("case", "dtype", "execution", "first [s]", "seconds", "matrix peak", "bandwidth"),
        title=f"{device['device']}: TFLOP/s {tera}; {bandwidth}",
        box=rich.box.SIMPLE_HEAD,
    )
    for row in rows:
        values = [row["case"], row["dtype"], row["execution"]]
        if "error" in row:
            table.add_row(*values, row["error"])
            continue
        shares = [f"{row[key]:.1%}" for key in ("share of matrix peak", "share of bandwidth")]
        table.add_row(*values, f"{row['first']:.1f}", f"{row['seconds']:.4g}", *shares)
    Console(width=110).print(table)  # logs have no terminal, whose width would be taken
