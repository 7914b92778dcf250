"""``python -m benchmarks.serve PROGRAM``: computes workloads on command.

Commands and answers are lines of JSON on standard input and output:

    -> (start)                       <- {"versions": {"torch": "2.13.0"}} or {"skipped": "reason"}
    -> {"case": NAME, "smoke": bool} <- {"first": seconds} or {"skipped": "reason"}
    -> {"repeat": true}              <- {"seconds": seconds}

This module needs nothing but Python, since it runs in the environments of other libraries.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from importlib import metadata
from typing import Any

from benchmarks import cases


def main(name: str) -> None:
    """Answers commands until standard input ends."""
    # libraries print to standard output too: answers keep a descriptor of their own
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**message: Any) -> None:
        print(json.dumps(message), file=answers, flush=True)

    program: Callable[[], Any] | None = None
    try:
        module = importlib.import_module(f"benchmarks.peers.{name}")
        answer(versions={package: metadata.version(package) for package in module.VERSIONS})
    except Exception as error:
        traceback.print_exc()
        return answer(skipped=reason(error))
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if "case" in command:
                program = None  # frees the memory of the last case first
                case = next(case for case in cases.CASES if case.name == command["case"])
                start = time.perf_counter()
                program = getattr(module, case.kind)(**case.arguments(command["smoke"]))
                if program is None:
                    answer(skipped="")
                    continue
                program()
                answer(first=time.perf_counter() - start)
            elif program is not None:
                start = time.perf_counter()
                program()
                answer(seconds=time.perf_counter() - start)
        except Exception as error:
            traceback.print_exc()
            answer(skipped=reason(error))
    getattr(module, "close", lambda: None)()
    os._exit(0)  # libraries leave threads that would keep the process alive


def reason(error: Exception) -> str:
    """Returns the first line of an error."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


if __name__ == "__main__":
    main(sys.argv[1])
