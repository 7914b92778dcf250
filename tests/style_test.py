"""Rules of the code base that a machine can check."""

import ast
import pathlib
import re
import subprocess

import pytest

from tests import ROOT

LIBRARY = sorted((ROOT / "jcollab").rglob("*.py"))
# what each part may import from the library: nothing to the right of itself
LAYERS = [
    {"layout"},
    {"core"},
    {
        "topology",
        "averaging",
        "aggregators",
        "channels",
        "attacks",
        "local",
        "models",
        "objectives",
        "privacy",
        "prototypes",
        "row_sparse",
        "schedules",
        "sources",
        "arrivals",
        "noise_scale",
        "second_moments",
        "wall_clock",
    },
    {"mixing", "metrics", "ensembles", "retrieval"},
    {"algorithms"},
    {"run_log", "divergence", "checkpoints", "training", "sweeps", "plots"},
    {"host_memory"},
    {"data"},
    {"sentences", "text"},
    {"pair_training"},
]
KNOW_NO_ALGORITHM = {"objectives", "models", "data", "flows"}
ALSO = {"flows": {"models"}}  # convolutions that are fast in a loop


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
    if name in KNOW_NO_ALGORITHM:
        assert own_parts(path) <= {name, "layout", "core"} | ALSO.get(name, set())
        return
    (level,) = [i for i, layer in enumerate(LAYERS) if name in layer]
    assert own_parts(path) <= set().union(*LAYERS[: level + 1])
    if name in ("core", "layout"):
        assert not any(module.split(".")[0] == "flax" for module in imports(path))


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
    long = {
        p.name: n for p in tracked() if p.suffix == ".py" and (n := len(p.open().readlines())) > 400
    }
    assert not long


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
