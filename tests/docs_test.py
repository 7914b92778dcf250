"""What the documentation shows is run, and holds every public name."""

import doctest
import importlib
import inspect
import pathlib
import pkgutil
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc

ROOT = pathlib.Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "```python" in p.read_text())
REFERENCE = sorted((DOCS / "api").glob("*.md"))
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(jc.__path__, "jcollab.") if module.name
)
# of a module without __all__, what other parts of the library alone make use of
INTERNAL = {
    "jcollab.arrivals": {"as_array", "check"},
    "jcollab.attacks": {"fill_slots"},
    "jcollab.checkpoints": {"difference", "form"},
    "jcollab.prototypes": {"check_weighting"},
    "jcollab.run_log": {"interruptible", "plain"},
}


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(DOCS)))
def test_snippets_run_in_order(path, tmp_path):
    scope: dict = {"folder": tmp_path}
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.S):
        exec(compile(block, str(path), "exec"), scope)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings(name):
    module = importlib.import_module(name)
    scope = {"jax": jax, "jnp": jnp, "np": np, "optax": optax, "jc": jc, **vars(module)}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, globs=scope):
        result = runner.run(test)
        assert not result.failed, test.name


def test_there_are_examples():
    count = sum(p.read_text().count("\n    Example:\n") for p in ROOT.glob("jcollab/**/*.py"))
    assert count >= 55


def documented():
    lines = [line for path in REFERENCE for line in path.read_text().splitlines()]
    return [line.removeprefix("::: ") for line in lines if line.startswith("::: ")]


def place(module, name):
    """Where a public name is shown: under the name that users write, or where it is defined."""
    value = getattr(importlib.import_module(module), name)
    own = getattr(value, "__module__", None)
    return {f"{module}.{name}", f"jcollab.{name}", f"{own}.{getattr(value, '__qualname__', name)}"}


def public(module):
    """Names of a module that are for users, as (module, name)."""
    found = importlib.import_module(module)
    if hasattr(found, "__all__"):
        return [(module, name) for name in found.__all__]
    hidden = INTERNAL.get(module, set())
    return [
        (module, name)
        for name, value in vars(found).items()
        if inspect.isfunction(value) or inspect.isclass(value)
        if value.__module__ == module and not name.startswith("_") and name not in hidden
    ]


def names():
    top = [(None, name) for name in jc.__all__]
    modules = [f"jcollab.{name}" for _, name in top if inspect.ismodule(getattr(jc, name))]
    modules += ["jcollab.sweeps", "jcollab.checkpoints", "jcollab.run_log", "jcollab.guard"]
    modules += ["jcollab.host_memory", "jcollab.data.corpora", "jcollab.flows.perturb"]
    flat = [("jcollab", name) for _, name in top if not inspect.ismodule(getattr(jc, name))]
    flat += [pair for module in modules for pair in public(module)]
    return [(m, n) for m, n in flat if not inspect.ismodule(getattr(importlib.import_module(m), n))]


def test_every_public_name_is_in_the_reference():
    shown = set(documented())
    missing = [f"{m}.{n}" for m, n in names() if not place(m, n) & shown]
    assert not missing, "add '::: NAME' to a page of docs/api"


def test_the_reference_names_what_there_is_and_once():
    shown = documented()
    assert len(shown) == len(set(shown))
    for name in shown:
        if name.count(".") == 1 and hasattr(jc, name.split(".")[1]):
            continue
        module, _, last = name.rpartition(".")
        found = importlib.import_module(module)
        assert hasattr(found, last) or importlib.import_module(name), name


def test_the_site_has_every_page_in_its_menu():
    menu = (ROOT / "mkdocs.yml").read_text()
    pages = [p.relative_to(DOCS) for p in DOCS.rglob("*.md")]
    pages += [f"experiments/{p.parent.name}.md" for p in ROOT.glob("experiments/*/README.md")]
    assert not [page for page in map(str, pages) if f" {page}\n" not in menu]
