"""What the documentation shows is run, and holds every public name."""

import doctest
import importlib
import inspect
import pkgutil
import re
import shlex

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from experiments import headers
from tests import ROOT
from tests.readme_test import understood

DOCS = ROOT / "docs"
PAGES = sorted(
    p
    for p in [*DOCS.rglob("*.md"), *ROOT.glob("experiments/*/README.md")]
    if "```python" in p.read_text() and p.name != "design.md"
)
# `make test` runs these snippets
QUICK = ("docs/concepts.md", "docs/guide/own_data.md", "docs/howto/exchange.md")
REFERENCE = sorted((DOCS / "api").glob("*.md"))
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(jc.__path__, "jcollab.") if module.name
)
# of a module without __all__, what other parts of the library alone make use of
INTERNAL = {
    "jcollab.theory.arrivals": {"as_array", "check"},
    "jcollab.training.checkpoints": {"difference", "form"},
}


@pytest.fixture
def quick_compiler():
    """Snippets run once, and for a few rounds: what they compile to need not be fast."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def pages():
    """All pages with snippets, most of them for `make test-all`."""
    marks = [() if str(p.relative_to(ROOT)) in QUICK else [pytest.mark.slow] for p in PAGES]
    return [pytest.param(p, marks=m) for p, m in zip(PAGES, marks, strict=True)]


@pytest.mark.usefixtures("quick_compiler")
@pytest.mark.parametrize("path", pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_snippets_run_in_order(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for files that a snippet writes
    scope: dict = {"folder": tmp_path}
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.S):
        exec(compile(block, str(path), "exec"), scope)


@pytest.mark.parametrize("part", ["A topology", "A mixer", "A rule", "An attack", "A channel"])
def test_own_parts_take_at_most_twenty_lines(part):
    """The snippets run above; each trains with the part that it defines."""
    page = (DOCS / "howto/exchange.md").read_text()
    section = page.split(f"## {part}\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, re.S)
    assert len(block.splitlines()) <= 20
    assert "train_with(" in block or part == "A topology"


@pytest.mark.usefixtures("quick_compiler")
@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings(name):
    module = importlib.import_module(name)
    scope = {"jax": jax, "jnp": jnp, "np": np, "optax": optax, "jc": jc, **vars(module)}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, globs=scope):
        # rounded: the last digits of floats differ between processors
        assert not re.search(r"\d\.\d{6}", "".join(example.want for example in test.examples))
        result = runner.run(test)
        assert not result.failed, test.name


def test_commands_exist():
    commands = [
        shlex.split(command, comments=True)
        for path in DOCS.rglob("*.md")
        for command in re.findall(r"python -m experiments ([^`\n]+)", path.read_text())
    ]
    assert len(commands) > 10
    for words in commands:
        if len(words) == 1 and words != ["tables"]:
            assert headers.find_paper(words[0]).presets
        else:
            understood(words)


def test_every_public_function_has_an_example():
    values = {name: resolve(name) for name in names()}
    # of classes, those that users build a model from; the others are returned by functions
    used = {
        name: value
        for name, value in values.items()
        if inspect.isfunction(value) or (hasattr(value, "init") and not hasattr(value, "_fields"))
    }
    assert len(used) > 400
    assert not [name for name, value in used.items() if ">>>" not in (value.__doc__ or "")]


def documented():
    lines = [line for path in REFERENCE for line in path.read_text().splitlines()]
    return [line.removeprefix("::: ") for line in lines if line.startswith("::: ")]


def resolve(path):
    """What a dotted name stands for; a function hides a file of its name."""
    module, _, name = path.rpartition(".")
    loaded = importlib.import_module(module)
    return getattr(loaded, name) if hasattr(loaded, name) else importlib.import_module(path)


def public(module):
    """Names of a module that are for users, as (module, name)."""
    loaded = importlib.import_module(module)
    if hasattr(loaded, "__all__"):
        return [(module, name) for name in loaded.__all__]
    hidden = INTERNAL.get(module, set())
    return [
        (module, name)
        for name, value in vars(loaded).items()
        if inspect.isfunction(value) or inspect.isclass(value)
        if value.__module__ == module and not name.startswith("_") and name not in hidden
    ]


def modules(package="jcollab"):
    """A package and the modules and packages that it shows, with theirs."""
    shown = getattr(importlib.import_module(package), "__all__", ())
    paths = [f"{package}.{name}" for name in shown]
    inner = [path for path in paths if inspect.ismodule(resolve(path))]
    return [package, *(deeper for path in inner for deeper in modules(path))]


def names():
    pairs = [pair for module in modules() for pair in public(module)]
    return [f"{m}.{n}" for m, n in pairs if not inspect.ismodule(resolve(f"{m}.{n}"))]


def test_every_public_name_is_in_the_reference():
    shown = documented()
    values = {id(value) for value in map(resolve, shown) if callable(value)}
    missing = [n for n in names() if n not in shown and id(resolve(n)) not in values]
    assert not missing, "add '::: NAME' to a page of docs/api"


def test_the_reference_names_everything_once():
    shown = documented()
    assert len(shown) == len(set(shown)) > 300
    objects = [id(value) for value in map(resolve, shown) if callable(value)]
    assert len(objects) == len(set(objects))


def test_the_site_has_every_page_in_its_menu():
    menu = (ROOT / "mkdocs.yml").read_text()
    pages = [p.relative_to(DOCS) for p in DOCS.rglob("*.md")]
    pages += [f"experiments/{p.parent.name}.md" for p in ROOT.glob("experiments/*/README.md")]
    assert not [page for page in map(str, pages) if f" {page}\n" not in menu]
