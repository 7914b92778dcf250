import gc
import os
import tempfile

import jaxlib.version

# before jax starts: the tests of layouts need several devices, and compiling takes most of the time
flags = ["--xla_backend_optimization_level=0"]
if jaxlib.version.__version_info__ < (0, 11):  # XLA refuses flags that it does not know
    flags.append("--xla_cpu_use_fusion_emitters=false")
devices = os.environ.get("JCOLLAB_TEST_DEVICES", "4")
os.environ["XLA_FLAGS"] = " ".join(
    [
        *flags,
        os.environ.get("XLA_FLAGS", ""),
        f"--xla_force_host_platform_device_count={devices}",
    ]
)
os.environ.setdefault("MPLBACKEND", "agg")
# one folder of compiled programs for all processes of this session: those of xdist, and those that
# tests start
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    programs = tempfile.TemporaryDirectory(prefix="jcollab-programs-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = programs.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax  # noqa: E402
import pytest  # noqa: E402

MOST_PROGRAMS = 600


@pytest.fixture
def x64():
    """float64 for the duration of a test."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture(autouse=True)
def few_programs():
    """Drops compiled programs: they take memory, and memory maps, of which a process has few."""
    yield
    if len(jax.devices()[0].client.live_executables()) > MOST_PROGRAMS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session", autouse=True)
def one_cache(tmp_path_factory):
    """Keeps what tests cache away from the user's folders."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
