import gzip
import json
import os

import numpy as np
import pytest

import jcollab as jc


def write(path, users, **more):
    content = {"users": list(users), "num_samples": [len(u["y"]) for u in users.values()]}
    text = json.dumps(content | {"user_data": users} | more)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@pytest.fixture
def folder(tmp_path):
    """FEMNIST in two files: users with different numbers of images as lists of pixels."""
    write(tmp_path / "b.json", {"f1": {"x": [[0.0, 0.5], [1.0, 0.25]], "y": [3, 61]}})
    write(tmp_path / "a.json.gz", {"f2": {"x": [[1, 1]], "y": [0]}}, hierarchies=["x"])
    (tmp_path / "notes.txt").write_text("not a part")
    return tmp_path


def test_images(folder):
    data = jc.data.from_leaf(folder, encode_x=lambda x: np.reshape(x, (-1, 1, 2)).astype(float))
    assert list(data.names) == ["f1", "f2"] and data.size.tolist() == [2, 1]
    assert data.examples.x.tolist() == [[[0, 0.5]], [[1, 0.25]], [[1, 1]]]
    assert data.examples.x.dtype == np.float32 and data.examples.y.tolist() == [3, 61, 0]
    only = jc.data.from_leaf([folder / "b.json", folder / "a.json.gz"], clients=["f1"])
    assert list(only.names) == ["f1"] and only.examples.y.dtype == np.int32


def test_texts_need_an_encoder(tmp_path):
    write(tmp_path / "s.json", {"ROMEO": {"x": ["to be", "o be "], "y": [" ", "o"]}})
    with pytest.raises(TypeError, match=r"s\.json, user 'ROMEO': x must become numbers .* texts"):
        jc.data.from_leaf(tmp_path)
    codes = lambda texts: np.array([[ord(c) for c in text] for text in texts])  # noqa: E731
    data = jc.data.from_leaf(tmp_path, encode_x=codes, encode_y=codes)
    assert data.examples.x.shape == (2, 5) and data.examples.y.tolist() == [[32], [111]]


@pytest.mark.parametrize(
    "users, message",
    [
        ({"u": {"x": [], "y": []}}, "user 'u': x must have at least one example, got none"),
        ({"u": {"x": [[1, 0], [2, 0]], "y": [0]}}, "x and y must have one length, got 2 and 1"),
        ({"u": {"x": [[1]], "y": [1e999]}}, "user 'u': y must be finite"),
        (
            {"u": {"x": [[1]], "y": [0]}, "f1": {"x": [[1, 1]], "y": [1]}},
            "must have examples of the shapes",
        ),
        (
            {"u": {"x": [[1]], "y": [0]}},
            r"must have examples of the shapes \(\(2,\), \(\)\) of 'f2', got \(\(1,\)",
        ),
        ({"u": {"x": [[1]]}}, "must have 'users' and 'user_data' with x and y"),
        ({"f1": {"x": [[1, 2]], "y": [0]}}, "user 'f1': a user must be in one file"),
    ],
)
def test_files_that_do_not_fit(folder, users, message):
    content = {"users": list(users), "user_data": users}
    (folder / "c.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        jc.data.from_leaf(folder)


def test_folders_and_files_that_cannot_be_read(folder, tmp_path):
    with pytest.raises(ValueError, match=r"clients must be in the files, got \['g'\]"):
        jc.data.from_leaf(folder, clients=["f1", "g"])
    os.makedirs(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="paths must have JSON files"):
        jc.data.from_leaf(tmp_path / "empty")
    (folder / "b.json").write_text('{"users": [\n')
    with pytest.raises(ValueError, match=r"line 2 of .*b\.json must be JSON"):
        jc.data.from_leaf(folder)
    (folder / "a.json.gz").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"path must be a whole \.gz file"):
        jc.data.from_leaf(folder)
    with pytest.raises(TypeError, match="encode_x must be a function, got int"):
        jc.data.from_leaf(folder, encode_x=3)
