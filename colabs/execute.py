"""Executes notebooks from top to bottom and stores their outputs, with pictures.

    python colabs/execute.py            # all
    python colabs/execute.py 00 05      # those whose names start with these

Needs the extra ``notebooks``. Prints the processor time of each notebook. What a notebook prints to
the standard error stream, warnings included, is an error.
"""

import os
import pathlib
import resource
import sys

import nbformat
from nbclient import NotebookClient

FOLDER = pathlib.Path(__file__).parent


def main(prefixes: list[str]) -> None:
    for path in sorted(FOLDER.glob("*.ipynb")):
        if path.name.startswith(tuple(prefixes or [""])):
            before = processor_seconds()
            execute(path)
            print(
                f"{path.name}: {processor_seconds() - before:.0f} s of processor time", flush=True
            )


def execute(path: pathlib.Path) -> None:
    """Replaces the outputs of a notebook by those of a new execution in a new process."""
    # XLA reports slow compilation on a busy machine as an error, which is not one
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=None,
        startup_timeout=600,
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    metadata = dict(notebook.metadata)
    client.execute()
    notebook.metadata = metadata  # without the version of Python
    complaints = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.get("name") == "stderr":
                complaints.append(output.text)
            if "image/png" in output.get("data", {}):
                output.data.pop("text/plain", None)  # the size of the figure
    nbformat.write(notebook, path)
    if complaints:
        raise RuntimeError(f"{path.name} prints to the standard error stream: {complaints}")


def processor_seconds() -> float:
    """Processor time of child processes that have ended, on all cores."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main(sys.argv[1:])
