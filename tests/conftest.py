import gc
import os

# before jax starts: the tests of layouts need several devices, and compiling takes most of the time
os.environ["XLA_FLAGS"] = " ".join(
    [
        "--xla_backend_optimization_level=0",
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=" + os.environ.get("JCOLLAB_TEST_DEVICES", "4"),
    ]
)

os.environ.setdefault("MPLBACKEND", "agg")

import jax
import pytest


@pytest.fixture
def x64():
    """float64 for the duration of a test."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Drops what a file has compiled: programs take memory maps, and a process has only so many."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="session", autouse=True)
def one_cache(tmp_path_factory):
    """Keeps what tests cache away from the user's folders."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
