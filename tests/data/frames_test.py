import numpy as np
import pandas as pd
import pytest

import jcollab as jc


def table(**columns):
    own = {"user": ["bob", "ann", "bob"], "age": [31, 45, 30], "height": [1.5, 2.0, 1.0]}
    return pd.DataFrame(own | {"label": [0, 1, 1]} | columns)


def test_a_column_of_a_table_has_the_clients():
    data = jc.data.by_column(table(), "user", ["height", "age"], "label")
    assert list(data.names) == ["ann", "bob"] and data.size.tolist() == [1, 2]
    assert data.examples.x.tolist() == [[2, 45], [1.5, 31], [1, 30]]
    assert data.examples.x.dtype == np.float32 and data.examples.y.dtype == np.int32
    assert data.examples.y.tolist() == [1, 0, 1]
    for kind in ("category", "string", object):
        again = jc.data.by_column(table().astype({"user": kind}), "user", "height", "age")
        assert again.names == data.names and again.examples.x.tolist() == [2, 1.5, 1]
    for kind in (np.int32, np.uint8, "Int64"):  # pandas' own integers too
        numbers = table(user=pd.array([9, 7, 9]).astype(kind), age=pd.array([1, 2, 3], "Int64"))
        data = jc.data.by_column(numbers, "user", "age")
        assert data.names == jc.data.Names([7, 9]) and data.examples.tolist() == [2, 1, 3]
    assert jc.data.by_column(table(), "user", "age", "height").examples.y.dtype == np.float32


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"user": ["bob", None, "bob"]}, "column 'user' must have no missing value, .* in row 1"),
        ({"user": [1.0, np.nan, 2.0]}, "column 'user' must have no missing value, .* in row 1"),
        ({"user": [1.0, 2.0, 2.0]}, "column 'user' must be all texts or all integers, got float"),
        ({"user": ["bob", 3, "bob"]}, "column 'user' must be all texts or all integers, got int"),
        ({"age": [1, np.nan, 2]}, "column 'age' must have no missing value, got one in row 1"),
        ({"age": [1, 2, np.inf]}, "column 'age' must be finite, got infinity in row 2"),
        ({"age": ["31", "45", "30"]}, "column 'age' must be numbers, got .*factorize"),
        ({"label": ["a", "b", "b"]}, "column 'label' must be numbers, got .*factorize"),
        ({"label": [0, 1, None]}, "column 'label' must have no missing value, got one in row 2"),
    ],
)
def test_tables_that_do_not_fit_are_named(columns, message):
    with pytest.raises((ValueError, TypeError), match=message):
        jc.data.by_column(table(**columns), "user", "age", "label")


def test_arguments_that_do_not_fit_are_named():
    by = jc.data.by_column
    with pytest.raises(ValueError, match="column 'users' must be in the frame once, got 0 times"):
        by(table(), "users", "age")
    twice = pd.concat([table(), table()], axis=1)
    with pytest.raises(ValueError, match="column 'age' must be in the frame once, got 2 times"):
        by(twice, "user", "age")
    with pytest.raises(ValueError, match="frame must have at least one row, got none"):
        by(table()[:0], "user", "age")
    with pytest.raises(TypeError, match="frame must be a pandas DataFrame, got dict"):
        by({"user": ["a"]}, "user", "age")
    with pytest.raises(ValueError, match=r"x must have at least one column, got \[\]"):
        by(table(), "user", [])
