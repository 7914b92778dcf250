"""``python -m benchmarks [--names NAME ...] [--out FILE]``: prints ratio tables, writes JSON.

Every file of this folder that defines ``measure()`` is a benchmark. ``python -m benchmarks peers``
compares with other libraries (:mod:`benchmarks.compare`), ``python -m benchmarks gpu`` with the
limits of an accelerator (:mod:`benchmarks.gpu`).
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pathlib
import sys

import jax
import rich.box
from rich.console import Console
from rich.table import Table

from benchmarks import compare, gpu

FILES = sorted(pathlib.Path(__file__).parent.glob("*.py"))
BENCHMARKS = tuple(path.stem for path in FILES if "\ndef measure(" in path.read_text())


def main(names: tuple[str, ...] = BENCHMARKS, out: pathlib.Path | None = None) -> None:
    """Runs benchmarks.

    Args:
        names: names of the benchmarks to run.
        out: JSON file for the results.
    """
    if unknown := set(names) - set(BENCHMARKS):
        raise ValueError(f"names must be among {', '.join(BENCHMARKS)}, got {sorted(unknown)}")
    console = Console()
    rows = {}
    for name in names:
        rows[name] = importlib.import_module(f"benchmarks.{name}").measure()
        table = Table(*rows[name][0], title=name, title_justify="left", box=rich.box.SIMPLE_HEAD)
        for row in rows[name]:
            table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
        console.print(table)
    if out:
        device = jax.devices()[0]
        record = {"jax": jax.__version__, "device": device.device_kind, "results": rows}
        out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    if importlib.util.find_spec("tyro") is None:
        sys.exit('benchmarks need tyro: pip install "jax-collab[experiments]"')
    import tyro

    commands = {"peers": compare.main, "gpu": gpu.main}
    if command := commands.get(" ".join(sys.argv[1:2])):
        tyro.cli(command, prog=f"python -m benchmarks {sys.argv[1]}", args=sys.argv[2:])
    else:
        jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)  # one device per core
        tyro.cli(main)
