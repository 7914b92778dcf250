"""Batches of a data source that grain reads: every example once in a pass, at any round."""

import itertools
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab.training import Checkpoint

PARTS = [[5], [0, 2, 4], [1, 3, 6, 7, 8]]
SOURCE = [{"x": np.full(2, i, np.float32), "y": i} for i in range(9)]


def needed():
    pytest.importorskip("grain", reason="needs grain: the extra streams has it")


def rounds(count, **options):
    batches = jc.data.grain_batches(SOURCE, PARTS, **{"batch_size": 2} | options)
    return list(itertools.islice(batches.open(), count))


def test_every_pass_has_every_example_once_in_another_order():
    needed()
    batches = rounds(30)
    assert batches[0]["x"].shape == (3, 2, 2) and batches[0]["y"].shape == (3, 2)
    drawn = np.concatenate([batch["y"] for batch in batches], 1)  # [n, 60]
    for own, part in zip(drawn, PARTS, strict=True):
        passes = own.reshape(-1, len(part))
        assert (np.sort(passes) == np.sort(part)).all()
        assert len(part) == 1 or len({tuple(order) for order in passes}) > 1
    assert all((batch["x"] == batch["y"][..., None]).all() for batch in batches)
    chex.assert_trees_all_equal(rounds(30, num_threads=3), batches)
    other = np.concatenate([batch["y"] for batch in rounds(30, seed=1)], 1)
    assert (other != drawn).any()


def test_local_steps_have_an_axis():
    needed()
    (batch,) = rounds(1, local_steps=3)
    assert batch["x"].shape == (3, 3, 2, 2)
    flat = np.concatenate([b["y"] for b in rounds(3)], 1)
    np.testing.assert_array_equal(batch["y"].reshape(3, 6), flat)


def test_sources_may_read_many_examples_at_once():
    needed()
    asked = []

    class Source(list):
        def __getitems__(self, indices):
            asked.append(len(indices))
            return [self[i] for i in indices]

    batches = jc.data.grain_batches(Source(SOURCE), PARTS, 2)
    chex.assert_trees_all_equal(next(batches.open()), rounds(1)[0])
    assert asked[0] == 6


def test_a_run_resumes_at_its_round(tmp_path, caplog):
    needed()
    algorithm = jc.decentralized(
        lambda w, batch, key: jnp.mean((w - batch["x"]) ** 2), optax.sgd(0.1), jc.all_reduce()
    )
    state, key = algorithm.init(jnp.zeros((3, 2))), jax.random.key(0)
    batches = jc.data.grain_batches(SOURCE, PARTS, 2)
    options = {"eval_every": 2, "listeners": ()}
    expected = jc.fit(algorithm, state, batches, key, num_rounds=9, **options)
    for count in (4, 9):
        options |= {"checkpoint": Checkpoint(tmp_path, 0)}
        got = jc.fit(algorithm, state, batches, key, num_rounds=count, **options)
    chex.assert_trees_all_equal(got.state, expected.state)
    assert not caplog.records  # nothing is skipped


def test_wrong_sources_and_parts_are_named():
    needed()
    for arguments, error, message in (
        ((iter(SOURCE), PARTS, 2), TypeError, "source must have a length and random access, got"),
        ((SOURCE, [], 2), ValueError, "parts must have at least one client, got none"),
        ((SOURCE, [[0], []], 2), ValueError, r"parts\[1\] must have at least one example"),
        ((SOURCE, [[9]], 2), ValueError, r"parts\[0\] must be"),
        ((SOURCE, [[0.5]], 2), TypeError, r"parts\[0\] must be integers"),
        ((SOURCE, PARTS, 0), ValueError, "batch_size must be at least 1, got 0"),
    ):
        with pytest.raises(error, match=message):
            jc.data.grain_batches(*arguments)


def test_without_grain_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    message = r'grain_batches needs grain: pip install "jax-collab\[streams\]"'
    with pytest.raises(ImportError, match=message):
        jc.data.grain_batches(SOURCE, PARTS, 2)
