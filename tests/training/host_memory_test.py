"""Large populations: clients as ranges of examples, in host memory, and the memory of a round."""

import json
import os
import signal

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab.training import Checkpoint, Diverged, JsonLines

KEY = jax.random.key(3)
SGD = optax.sgd(0.05)
DRAWS = {
    "minibatches": lambda data: jc.data.minibatches(data, 2),
    "epochs": lambda data: jc.data.epochs(data, 2),
    "stacked": lambda data: jc.data.stacked(many_rounds()),
    "full batch": lambda data: jc.data.full_batch(
        jax.tree.map(lambda leaf: leaf[0, :, 0], many_rounds())
    ),
    "function": lambda data: jc.data.from_function(
        lambda rounds, key, step: jax.tree.map(lambda leaf: jnp.asarray(leaf)[step], rounds),
        many_rounds(),
    ),
}


def many_rounds():
    """Batches of six rounds, five clients and two local steps, in host memory."""
    x = np.random.default_rng(1).normal(size=(6, 5, 2, 2, 3)).astype(np.float32)
    return {"x": x, "owner": np.broadcast_to(np.arange(5)[:, None, None], x.shape[:-1]).copy()}


def examples_of_users():
    owners = np.array([2, 0, 1, 1, 4, 3, 2, 0, 1, 4, 1])
    x = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    return {"x": x, "owner": owners}, owners


def squares(params, batch, key):
    return jnp.mean((batch["x"] - params) ** 2), {
        "owner": batch["owner"].astype(jnp.float32).mean()
    }


def scaffold(num_sampled=2):
    return jc.federated(
        squares, SGD, local_steps=2, num_sampled=num_sampled, method=jc.local.scaffold()
    )


def data_of(form="ranges"):
    examples, owners = examples_of_users()
    if form == "lists":
        data = jc.data.by_client(examples, jc.data.by_user(owners))
        return jax.tree.map(np.asarray, data)
    return jc.data.by_owner(examples, owners)


def offloaded(algorithm, state, batches, **options):
    options = {"num_rounds": 6, "eval_every": 2, "listeners": ()} | options
    return jc.fit(algorithm, state, batches, KEY, offload=True, **options)


@pytest.mark.parametrize(
    "form, draw, num_sampled",
    [
        ("ranges", "minibatches", 2),
        ("ranges", "minibatches", None),
        *(("lists", draw, 2) for draw in DRAWS),
    ],
)
def test_clients_in_host_memory_train_as_on_the_device(form, draw, num_sampled):
    algorithm, batches = scaffold(num_sampled), DRAWS[draw](data_of(form))
    state = algorithm.init(jnp.zeros((5, 3)))
    expected, log = jc.run(algorithm, state, batches, KEY, num_rounds=6)
    result = offloaded(algorithm, state, batches, eval_every=4)
    chex.assert_trees_all_close(jax.device_get(result.state), jax.device_get(expected), atol=1e-6)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(result.state.clients))
    for name, values in log.items():
        np.testing.assert_allclose(result.log[name], values, rtol=1e-5)


def test_arrays_are_changed_in_place_and_others_are_copied(tmp_path):
    algorithm, batches = scaffold(), jc.data.minibatches(data_of(), 2)
    state = algorithm.init(jnp.zeros((5, 3)))
    before = jax.device_get(state)
    expected = offloaded(algorithm, state, batches)
    chex.assert_trees_all_equal(jax.device_get(state), before)

    def on_disk(path, leaf):
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        array = np.memmap(file, np.asarray(leaf).dtype, "w+", shape=leaf.shape)
        array[...] = leaf
        return array

    mapped = state._replace(clients=jax.tree_util.tree_map_with_path(on_disk, state.clients))
    result = offloaded(algorithm, mapped, batches)
    chex.assert_trees_all_equal(jax.device_get(result.state), jax.device_get(expected.state))
    for leaf, given in zip(
        *map(jax.tree.leaves, (result.state.clients, mapped.clients)), strict=True
    ):
        assert leaf is given
    read_only = jax.tree.map(np.asarray, state.clients)
    with pytest.raises(ValueError, match=r"state\.clients must be writable"):
        offloaded(algorithm, state._replace(clients=read_only), batches)


def test_evaluation_listeners_and_checkpoints_work_as_on_the_device(tmp_path):
    algorithm, batches = scaffold(), jc.data.minibatches(data_of(), 2)

    def evaluate(state):
        return {"memory": np.abs(jax.tree.leaves(state.clients.memory)[0]).mean()}

    def kill(state):
        if int(state.step) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(state)

    def go(name, evaluate=evaluate, **options):
        state = algorithm.init(jnp.zeros((5, 3)))
        listeners = [JsonLines(tmp_path / name)]
        return offloaded(
            algorithm, state, batches, evaluate=evaluate, listeners=listeners, **options
        )

    expected = go("whole")
    device = jc.fit(
        algorithm, algorithm.init(jnp.zeros((5, 3))), batches, KEY, num_rounds=6, eval_every=2,
        evaluate=evaluate, listeners=(),
    )  # fmt: skip
    chex.assert_trees_all_close(expected.evaluations, device.evaluations, rtol=1e-5)
    checkpoint = Checkpoint(tmp_path / "run", 0)
    part = go("part", kill, checkpoint=checkpoint)
    assert part.stopped == "interrupted" and int(part.state.step) == 2
    got = go("part", checkpoint=checkpoint)
    chex.assert_trees_all_equal(jax.device_get(got.state), jax.device_get(expected.state))
    chex.assert_trees_all_equal(got.log, expected.log)
    assert (tmp_path / "part").read_text() == (tmp_path / "whole").read_text()
    assert [json.loads(line)["round"] for line in (tmp_path / "part").open()] == [0, 2, 4, 6]


def test_a_run_in_host_memory_that_diverges_is_stopped():
    algorithm = jc.federated(squares, optax.sgd(1e30), local_steps=2, num_sampled=2)
    state = algorithm.init(jnp.ones((5, 3)))
    with pytest.raises(Diverged, match="loss is not finite in round 1 of 6"):
        offloaded(algorithm, state, jc.data.minibatches(data_of(), 2))


@pytest.mark.parametrize(
    "algorithm",
    [
        jc.decentralized(squares, SGD, jc.all_reduce()),
        jc.with_metrics(scaffold(), lambda state: state.step),
        jc.algorithms.ditto(scaffold(), squares, SGD, attraction=0.1),
    ],
    ids=["decentralized", "with metrics", "ditto"],
)
def test_algorithms_that_touch_all_clients_are_refused(algorithm):
    state = algorithm.init(jnp.ones((5, 3)))
    with pytest.raises(ValueError, match="offload needs an algorithm whose rounds touch only"):
        offloaded(algorithm, state, jc.data.minibatches(data_of(), 2))


def test_replicas_are_refused():
    algorithm = scaffold()
    with pytest.raises(ValueError, match="offload must be False with replicas"):
        offloaded(
            algorithm,
            algorithm.init(jnp.zeros((5, 3))),
            jc.data.minibatches(data_of(), 2),
            replicas=jc.training.Replicas(),
        )


def test_memory_is_set_by_the_chunk_and_not_by_the_number_of_sampled_clients():
    def squares(params, batch, key):
        return jnp.mean((params - batch) ** 2)

    size = 50_000

    def temporary(num_sampled):
        algorithm = jc.federated(squares, SGD, num_sampled=num_sampled, num_clients=1000, chunk=4)
        state = jax.eval_shape(algorithm.init, jnp.zeros(size))
        batches = jc.data.full_batch(jnp.zeros(1000))
        compiled = jax.jit(algorithm.update).lower(state, batches, KEY).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    few, many = temporary(20), temporary(200)
    assert many < few + 200 * 1000 < 200 * 4 * size
