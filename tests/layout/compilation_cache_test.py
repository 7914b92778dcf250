"""Compiled programs are stored for later processes, of the same kind of processor."""

import os
import subprocess
import sys

import jax
import pytest

import jcollab as jc
from jcollab.layout import compilation_cache
from tests import ROOT

PROGRAM = """
import collections
import sys
import jax
import jax.numpy as jnp
import optax
import jcollab as jc

counts = collections.Counter()
jax.monitoring.register_event_listener(lambda name, **_: counts.update([name.split("/")[-1]]))
jnp.zeros(3) + 1  # a first program, before the cache is set up
own = jc.layout.use_compilation_cache(sys.argv[1])
loss = lambda params, batch, key: jnp.sum((params - batch) ** 2)
algorithm = jc.decentralized(loss, optax.sgd(0.1), jc.gossip(jc.topology.ring(4)))
batches = jc.data.full_batch(jnp.arange(8.0).reshape(4, 2))
state = algorithm.init(jnp.zeros((4, 2)))
state, _ = jc.run(algorithm, state, batches, jax.random.key(0), num_rounds=3)
print(own.name, len(list(own.glob("*-cache"))), sep="\\n")
print(counts["cache_hits"], counts["cache_misses"], sep="\\n")
print(state.clients.params.tolist())
"""


def run(folder):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    name, files, hits, misses, values = done.stdout.splitlines()
    return name, int(files), int(hits), int(misses), values


def test_a_second_process_compiles_nothing(tmp_path):
    name, files, hits, misses, values = run(tmp_path)
    assert name == compilation_cache.processor()
    assert files == misses > 3 and hits == 0
    assert run(tmp_path) == (name, files, files, 0, values)


def test_each_processor_has_its_folder(tmp_path, monkeypatch):
    own = compilation_cache.processor()
    monkeypatch.setattr(compilation_cache.platform, "processor", lambda: "another")
    assert compilation_cache.processor() != own


def test_a_folder_that_jax_uses_is_kept():
    known = os.environ["JAX_COMPILATION_CACHE_DIR"]  # of all tests, set in conftest.py
    assert str(jc.layout.use_compilation_cache()) == known


def test_a_folder_that_cannot_be_created(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        jc.layout.use_compilation_cache(tmp_path / "file" / "programs")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    known = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        assert jc.layout.use_compilation_cache() is None
    finally:
        jax.config.update("jax_compilation_cache_dir", known)


def test_the_oldest_files_are_deleted(tmp_path):
    for age, name in enumerate("abc"):
        file = tmp_path / f"{name}-cache"
        file.write_bytes(bytes(1000))
        os.utime(file, (1e9 - age, 1e9 - age))
    (tmp_path / "other").write_bytes(bytes(5000))
    compilation_cache._prune(tmp_path, 2500)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a-cache", "b-cache", "other"]


def test_max_bytes_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="max_bytes must be at least 1, got 0"):
        jc.layout.use_compilation_cache(tmp_path, max_bytes=0)
