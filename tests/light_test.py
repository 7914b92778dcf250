"""What importing the library loads, and what installing it brings."""

import re
import subprocess
import sys
import tomllib

import pytest

import jcollab as jc
from tests import ROOT

CORE = {
    *("jax", "jaxlib", "flax", "optax", "chex", "tensorflow-datasets", "distrax"),
    *("numpy", "networkx", "scipy", "scikit-learn", "rich", "orbax-checkpoint"),
    *("array-record", "importlib-resources", "pillow"),  # of tensorflow-datasets, not declared
}
HEAVY = {
    *("distrax", "flax", "tensorflow_datasets"),
    *("matplotlib", "pandas", "scipy.stats", "sklearn"),
}
EXTRAS = {
    *("experiments", "text", "teacher", "privacy", "tracking", "streams"),
    *("test", "docs", "notebooks", "dev"),
}


def python(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements):
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}


def test_importing_loads_little_starts_no_backend_and_sets_nothing():
    code = """
import sys
import jax, networkx, optax
modules, settings = set(sys.modules), dict(jax.config.values)
import jcollab
assert dict(jax.config.values) == settings
assert not jax._src.xla_bridge.backends_are_initialized()
print(*sys.modules)
print(*set(sys.modules) - modules)
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    loaded, own = (line.split() for line in done.stdout.splitlines())
    assert not HEAVY & set(loaded)
    packages = {name.split(".")[0] for name in own} - sys.stdlib_module_names
    assert packages <= {"jcollab", "jax"}  # JAX has modules that it does not load itself


def test_dependencies_are_few():
    assert names(project()["dependencies"]) == CORE
    assert set(project()["optional-dependencies"]) == EXTRAS


@pytest.mark.parametrize(
    ("hidden", "missing"),
    [(["jinja2", "tyro"], "jinja2, tyro"), (["matplotlib"], "matplotlib")],
)
def test_experiments_say_what_to_install(hidden, missing):
    done = python(
        f"import runpy, sys; sys.modules.update(dict.fromkeys({hidden}));"
        "runpy.run_module('experiments', run_name='__main__')"
    )
    assert done.returncode == 2 and not done.stderr
    assert done.stdout == f'experiments need {missing}: pip install "jax-collab[experiments]"\n'


def test_the_library_says_what_to_install(monkeypatch):
    for name in ("pandas", "matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "jcollab.plots", raising=False)
    monkeypatch.delitem(vars(jc), "plots", raising=False)
    for use in (
        lambda: jc.sweep(lambda settings, key: {}, {"rate": [0.1]}, 1),
        lambda: jc.topology.draw(jc.topology.chain(3)),
        lambda: jc.plots,
    ):
        with pytest.raises(ImportError, match=r"jax-collab\[experiments\]"):
            use()
