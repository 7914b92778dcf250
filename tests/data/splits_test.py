import itertools

import chex
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jcollab as jc

OWNERS = ["a"] * 10 + ["b"] * 4 + ["c"] * 2


def rows(data):
    """Returns the examples of each client."""
    if isinstance(data, jc.data.ClientData):
        pairs = zip(np.asarray(data.indices), np.asarray(data.mask), strict=True)
        return [np.asarray(data.examples)[own[mask]].tolist() for own, mask in pairs]
    pairs = zip(data.start, data.size, strict=True)
    return [np.asarray(data.examples)[a : a + m].tolist() for a, m in pairs]


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(3, 20), min_size=1, max_size=6),
    test=st.floats(0, 0.4),
    validation=st.floats(0, 0.4),
    by=st.sampled_from(["random", "order"]),
    as_lists=st.booleans(),
)
def test_parts_are_disjoint_and_complete(sizes, test, validation, by, as_lists):
    x = np.arange(sum(sizes))
    own = np.split(x, np.cumsum(sizes)[:-1])
    data = jc.data.by_client(x, own) if as_lists else jc.data.by_owner(x, sizes=sizes)
    held_out = [max(1, round(f * 3)) for f in (test, validation) if f > 0]
    if sum(held_out) >= 3:
        return
    parts = jc.data.split(data, test=test, validation=validation, by=by)
    assert len(parts) == 1 + (test > 0) + (validation > 0)
    for i, (m, *each) in enumerate(zip(sizes, *map(rows, parts), strict=True)):
        assert sorted(itertools.chain(*each)) == own[i].tolist()
        for part, f in zip(reversed(each), [f for f in (test, validation) if f > 0], strict=False):
            assert len(part) == max(1, round(f * m))
        if by == "order":
            assert list(itertools.chain(*each)) == own[i].tolist()


def test_small_clients_are_dropped_and_large_ones_are_capped():
    data = jc.data.by_owner(np.arange(16), owners=OWNERS)
    train, validation, test = jc.data.split(
        data, test=0.25, validation=0.25, at_least=3, at_most=4, by="order"
    )
    assert list(train.names) == list(test.names) == ["a", "b"]
    assert rows(train) == [[6, 7], [10, 11]] and rows(validation) == [[8], [12]]
    assert rows(test) == [[9], [13]]
    assert train.examples is test.examples  # in memory once
    (capped,) = jc.data.split(data, test=0, at_most=3, seed=1)
    assert capped.size.tolist() == [3, 3, 2]
    again, other = (jc.data.split(data, seed=seed)[0] for seed in (0, 1))
    chex.assert_trees_all_equal(again, jc.data.split(data)[0])
    assert rows(again) != rows(other)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"test": 1.0}, r"test must be in \[0, 1\), got 1"),
        ({"validation": -0.1}, r"validation must be in \[0, 1\), got -0.1"),
        ({"test": 0.5, "validation": 0.5}, "test and validation must sum to less than 1, got 0.5"),
        ({"at_least": 0}, "at_least must be at least 1, got 0"),
        ({"at_least": 11}, "at_least must leave a client, got 11; the largest has 10"),
        ({"at_most": 1}, "at least 2 examples, got 1 for client 'a'; at_least=2 drops"),
        ({"validation": 0.2}, "at least 3 examples, got 2 for client 'c'; at_least=3 drops"),
        ({"by": "time"}, "by must be one of random, order, got 'time'|by must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_wrong_arguments(change, message):
    data = jc.data.by_owner(np.arange(16), owners=OWNERS)
    with pytest.raises(ValueError, match=message):
        jc.data.split(data, **change)
    with pytest.raises(TypeError, match="data must be made by by_client"):
        jc.data.split(np.arange(3))
