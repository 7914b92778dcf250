import numpy as np
import pytest

import jcollab as jc


@pytest.mark.parametrize(
    "make", [jc.data.by_user, lambda owners: jc.data.client_ranges({"x": np.ones(3)}, owners)]
)
@pytest.mark.parametrize("owners", [np.zeros((0,)), np.zeros((2, 2))])
def test_owners_that_do_not_fit_are_named(make, owners):
    with pytest.raises(ValueError, match=r"owners must have shape \[N"):
        make(owners)


@pytest.mark.parametrize("sizes", [[], [1, 0, 2], [-1, 4], [1, 1], [[3]]])
def test_sizes_that_do_not_fit_are_named(sizes):
    with pytest.raises(ValueError, match="sizes must be at least 1 each and sum to N=3"):
        jc.data.client_ranges({"x": np.ones(3)}, sizes=sizes)


def test_ranges_by_size_hold_what_they_say():
    ranges = jc.data.client_ranges({"x": np.arange(6)}, sizes=[1, 3, 2])
    np.testing.assert_array_equal(ranges.start, [0, 1, 4])
    np.testing.assert_array_equal(ranges.size, [1, 3, 2])
    with pytest.raises(ValueError, match="owners or sizes must be given"):
        jc.data.client_ranges({"x": np.arange(6)})
