"""Runs the workloads W1 to W8 with this library and with its peers, each in its own process.

The programs compute one repetition after the other, in turn, so that a busy machine slows all.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from multiprocessing.connection import wait
from typing import Any

from benchmarks import cases
from benchmarks.environments import PEERS, python
from benchmarks.timing import PAUSE

ROOT = PEERS.parent.parent
PROGRAMS = tuple(sorted(path.stem for path in PEERS.glob("[!_]*.py")))
OURS = "jcollab"
PATIENCE = 900  # seconds for one answer


def main(
    names: tuple[str, ...] = cases.NAMES,
    programs: tuple[str, ...] = PROGRAMS,
    environments: pathlib.Path = pathlib.Path("runs/peers"),
    out: pathlib.Path | None = None,
    repeats: int = 5,
    smoke: bool = False,
    install: bool = True,
) -> None:
    """Compares this library with its peers; prints a table in Markdown.

    Args:
        names: workloads, or beginnings of names of cases such as ``w4 krum``.
        programs: files of ``benchmarks/peers``. This library always takes part.
        environments: folder of the peers' environments, which are made if they are missing.
        out: JSON file; results are added to those that it has of the same processor.
        repeats: repetitions of each program; the table has medians.
        smoke: one repetition with tiny sizes, to test that everything runs.
        install: whether to make missing environments; without, their programs are skipped.
    """
    if unknown := set(programs) - set(PROGRAMS):
        raise ValueError(f"programs must be among {', '.join(PROGRAMS)}, got {sorted(unknown)}")
    record = start(out)
    interpreters = {}
    for program in sorted({OURS, *programs}):
        try:
            interpreters[program] = python(program, environments, install)
        except RuntimeError as reason:
            skip(record, program, str(reason))
    for name in names:
        for case, rows in workload(name, interpreters, record, 1 if smoke else repeats, smoke):
            record["cases"].setdefault(case, {}).update(rows)
            if out:
                out.write_text(json.dumps(record, indent=1) + "\n")
    print(table(record))


def start(out: pathlib.Path | None) -> dict[str, Any]:
    """Returns the record of earlier runs on the same processor, or a new one."""
    machine = {"processor": processor(), "cores": os.cpu_count()}
    if out and out.exists():
        record = json.loads(out.read_text())
        if record["machine"] == machine:
            return record
    return {"machine": machine, "versions": {}, "skipped": {}, "cases": {}}


def skip(record: dict[str, Any], program: str, reason: str) -> None:
    """Notes and prints why a program does not take part."""
    print(f"skipped {program}: {reason}", flush=True)
    record["skipped"][program] = reason


def workload(
    name: str, interpreters: dict[str, str], record: dict[str, Any], repeats: int, smoke: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each case of a workload, with the results of all programs."""
    chosen = cases.of((name,))
    with contextlib.ExitStack() as stack:
        workers = {}
        for program, interpreter in interpreters.items():
            if not any(defines(program, case.kind) for case in chosen):
                continue
            worker = stack.enter_context(Worker(program, interpreter))
            if "skipped" in (hello := worker.answer()):
                skip(record, program, hello["skipped"])
                continue
            record["skipped"].pop(program, None)
            record["versions"][program] = hello["versions"]
            workers[program] = worker
        for case in chosen:
            yield case.name, measured(case, workers, record, repeats, smoke)


def measured(
    case: cases.Case,
    workers: dict[str, Worker],
    record: dict[str, Any],
    repeats: int,
    smoke: bool,
) -> dict[str, dict[str, Any]]:
    """Measures one case with every program that has it."""
    first, seconds = {}, {}
    for program, worker in workers.items():
        if defines(program, case.kind):
            answer = worker.ask(case=case.name, smoke=smoke)
            if "first" in answer:
                first[program], seconds[program] = answer["first"], []
            elif answer["skipped"]:
                skip(record, f"{program}, {case.name}", answer["skipped"])
    for _ in range(repeats):
        for program in tuple(seconds):
            time.sleep(PAUSE)  # threads of the last program may spin for a while
            answer = workers[program].ask(repeat=True)
            if "seconds" in answer:
                seconds[program].append(answer["seconds"])
            else:
                skip(record, f"{program}, {case.name}", answer["skipped"])
                del seconds[program]
    rows = {}
    for program, own in seconds.items():
        record["skipped"].pop(f"{program}, {case.name}", None)
        median = statistics.median(own) / case.units
        rows[program] = {"seconds": median, "first": first[program], "repeats": repeats}
        if OURS in seconds:  # of the same run
            ours = statistics.median(seconds[OURS]) / case.units
            rows[program] |= {"jcollab": ours, "ratio": median / ours}
    print(case.name, {k: f"{row['seconds']:.4g} s" for k, row in rows.items()}, flush=True)
    return rows


def defines(program: str, kind: str) -> bool:
    """Returns whether the file of a program computes a kind of case, without importing it."""
    text = (PEERS / f"{program}.py").read_text()
    return bool(re.search(rf"^(def {kind}\(|[\w, ]*\b{kind}\b[\w, ]* = )", text, re.M))


class Worker:
    """A process that computes on command, see :mod:`benchmarks.serve`."""

    def __init__(self, program: str, interpreter: str):
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [interpreter, "-m", "benchmarks.serve", program],
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            bufsize=0,
            env=os.environ | {"PYTHONPATH": str(ROOT)},  # also for processes that it starts
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def ask(self, **command: Any) -> dict[str, Any]:
        """Sends a command and returns the answer."""
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")  # type: ignore[union-attr]
        except BrokenPipeError:
            return {"skipped": "the process has ended"}
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Waits for an answer."""
        stream: Any = self._process.stdout
        line = stream.readline() if wait([stream], PATIENCE) else b""
        if not line:
            self._process.kill()
            return {"skipped": f"no answer, exit code {self._process.wait()}"}
        return json.loads(line)


def processor() -> str:
    """Returns the name of the processor."""
    info = pathlib.Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    name = re.search(r"model name\s*: (.+)", text)
    vector = "AVX-512" if "avx512f" in text else "AVX2" if "avx2" in text else "no AVX2"
    return f"{name[1]}, {vector}" if name else platform.processor()


def table(record: dict[str, Any]) -> str:
    """Writes the results as Markdown: how many times as long the peers take."""
    lines = ["| case | jcollab | first call | times as long as jcollab |", "|---|---|---|---|"]
    for case in cases.CASES:
        rows = record["cases"].get(case.name, {})
        if OURS not in rows:
            continue
        ours = rows[OURS]
        others = sorted((row["ratio"], name) for name, row in rows.items() if name != OURS)
        ratios = ", ".join(f"{name} {ratio:.2g}" for ratio, name in others)
        time_of = f"{duration(ours['seconds'])} per {case.unit}"
        lines.append(f"| {case.name} | {time_of} | {ours['first']:.1f} s | {ratios} |")
    machine = record["machine"]
    lines += ["", f"{machine['cores']} cores of {machine['processor']}.", ""]
    for program, versions in sorted(record["versions"].items()):
        lines.append(f"- {program}: {', '.join(f'{k} {v}' for k, v in versions.items())}")
    lines += [f"- skipped {name}: {reason}" for name, reason in record["skipped"].items()]
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Writes seconds with two digits."""
    return f"{seconds:.2g} s" if seconds >= 0.1 else f"{1e3 * seconds:.2g} ms"
