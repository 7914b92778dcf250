import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcollab as jc

KEY = jax.random.key(3)


def examples_of_users():
    owners = np.array([2, 0, 1, 1, 4, 3, 2, 0, 1, 4, 1])
    x = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    return {"x": x, "owner": owners}, owners


@pytest.mark.parametrize("replace", [True, False])
def test_clients_draw_from_their_own_examples(replace):
    examples, owners = examples_of_users()
    data = jc.data.client_data(examples, jc.data.by_user(owners))
    source = jc.data.sources.local_batches(2, replace=replace)
    rows, common = source.rows(data, jnp.array([1, 3]), 4)
    for place, owner in enumerate((1, 3)):
        row = jax.tree.map(lambda leaf: leaf[place], rows)  # noqa: B023
        batches = [source.pick(row, common, KEY, k) for k in range(4)]
        assert all((batch["owner"] == owner).all() for batch in batches)
        if owner == 1 and not replace:  # four examples: two steps are a pass over them
            seen = np.concatenate([batch["x"] for batch in batches[:2]])
            own = examples["x"][owners == 1]
            np.testing.assert_array_equal(np.sort(seen, axis=0), np.sort(own, axis=0))
            np.testing.assert_array_equal(batches[0]["x"], batches[2]["x"])
    ranges = jc.data.client_ranges(examples, owners)
    np.testing.assert_array_equal(ranges.size, [2, 4, 2, 1, 2])
    if not replace:
        with pytest.raises(ValueError, match="replace must be True for ClientRanges"):
            source.rows(ranges, None, 1)
