import io

import chex
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from backports import zstd
from PIL import Image

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
        ({"user": ["bob"] * 3}, "column 'user' must have at least two owners, got 'bob' alone"),
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
    with pytest.raises(TypeError, match="frame must be a pandas DataFrame, .* got dict"):
        by({"user": ["a"]}, "user", "age")
    with pytest.raises(ValueError, match=r"x must have at least one column, got \[\]"):
        by(table(), "user", [])


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv.xz", ".jsonl.zst", ".parquet"])
def test_files_give_the_same_clients_as_a_frame(tmp_path, suffix):
    frame = table(height=[1.5, 2.0, 1.0], other=["x", "y", "z"])
    path = tmp_path / f"data{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    elif ".jsonl" in suffix:
        path.write_bytes(zstd.compress(frame.to_json(orient="records", lines=True).encode()))
    else:
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in suffix else ",")
    data = jc.data.by_column(path, "user", ["age", "height"], "label")
    expected = jc.data.by_column(frame, "user", ["age", "height"], "label")
    chex.assert_trees_all_equal(data, expected)
    with pytest.raises(ValueError, match="column 'weight' must be in the frame once, got 0 times"):
        jc.data.by_column(path, "user", "weight")


def test_tables_of_other_libraries():
    import pyarrow

    frame = table()
    data = jc.data.by_column(pyarrow.Table.from_pandas(frame), "user", "age", "label")
    chex.assert_trees_all_equal(data, jc.data.by_column(frame, "user", "age", "label"))

    class Set:  # as a data set of Hugging Face, of which only some columns are converted
        def __init__(self, frame):
            self.frame, self.column_names = frame, list(frame.columns)

        def select_columns(self, names):
            assert set(names) == {"user", "age"}
            return Set(self.frame[names])

        def to_pandas(self):
            assert len(self.frame.columns) == 2
            return self.frame

    assert list(jc.data.by_column(Set(frame), "user", "age").names) == ["ann", "bob"]


def test_cells_with_arrays_and_images():
    image = io.BytesIO()
    pixels = np.array([[0, 255], [51, 102]], np.uint8)
    Image.fromarray(pixels).save(image, "PNG")
    cells = [{"bytes": image.getvalue(), "path": None}] * 3
    data = jc.data.by_column(table(image=cells), "user", "image", "label")
    np.testing.assert_allclose(data.examples.x[0, ..., 0], pixels / 255, rtol=1e-6)
    vectors = table(v=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert jc.data.by_column(vectors, "user", "v").examples.tolist() == [[3, 4], [1, 2], [5, 6]]
    with pytest.raises(
        ValueError, match=r"column 'v' must have entries of one shape, got \[1\] and"
    ):
        jc.data.by_column(table(v=[[1.0], [3.0, 4.0], [5.0]]), "user", "v")
    with pytest.raises(ValueError, match="column 'v' must be numbers in a list of columns"):
        jc.data.by_column(vectors, "user", ["v", "age"])


def test_inputs_that_are_computed_from_the_table_and_an_order():
    counts = np.array([[1, 0], [0, 1], [2, 2]], np.float32)
    data = jc.data.by_column(table(time=[5, 1, 3]), "user", counts, "label", order="time")
    assert data.examples.x.tolist() == [[0, 1], [2, 2], [1, 0]]  # bob's third row comes first
    assert data.examples.y.tolist() == [1, 1, 0]
    with pytest.raises(ValueError, match=r"x must have shape \[N=3, ...\], got \[2, 2\]"):
        jc.data.by_column(table(), "user", counts[:2])
    with pytest.raises(TypeError, match="x must be columns or an array of numbers, got <U1"):
        jc.data.by_column(table(), "user", np.array(["a", "b", "c"]))
    with pytest.raises(TypeError, match="x must be columns or an array of numbers, got csr_array"):
        jc.data.by_column(table(), "user", scipy.sparse.csr_array(counts))
    with pytest.raises(ValueError, match="x must be finite, got another number in row 1"):
        jc.data.by_column(table(), "user", np.array([1, np.nan, 2]))
    with pytest.raises(TypeError, match="column 'text' must be numbers, .* x may be an array"):
        jc.data.by_column(table(text=["a b", "c", "d"]), "user", "text")


def test_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "data.csv"
    with pytest.raises(FileNotFoundError, match=r"path must be a table, got .*data\.csv"):
        jc.data.by_column(path, "user", "age")
    path.write_text('user,age\nbob,1\nann,2,3,4\n"')
    with pytest.raises(ValueError, match=r"data\.csv must be a readable table, got: .*row 3"):
        jc.data.by_column(path, "user", "age")
    path.write_text("user,age\n")
    with pytest.raises(ValueError, match="frame must have at least one row, got none"):
        jc.data.by_column(path, "user", "age")
    (tmp_path / "data.xls").write_text("")
    with pytest.raises(ValueError, match=r"suffix of a table must be one of \.csv, .*, got .*xls"):
        jc.data.by_column(tmp_path / "data.xls", "user", "age")
    (tmp_path / "data.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match=r"data\.parquet must be a readable table"):
        jc.data.by_column(tmp_path / "data.parquet", "user", "age")
