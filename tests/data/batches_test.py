"""Batches of rounds: which examples they are of, for all clients and for sampled ones."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab.data.batches import as_local

KEY = jax.random.key(3)
PARTS = [[5], [0, 2, 4], [1, 3, 6, 7]]
# what the first version of the library drew with these keys
DRAWN = {
    0: [[5, 5, 5, 5], [0, 4, 4, 2], [1, 6, 3, 7]],
    1: [[5, 5, 5, 5], [4, 4, 2, 2], [3, 6, 1, 3]],
    7: [[5, 5, 5, 5], [2, 2, 2, 2], [6, 6, 3, 1]],
}
PICKED = {
    "minibatches": [[[3, 6, 3], [6, 3, 6], [6, 3, 6]], [[2, 0, 2], [4, 0, 4], [4, 0, 4]]],
    "epochs": [[[1, 3, 7], [6, 1, 3], [7, 6, 1]], [[0, 4, 2], [0, 4, 2], [0, 4, 2]]],
    "ranges": [[[5, 6, 5], [6, 5, 6], [6, 5, 6]], [[2, 1, 2], [3, 1, 3], [3, 1, 3]]],
}
ROUNDS, H = 4, 3


def lists():
    return jc.data.by_client(jnp.arange(8), PARTS)


def ranges():
    return jc.data.by_owner(np.arange(8), sizes=[1, 3, 4])


def rounds():
    """``[T, n, H, 2]``, all numbers different."""
    return np.arange(ROUNDS * 3 * H * 2).reshape(ROUNDS, 3, H, 2)


def of_round(data, key, step):
    return jnp.asarray(data)[step]


KINDS = {
    "minibatches": lambda: jc.data.minibatches(lists(), 3),
    "ranges": lambda: jc.data.minibatches(ranges(), 3),
    "epochs": lambda: jc.data.epochs(lists(), 3),
    "epochs of ranges": lambda: jc.data.epochs(ranges(), 3),
    "full batch": lambda: jc.data.full_batch({"x": jnp.arange(6).reshape(3, 2)}),
    "stacked": lambda: jc.data.stacked(rounds()),
    "function": lambda: jc.data.from_function(of_round, rounds()),
}


def picked(source, clients, keys):
    """Batches of all local steps of these clients."""
    own, common, pick, _ = source.rows(clients, H)
    rows = [jax.tree.map(lambda leaf, i=i: leaf[i], own) for i in range(len(keys))]
    return [
        [jax.tree.map(np.asarray, pick(row, common, key, jnp.int32(k))) for k in range(H)]
        for row, key in zip(rows, keys, strict=True)
    ]


@pytest.mark.parametrize("step", DRAWN)
def test_draws_of_all_clients_are_those_of_the_first_version(step):
    batches = jc.data.minibatches(lists(), 4)
    assert batches.draw(KEY, jnp.int32(step)).tolist() == DRAWN[step]


@pytest.mark.parametrize("kind", PICKED)
def test_draws_of_sampled_clients_are_those_of_the_first_version(kind):
    source = KINDS[kind]().local(KEY, jnp.int32(0))
    keys = [jax.random.fold_in(KEY, i) for i in range(2)]
    got = picked(source, jnp.array([2, 1]), keys)
    assert jax.tree.map(lambda leaf: leaf.tolist(), got) == PICKED[kind]


def test_draws_are_even_and_of_the_clients_own_examples():
    draw = jax.vmap(lambda key: jc.data.minibatches(lists(), 4).draw(key, 0))
    draws = draw(jax.random.split(jax.random.key(0), 300))
    assert set(np.unique(draws[:, 0])) == {5}
    values, counts = np.unique(draws[:, 1], return_counts=True)
    assert values.tolist() == [0, 2, 4]
    assert (abs(counts - 400) < 5 * np.sqrt(1200 * 2 / 9)).all()


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 9])
def test_a_pass_visits_every_example_once(batch_size):
    """Batches go on into the next pass where one ends, at another place for every client."""
    batches, total = jc.data.epochs(lists(), batch_size), 36
    draws = [batches.draw(KEY, jnp.int32(t)) for t in range(-(-total // batch_size))]
    for i, own in enumerate(PARTS):
        seen = np.concatenate([draw[i] for draw in draws])[: total // len(own) * len(own)]
        passes = seen.reshape(-1, len(own))
        assert (np.sort(passes, axis=1) == np.sort(own)).all()
        if len(own) == 4:  # in orders of their own
            assert len(np.unique(passes, axis=0)) > 4


def test_local_steps_go_through_the_examples_in_an_order_of_the_round():
    source = jc.data.epochs(lists(), 2).local(KEY, jnp.int32(0))
    orders = []
    for seed in range(6):
        ((first, second, again),) = picked(source, jnp.array([2]), [jax.random.key(seed)])
        assert sorted([*first, *second]) == PARTS[2] and (first == again).all()
        orders.append((*first, *second))
    assert len(set(orders)) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_gathered_examples_are_drawn_as_those_of_the_whole_data(kind):
    """With the same keys, clients in host memory train on the same batches."""
    chosen, keys = np.array([2, 0]), list(jax.random.split(KEY, 2))
    source = KINDS[kind]().local(KEY, jnp.int32(1))
    expected = picked(source, jnp.asarray(chosen), keys)
    few = source.gather(chosen)
    chex.assert_trees_all_equal(picked(few, None, keys), expected)
    if hasattr(few.data, "examples"):  # and nothing of the others is there
        assert set(np.asarray(few.data.examples).ravel()) < set(range(8))


@pytest.mark.parametrize("kind", KINDS)
def test_objects_that_are_built_anew_compile_nothing_anew(kind):
    @jax.jit
    @chex.assert_max_traces(n=1)
    def draw(batches, step):
        return batches.draw(KEY, step)

    for _ in range(3):
        draw(KINDS[kind](), jnp.int32(1))
    chex.clear_trace_counter()


def test_other_numbers_and_options_are_other_programs():
    def twice(data, key, step, factor):
        return factor * data

    sizes = [jax.tree.structure(jc.data.minibatches(lists(), size)) for size in (2, 2, 3)]
    assert sizes[0] == sizes[1] != sizes[2]
    made = [jc.data.from_function(twice, jnp.ones(2), factor=factor) for factor in (2, 2, 3)]
    structures = [jax.tree.structure(each) for each in made]
    assert structures[0] == structures[1] != structures[2]
    assert made[2].draw(KEY, 0).tolist() == [3, 3]
    with pytest.raises(TypeError, match="factor must be hashable, since options are static"):
        jc.data.from_function(twice, jnp.ones(2), factor=[1])
    with pytest.raises(TypeError, match="function must be a function, got ndarray"):
        jc.data.from_function(np.ones(2))


def loss(params, batch, key):
    return jnp.mean((params - batch) ** 2)


def test_rounds_of_stacked_batches_are_found_by_their_number():
    arrays = jnp.arange(12.0).reshape(6, 2, 1)
    algorithm = jc.decentralized(loss, optax.sgd(0.1), jc.all_reduce())
    state, batches = algorithm.init(jnp.zeros((2, 1))), jc.data.stacked(arrays)
    whole, log = jc.run(algorithm, state, batches, KEY)
    assert log["loss"].shape == (6,)
    half, _ = jc.run(algorithm, state, batches, KEY, num_rounds=2)
    rest, log = jc.run(algorithm, half, batches, KEY)  # all rounds that are left
    assert log["loss"].shape == (4,)
    chex.assert_trees_all_close(rest, whole, rtol=1e-6)
    with pytest.raises(ValueError, match="num_rounds must be at most 4, since batches has 6"):
        jc.run(algorithm, half, batches, KEY, num_rounds=5)
    with pytest.raises(ValueError, match=r"data must have leaves \[T, n, \.\.\.\] with one T"):
        jc.data.stacked((jnp.ones((3, 2)), jnp.ones((4, 2))))
    with pytest.raises(ValueError, match=r"data must have leaves \[T, n, \.\.\.\] with one T"):
        jc.data.stacked(jnp.ones(()))


def test_stacked_batches_in_host_memory_stay_there():
    source = jc.data.stacked(rounds()).local(KEY, jnp.int32(2))
    few = source.gather(np.array([1]))
    assert isinstance(few.data, np.ndarray)
    np.testing.assert_array_equal(few.data, rounds()[2, [1]])


def test_batches_of_local_steps_must_be_as_many():
    with pytest.raises(ValueError, match=r"batch\['x'\] must have shape \[n, H=3, \.\.\.\]"):
        as_local({"x": jnp.ones((3, 2, 4))}).rows(None, H)
    algorithm = jc.federated(loss, optax.sgd(0.1), local_steps=H)
    state = algorithm.init(jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"must have shape \[n, H=3, \.\.\.\]"):
        algorithm.update(state, jnp.ones((3, 2)), KEY)


@pytest.mark.parametrize("data", [lists(), ranges()], ids=["lists", "ranges"])
def test_the_arriving_client_alone_draws_as_all_do(data):
    schedule = jc.theory.arrivals.simulate(KEY, 10, np.linspace(0.5, 3, 3))
    batches = jc.data.arriving(data, schedule, 2)
    everyone = jc.data.minibatches(data, 2)
    for step in (0, 3, 12):
        alone = batches.draw(KEY, jnp.int32(step))
        client = int(schedule.client[step % 10])
        assert alone.shape == (1, 2)
        np.testing.assert_array_equal(alone[0], everyone.draw(KEY, jnp.int32(step))[client])
    chex.assert_trees_all_equal(
        jc.data.arriving(data, schedule.client, 2).draw(KEY, 1), batches.draw(KEY, 1)
    )


@pytest.mark.parametrize("make", [jc.data.minibatches, jc.data.epochs])
def test_what_cannot_be_is_refused(make):
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        make(lists(), 0)
    with pytest.raises(TypeError, match="batch_size must be an integer, got 2.5"):
        make(lists(), 2.5)
    with pytest.raises(TypeError, match="data must be made by by_client, .* got ndarray"):
        make(np.ones(3), 2)
    wrong = dataclasses.replace(lists(), mask=jnp.ones((3, 4)))
    with pytest.raises(TypeError, match="data.mask must be a mask, bool .3, 4., got float32"):
        make(wrong, 2)
    wrong = dataclasses.replace(lists(), mask=jnp.ones((3, 2), bool))
    with pytest.raises(ValueError, match="data must have indices and mask of one shape"):
        make(wrong, 2)
    wrong = dataclasses.replace(lists(), indices=jnp.ones((3, 4)))
    with pytest.raises(TypeError, match="data.indices must be integers, got float32"):
        make(wrong, 2)


def test_arrays_are_not_taken_for_batches():
    algorithm = jc.decentralized(loss, optax.sgd(0.1), jc.all_reduce())
    with pytest.raises(TypeError, match="batches must be made by jcollab.data"):
        jc.run(algorithm, algorithm.init(jnp.zeros((2, 1))), jnp.ones((3, 2, 1)), KEY)
