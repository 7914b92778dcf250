"""Rules of the code base that a machine can check."""

import ast
import pathlib
import re
import subprocess

import pytest

import jcollab as jc
from tests import ROOT

LIBRARY = sorted((ROOT / "jcollab").rglob("*.py"))
# A package imports those on the floors above its own, and no other on its own floor.
FLOORS = [
    {"checks"},
    {"layout"},
    {"core"},
    {"local", "models", "objectives", "plots", "privacy", "theory", "topology"},
    {"aggregators", "data", "flows"},
    {"channels", "metrics"},
    {"mixing"},
    {"algorithms"},
    {"training"},
    {"text"},
]
MODULES = {"plots"}  # the others are packages
MOST = {"rooms": 19, "public names": 45, "lines of a file": 400, "lines of a function": 80}


def part(path):
    return path.relative_to(ROOT / "jcollab").parts[0].removesuffix(".py")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from names


def own_parts(path):
    names = {name.split(".")[1] for name in imports(path) if name.startswith("jcollab.")}
    return {
        n for n in names if (ROOT / "jcollab" / n).exists() or (ROOT / f"jcollab/{n}.py").exists()
    }


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path):
    name = part(path)
    assert not any(module.split(".")[0] == "experiments" for module in imports(path))
    if name == "__init__":
        return
    (floor,) = [i for i, names in enumerate(FLOORS) if name in names]
    assert own_parts(path) <= {name}.union(*FLOORS[:floor])


def test_the_house_has_few_rooms():
    present = {part(path) for path in LIBRARY} - {"__init__"}
    assert present == set().union(*FLOORS)
    assert {name for name in present if (ROOT / f"jcollab/{name}.py").exists()} == MODULES
    assert len(present) <= MOST["rooms"]
    assert len(jc.__all__) <= MOST["public names"]
    assert sorted(jc.__all__) == jc.__all__ and all(hasattr(jc, name) for name in jc.__all__)


def test_distrax_is_imported_by_flows_only():
    knowing = {
        part(p) for p in LIBRARY if any(name.split(".")[0] == "distrax" for name in imports(p))
    }
    assert knowing == {"flows"}


def tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        return [p for p in ROOT.rglob("*") if p.is_file() and ".venv" not in p.parts]
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def test_files_are_short():
    lines = {path: len(path.open().readlines()) for path in tracked() if path.suffix == ".py"}
    assert not {path: n for path, n in lines.items() if n > MOST["lines of a file"]}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: str(p.relative_to(ROOT)))
def test_functions_are_short(path):
    source = path.read_text()
    lines = [not line.lstrip().startswith("#") for line in source.splitlines()]  # comments are free
    lengths = {
        node.name: sum(lines[node.lineno - 1 : node.end_lineno]) - len(doc.splitlines())
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for doc in [ast.get_docstring(node) or ""]
    }
    assert not {name: n for name, n in lengths.items() if n > MOST["lines of a function"]}


def test_nothing_inspects_signatures():
    assert not [path for path in LIBRARY if "inspect" in set(imports(path))]


def test_only_layout_knows_devices():
    words = re.compile(
        r"jax\.(devices|device_count|local_device|pmap|shard_map|set_mesh)|Mesh\(|Sharding\("
    )
    knowing = {part(p) for p in LIBRARY if words.search(p.read_text())}
    assert knowing == {"layout"}


def test_experiments_do_not_import_each_other():
    papers = [p.name for p in (ROOT / "experiments").iterdir() if (p / "config.py").exists()]
    for path in (ROOT / "experiments").rglob("*.py"):
        own = path.relative_to(ROOT / "experiments").parts[0]
        for name in imports(path):
            if name.startswith("experiments.") and name.split(".")[1] in papers:
                assert own == name.split(".")[1], f"{path} imports {name}"


def test_nothing_names_a_machine():
    place = re.compile(r"(?<![\w.])/(work|root|home|farm)/|https?://(pypi|files\.pythonhosted)")
    for path in tracked():
        if path.suffix in (".py", ".md", ".toml", ".yaml", ".ipynb", "") and path != pathlib.Path(
            __file__
        ):
            assert not place.search(path.read_text(errors="ignore")), path


def test_what_is_installed_is_the_distribution_of_this_project():
    """On the package index, ``jcollab`` is somebody else's package; ours is jax-collab."""
    other = re.compile(r"pip install[^\n]*(?<![\w/-])jcollab\b|(?<![\w.-])jcollab\[[a-z]")
    assert other.search("pip install -q jcollab") and other.search("'jcollab[text] @ git+URL'")
    assert not other.search('pip install "jax-collab[text]"')
    for path in tracked():
        if path.suffix in (".py", ".md", ".toml", ".ipynb", "") and path != pathlib.Path(__file__):
            assert not other.search(path.read_text(errors="ignore")), path
