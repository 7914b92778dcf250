"""Virtual environments of the peers, made from pinned requirements."""

from __future__ import annotations

import pathlib
import subprocess
import sys

PEERS = pathlib.Path(__file__).parent / "peers"
ALONE = "# without their dependencies\n"  # requirements after this line


def requirements(program: str) -> pathlib.Path | None:
    """Returns the requirements of a program, None if it runs in the current environment.

    ``NAME.txt`` belongs to ``NAME`` and to every ``NAME_*``.
    """
    matches = [PEERS / f"{name}.txt" for name in (program, program.split("_")[0])]
    return next((path for path in matches if path.exists()), None)


def python(program: str, folder: pathlib.Path, install: bool) -> str:
    """Returns the interpreter of a program; makes its environment if it is missing or outdated.

    Args:
        program: name of a file of ``benchmarks/peers``.
        folder: of all environments.
        install: whether environments may be made.

    Raises:
        RuntimeError: with the reason why there is no environment.
    """
    needed = requirements(program)
    if needed is None:
        return sys.executable
    own = folder.absolute() / needed.stem
    installed, interpreter = own / needed.name, own / "bin/python"
    if installed.exists() and installed.read_text() == needed.read_text():
        return str(interpreter)
    if not install:
        raise RuntimeError(f"the environment {own.name} is not installed")
    print(f"installing {needed.name} into {own}", flush=True)
    _call(sys.executable, "-m", "venv", "--clear", str(own))
    pip = (str(interpreter), "-m", "pip", "install", "--quiet")
    complete, _, alone = needed.read_text().partition(ALONE)
    _call(*pip, *complete.split())
    if alone:
        _call(*pip, "--no-deps", *alone.split())
    installed.write_text(needed.read_text())
    return str(interpreter)


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or [done.stderr]
        raise RuntimeError(f"not installed: {lines[0].strip()[:200]}")
