"""Notebooks run from top to bottom, have one form, and store clean outputs with pictures."""

import json
import re

import matplotlib.pyplot as plt
import pytest

from tests import ROOT

NOTEBOOKS = sorted((ROOT / "colabs").glob("*.ipynb"))
STEPS = ("data", "model", "algorithm", "run", "evaluate")


def cells(path):
    return json.loads(path.read_text())["cells"]


def code(path):
    return [cell for cell in cells(path) if cell["cell_type"] == "code"]


def prose(path):
    sources = ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown"]
    return "\n\n".join(sources)


def slow_but_the_first():
    """The first one in `make test`, as the others take minutes together; all in `make test-all`."""
    marks = ((), *[pytest.mark.slow] * (len(NOTEBOOKS) - 1))
    return [pytest.param(p, marks=m, id=p.name) for p, m in zip(NOTEBOOKS, marks, strict=True)]


def every():
    return pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)


@pytest.mark.parametrize("path", slow_but_the_first())
def test_notebooks_run(path, monkeypatch):
    monkeypatch.chdir(ROOT / "colabs")
    scope: dict = {}
    for cell in code(path):
        source = re.sub(r"^( *)%.*$", r"\1pass", "".join(cell["source"]), flags=re.M)
        exec(compile(source, path.name, "exec"), scope)
    plt.close("all")


@every()
def test_notebooks_have_one_form(path):
    text = prose(path)
    assert text.startswith("# ")
    for part in ("**Question.**", "## The program", "## The picture"):
        assert part in text, f"{path.name} has no {part}"
    for part in ("**What it shows.**", "**What to change next**", "**Read on:**"):
        assert part in text, f"{path.name} has no {part}"
    install = "".join(code(path)[0]["source"])
    assert install.startswith("# Installs jcollab") and "jax-collab" in install
    program = "".join(line for cell in code(path) for line in cell["source"])
    for step in STEPS:
        assert re.search(rf"(?i)# .*{step}", program + text), f"{path.name}: no {step}"


def test_notebooks_are_numbered():
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{i:02}" for i in range(len(NOTEBOOKS))]


@every()
def test_links_of_notebooks_exist(path):
    targets = re.findall(r"\]\((?!http)([^)#]+)", prose(path))
    assert any("docs/" in target for target in targets)
    for target in targets:
        assert (path.parent / target).exists(), f"{path.name} links to {target}"


@every()
def test_outputs_of_notebooks_are_clean(path):
    """Outputs are of one execution, with one picture, without warnings and unrounded numbers."""
    outputs = [output for cell in code(path) for output in cell["outputs"]]
    counts = [cell["execution_count"] for cell in code(path)]
    assert counts == list(range(1, len(counts) + 1))
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    for output in outputs:
        assert output["output_type"] in ("stream", "display_data", "execute_result")
        assert output.get("name") != "stderr"
        text = "".join(output.get("text", output.get("data", {}).get("text/plain", "")))
        assert not re.search(r"(?i)warning|ipywidgets|\d\.\d{5}", text), text
