"""Data of clients: lists and ranges of examples, names, and what is checked on the way in."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc
from jcollab import data as jd

OWNERS = [jd.by_user, lambda owners: jd.by_owner({"x": np.ones(3)}, owners)]


def test_lists_are_padded_and_masked():
    data = jd.by_client({"x": np.arange(6.0)}, [np.array([5]), [0, 2, 4]])
    arrays, mask = jd.client_arrays(data)
    assert arrays["x"].tolist() == [[5, 5, 5], [0, 2, 4]]
    assert mask.tolist() == [[True, False, False], [True, True, True]]
    assert data.indices.dtype == jnp.int32 and data.names is None


@pytest.mark.parametrize(
    "parts, error, message",
    [
        ([], ValueError, "parts must have at least one client, got none"),
        ([[0], []], ValueError, r"parts\[1\] must have at least one example, got none"),
        ([[3]], ValueError, r"parts\[0\] must be in 0..2, got 3"),
        ([[0], [-1, 1]], ValueError, r"parts\[1\] must be in 0..2, got -1..1"),
        ([[0.0]], TypeError, r"parts\[0\] must be integers, got float64"),
        ([[True, False, True]], TypeError, r"parts\[0\] must be integers, got bool"),
        ([[[0, 1]]], ValueError, r"parts\[0\] must have shape \[m\], got \[1, 2\]"),
    ],
)
def test_parts_that_cannot_be_are_named(parts, error, message):
    with pytest.raises(error, match=message):
        jd.by_client({"x": np.zeros(3)}, parts)


def test_clients_with_arrays_of_their_own_keep_their_names():
    rng = np.random.default_rng(0)
    own = {
        name: jd.Dataset(rng.normal(size=(m, 2)).astype(np.float32), np.arange(m, dtype=np.int32))
        for name, m in (("zoe", 3), ("ann", 1), ("bob", 4))
    }
    data = jd.from_clients(own)
    assert list(data.names) == ["zoe", "ann", "bob"] and data.names[1] == "ann"
    assert data.names.index("bob") == 2 and "eve" not in data.names
    arrays, mask = jd.client_arrays(data)
    for i, part in enumerate(own.values()):
        np.testing.assert_array_equal(arrays.x[i][mask[i]], part.x)
        np.testing.assert_array_equal(arrays.y[i][mask[i]], part.y)
    batch = jd.minibatches(data, 2).draw(jax.random.key(0), 0)
    assert batch.x.shape == (3, 2, 2) and (batch.x[1] == own["ann"].x).all()


@pytest.mark.parametrize(
    "clients, error, message",
    [
        ({}, ValueError, "clients must have at least one client, got none"),
        ({"a": {"x": np.ones(2)}, "b": {"y": np.ones(2)}}, ValueError, r"clients\['b'\] must have"),
        (
            {"a": np.ones(2), "b": np.ones(2, int)},
            ValueError,
            r"float64\[m\], got .*int64\[m\]",
        ),
        ({"a": np.ones((2, 3)), "b": np.ones((2, 4))}, ValueError, r"m, 3.* got .*m, 4"),
        ({"a": np.ones(2), "b": np.ones(0)}, ValueError, r"must have at least one example"),
        ({"a": np.ones(2), 7: np.ones(2)}, TypeError, "names must be all texts or all integers"),
    ],
)
def test_clients_that_do_not_fit_are_named(clients, error, message):
    with pytest.raises(error, match=message):
        jd.from_clients(clients)


def test_names_are_static_and_compared_by_value():
    @jax.jit
    @chex.assert_max_traces(n=2)
    def count(data):
        return data.mask.sum(1)

    def data(*names):
        return jd.by_client(np.arange(3), [[0], [1, 2]], names=names)

    for names in (("a", "b"), ("a", "b"), ("a", "c"), ("a", "c")):
        assert count(data(*names)).tolist() == [1, 2]
    chex.clear_trace_counter()
    assert data("a", "b").names == data("a", "b").names != data("b", "a").names
    assert hash(data("a", "b").names) == hash(jd.Names(["a", "b"]))
    mapped = jax.tree.map(np.asarray, data("a", "b"))
    assert mapped.names == jd.Names(["a", "b"]) and repr(mapped.names) == "Names('a', 'b')"
    with pytest.raises(ValueError, match="names must be of n=2 clients, got 1"):
        data("a")
    with pytest.raises(ValueError, match="names must differ, got"):
        data("a", "a")
    with pytest.raises(TypeError, match="names must be all texts or all integers"):
        data(1.5, 2.5)


def test_owners_are_the_names_of_ranges():
    examples = {"x": np.arange(5.0), "who": np.array(["b", "a", "b", "a", "b"])}
    ranges = jd.by_owner(examples, examples["who"])
    assert list(ranges.names) == ["a", "b"] and ranges.size.tolist() == [2, 3]
    assert ranges.examples["x"].tolist() == [1, 3, 0, 2, 4]
    of_table = jd.by_owner(examples, examples["who"].astype(object))  # as pandas has texts
    assert of_table.names == ranges.names
    numbers = jd.by_owner({"x": np.arange(3)}, [7, 3, 7])
    assert list(numbers.names) == [3, 7]


@pytest.mark.parametrize("make", OWNERS)
@pytest.mark.parametrize("owners", [np.zeros((0,)), np.zeros((2, 2), int)])
def test_owners_that_do_not_fit_are_named(make, owners):
    with pytest.raises(ValueError, match=r"owners must have shape \[N"):
        make(owners)


def test_owners_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="owners must be all texts or all integers, got float64"):
        jd.by_owner({"x": np.ones(2)}, [0.5, 1.5])


@pytest.mark.parametrize("sizes", [[], [1, 0, 2], [-1, 4], [1, 1], [[3, 3]]])
def test_sizes_that_do_not_fit_are_named(sizes):
    with pytest.raises(ValueError, match=r"sizes must (be at least 1|sum to N=3|have shape)"):
        jd.by_owner({"x": np.ones(3)}, sizes=sizes)


def test_ranges_by_size():
    ranges = jd.by_owner({"x": np.arange(6)}, sizes=[1, 3, 2])
    np.testing.assert_array_equal(ranges.start, [0, 1, 4])
    np.testing.assert_array_equal(ranges.size, [1, 3, 2])
    assert ranges.names is None
    with pytest.raises(ValueError, match="owners or sizes must be given"):
        jd.by_owner({"x": np.arange(6)})
    with pytest.raises(TypeError, match="sizes must be integers, got float64"):
        jd.by_owner({"x": np.arange(6)}, sizes=[2.0, 4.0])


def test_seeds_may_lead_the_partition():
    """As in experiments, where every seed has a partition of shared examples."""
    each = [jd.by_client(jnp.arange(6), jd.iid(6, 3, seed=seed)) for seed in range(2)]
    both = dataclasses.replace(
        each[0],
        indices=jnp.stack([data.indices for data in each]),
        mask=jnp.stack([data.mask for data in each]),
    )
    axes = dataclasses.replace(jd.minibatches(both, 2), data=jd.ClientData(None, 0, 0))
    draw = jax.vmap(lambda batches: batches.draw(jax.random.key(0), 0), (axes,))
    for i, data in enumerate(each):
        expected = jd.minibatches(data, 2).draw(jax.random.key(0), 0)
        np.testing.assert_array_equal(draw(jd.minibatches(both, 2))[i], expected)
    assert isinstance(jc.data.epochs(both, 2), type(jd.epochs(each[0], 2)))
