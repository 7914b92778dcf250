"""Runs whose batches an iterator yields: the same results, prefetched, split, and resumed."""

import itertools
import logging

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab.training import Checkpoint, Replicas
from tests.training.checkpoints_test import killed_and_resumed

KEY = jax.random.key(0)
N, T = 4, 7


def loss(params, batch, key):
    return jnp.mean((params - batch["x"]) ** 2) + jnp.mean(batch["y"] * params)


ALGORITHM = jc.decentralized(loss, optax.adam(0.1), jc.gossip(jc.topology.ring(N)))
ARRAYS = {
    "x": np.random.default_rng(0).normal(size=(T, N, 3)).astype(np.float32),
    "y": np.random.default_rng(1).normal(size=(T, N)).astype(np.float32),
}


def of_rounds(arrays=ARRAYS):
    return [{name: leaf[t] for name, leaf in arrays.items()} for t in range(len(arrays["x"]))]


def start():
    return ALGORITHM.init(jnp.zeros((N, 1)))


def fit(source, state=None, **options):
    options = {"num_rounds": T, "eval_every": 2, "listeners": ()} | options
    batches = source if hasattr(source, "draw") else jc.data.stream(source)
    return jc.fit(ALGORITHM, start() if state is None else state, batches, KEY, **options)


def equal(got, expected):
    chex.assert_trees_all_equal(got.state, expected.state)
    chex.assert_trees_all_equal(got.log, expected.log)


SOURCES = {
    "list": of_rounds,
    "generator": lambda: (batch for batch in of_rounds()),
    "function": lambda: of_rounds,
    "endless": lambda: lambda: itertools.cycle(of_rounds()),
    "arrays of JAX": lambda: of_rounds(jax.tree.map(jnp.asarray, ARRAYS)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_stream_is_the_run_of_its_arrays(name):
    expected = fit(jc.data.stacked(ARRAYS))
    got = fit(SOURCES[name]())
    chex.assert_trees_all_close(got.state, expected.state, rtol=1e-5)  # of loops of other lengths
    np.testing.assert_allclose(got.log["loss"], expected.log["loss"], rtol=1e-5)
    for every in (1, 3, 7):  # one program for each round, whatever the pieces are
        equal(fit(SOURCES[name](), eval_every=every), got)


def test_sampled_clients_take_one_batch_for_each_local_step():
    algorithm = jc.federated(loss, optax.sgd(0.1), num_sampled=2, local_steps=3)
    arrays = jax.tree.map(lambda leaf: np.repeat(leaf[:, :, None], 3, 2), ARRAYS)
    options = {"num_rounds": T, "listeners": ()}
    params = jnp.zeros(1)
    state = algorithm.init(jc.replicate(params, N))
    expected = jc.fit(algorithm, state, jc.data.stacked(arrays), KEY, **options)
    got = jc.fit(algorithm, state, jc.data.stream(of_rounds(arrays)), KEY, **options)
    chex.assert_trees_all_close(got.state, expected.state, rtol=1e-5)
    with pytest.raises(ValueError, match="offload must be False with a stream, got True"):
        jc.fit(algorithm, state, jc.data.stream(of_rounds(arrays)), KEY, offload=True, **options)


def test_replicas_share_a_stream():
    states = jax.vmap(lambda w: ALGORITHM.init(w))(jnp.zeros((3, N, 1)))
    keys = jax.random.split(KEY, 3)
    options = {"num_rounds": T, "listeners": (), "eval_every": 3, "replicas": Replicas()}
    expected = jc.fit(ALGORITHM, states, jc.data.stacked(ARRAYS), keys, **options)
    got = jc.fit(ALGORITHM, states, jc.data.stream(of_rounds()), keys, **options)
    chex.assert_trees_all_close(got.state, expected.state, rtol=1e-5)
    assert got.log["loss"].shape == (3, T)


@pytest.mark.parametrize("n", [8, 6])  # devices divide 8 clients, and not 6
def test_a_stream_is_split_over_devices(n):
    algorithm = jc.decentralized(
        lambda w, batch, key: jnp.mean((w - batch) ** 2), optax.sgd(0.1), jc.all_reduce()
    )
    arrays = np.random.default_rng(0).normal(size=(T, n, 3)).astype(np.float32)
    state, run = algorithm.init(jnp.zeros((n, 1))), {"num_rounds": T, "listeners": ()}
    expected = jc.fit(algorithm, state, jc.data.stacked(arrays), KEY, **run)
    with jc.layout.use(jc.layout.mesh()) as mesh:
        placed = jc.layout.place(state, mesh)
        got = jc.fit(algorithm, placed, jc.data.stream(list(arrays)), KEY, **run)
    chex.assert_trees_all_close(jax.device_get(got.state), expected.state, atol=1e-6)


def test_batches_are_pulled_once_and_one_round_ahead():
    pulled, known = [], []

    def source():
        for t, batch in enumerate(of_rounds()):
            pulled.append(t)
            yield batch

    def evaluate(state):
        known.append((int(state.step), len(pulled)))
        return {}

    fit(source, evaluate=evaluate, eval_every=3, num_rounds=6)
    assert known == [(0, 0), (3, 4), (6, 6)] and pulled == list(range(6))


class Counting:
    """Batches with a position, like an iterator of grain."""

    def __init__(self, kind=dict):
        self.kind, self.at = kind, 0

    def __iter__(self):
        return Counting(self.kind)

    def __next__(self):
        if self.at == T:
            raise StopIteration
        self.at += 1
        return of_rounds()[self.at - 1]

    def get_state(self):
        return {"at": self.at} if self.kind is dict else self.kind(self.at)

    def set_state(self, state):
        self.at = state["at"] if self.kind is dict else len(state)


@pytest.mark.parametrize("kind", [dict, bytes])
def test_a_position_is_part_of_the_checkpoint(kind, tmp_path, caplog):
    expected = fit(of_rounds)
    for rounds in (3, 6, 7, 7):
        got = fit(Counting(kind), num_rounds=rounds, checkpoint=Checkpoint(tmp_path, 0))
    equal(got, expected)
    assert not caplog.records
    with pytest.raises(TypeError, match="get_state of a stream must return bytes or JSON values"):
        fit(Counting(lambda at: {at}))


def test_batches_before_the_position_are_skipped(tmp_path, caplog):
    checkpoint = Checkpoint(tmp_path, 0)
    fit(of_rounds, num_rounds=3, checkpoint=checkpoint)
    with pytest.raises(ValueError, match="must be a stream that can begin again, for a run that"):
        fit(iter(of_rounds()), checkpoint=checkpoint)
    with caplog.at_level(logging.WARNING, "jcollab"):
        got = fit(of_rounds, checkpoint=checkpoint)
    equal(got, fit(of_rounds))
    assert "skipped the first 3 batches of the stream" in caplog.text
    half = fit(of_rounds, num_rounds=3)
    equal_state = fit(of_rounds, state=half.state).state
    chex.assert_trees_all_equal(equal_state, got.state)


def test_a_stream_that_ends_is_named_with_the_round(tmp_path):
    message = "a stream of at least 7 batches, one for each round, got one that ended after 5; it"
    with pytest.raises(ValueError, match=message):
        fit(iter(of_rounds()[:5]), checkpoint=Checkpoint(tmp_path, 0), eval_every=1)
    # the rounds before the end are saved, and the run continues with more data
    got = fit(of_rounds, checkpoint=Checkpoint(tmp_path, 0), eval_every=1)
    equal(got, fit(of_rounds))
    with pytest.raises(ValueError, match="num_rounds must be at most 5, since batches has 5"):
        fit(of_rounds()[:5])
    part = fit(of_rounds, num_rounds=4)
    with pytest.raises(ValueError, match="got one that ended after 2"):
        fit(lambda: of_rounds()[:2], state=part.state)


def changed(at, **leaves):
    batches = of_rounds()
    batches[at] = {name: leaf for name, leaf in (batches[at] | leaves).items() if leaf is not None}
    return batches


FIRST = r"must have shape \[n=4, ...\], got "
WRONG = [
    (changed(2, x=np.ones((N, 2), np.float32)), r"3: batch\['x'\] was 'float32\[4,3\]', now it is"),
    (changed(2, x=np.ones((N, 3), np.int32)), r"3: batch\['x'\] was 'float32"),
    (changed(3, y=None), r"4: batch\['y'\] was 'float32\[4\]', now it is None"),
    (changed(3, y=(np.ones(N, np.float32),)), "another batch in round 4"),
    (changed(0, x=np.ones((3, 3))), FIRST + r"\[3, 3\] in round 1 as batch\['x'\]"),
    (changed(0, y=1.0), FIRST + r"\[\] in round 1 as batch\['y'\]"),
    (changed(0, y=["a"] * N), r"numbers, got str in round 1 as batch\['y'\]\[0\]"),
    (changed(1, y=object()), r"arrays of numbers, got object in round 2 as batch\['y'\]"),
    ([()] * T, "must have arrays, got none in round 1"),
    (lambda: 3, "source must return an iterable, got int"),
]


@pytest.mark.parametrize(("source", "message"), WRONG)
def test_wrong_batches_are_named_with_the_round(source, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fit(source)


def test_wrong_sources_and_uses_are_named():
    for source in ("abc", {"x": 1}, 3, None, list):
        with pytest.raises(TypeError, match="source must be an iterable over batches or a func"):
            jc.data.stream(source)
    stream = jc.data.stream(of_rounds)
    with pytest.raises(TypeError, match="got a stream, which only jc.fit takes"):
        jc.run(ALGORITHM, start(), stream, KEY, num_rounds=T)
    with pytest.raises(TypeError, match="got a stream, which only jc.fit takes"):
        jc.fit(ALGORITHM, start(), lambda state: stream, KEY, num_rounds=T, listeners=())
    with pytest.raises(TypeError, match="stream for iterators.*, got generator"):
        jc.fit(ALGORITHM, start(), iter(b for b in of_rounds()), KEY, num_rounds=T)


def test_a_data_loader_is_a_stream():
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    rows = torch.utils.data.TensorDataset(*map(torch.as_tensor, (ARRAYS["x"], ARRAYS["y"])))
    loader = torch.utils.data.DataLoader(rows, batch_size=None)
    algorithm = jc.decentralized(
        lambda w, batch, key: loss(w, {"x": batch[0], "y": batch[1]}, key),
        optax.adam(0.1),
        jc.gossip(jc.topology.ring(N)),
    )
    options = {"num_rounds": T, "eval_every": 2, "listeners": ()}
    got = jc.fit(algorithm, start(), jc.data.stream(loader), KEY, **options)
    chex.assert_trees_all_close(got.state, fit(of_rounds).state, rtol=1e-6)


@pytest.mark.parametrize("kind", ["stream", "grain"])
def test_a_killed_run_with_a_stream_goes_on_bitwise(kind, tmp_path):
    if kind == "grain":
        pytest.importorskip("grain", reason="needs grain")
    killed_and_resumed("RelaySGD", tmp_path, kills=1, rounds=40, kind=kind)
