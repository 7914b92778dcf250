import numpy as np
import pytest

from jcollab.text import retrieval


def test_nearest_equals_sorting_all_cosines(monkeypatch):
    rng = np.random.default_rng(0)
    queries, keys = rng.normal(size=(7, 5)), rng.normal(size=(40, 5))
    keys[3] = keys[30]
    cosines = retrieval.unit(queries) @ retrieval.unit(keys).T
    for chunk in (1 << 24, 70):
        monkeypatch.setattr(retrieval, "CHUNK", chunk)
        for k in (1, 4, 40):
            rows, best = retrieval.nearest(queries, keys, k)
            np.testing.assert_array_equal(rows, np.argsort(-cosines, 1, kind="stable")[:, :k])
            np.testing.assert_allclose(best, np.take_along_axis(cosines, rows, 1), rtol=1e-6)


@pytest.mark.parametrize("margin", ["absolute", "distance", "ratio"])
def test_margins_equal_a_loop_over_neighbors(margin, monkeypatch):
    rng = np.random.default_rng(1)
    queries, keys = 1 + rng.normal(size=(9, 4)), 1 + rng.normal(size=(12, 4))
    cosine = lambda a, b: a @ b / np.sqrt((a @ a) * (b @ b))  # noqa: E731
    scores = np.zeros((9, 12))
    for i, x in enumerate(queries):
        for j, y in enumerate(keys):  # equations 1 to 4 of arXiv 1811.01136
            near_x = sorted(cosine(x, z) for z in keys)[-3:]
            near_y = sorted(cosine(y, z) for z in queries)[-3:]
            a, b = cosine(x, y), sum(near_x) / 6 + sum(near_y) / 6
            scores[i, j] = {"absolute": a, "distance": a - b, "ratio": a / b}[margin]
    for chunk in (1 << 24, 30):
        monkeypatch.setattr(retrieval, "CHUNK", chunk)
        rows, best = retrieval.nearest(queries, keys, 2, margin=margin, neighbors=3)
        np.testing.assert_array_equal(rows, np.argsort(-scores, 1)[:, :2])
        np.testing.assert_allclose(best, -np.sort(-scores, 1)[:, :2], rtol=1e-5, atol=1e-6)


def test_a_margin_takes_translations_from_hubs():
    """Key 2 lies near every query; with a margin it is no answer."""
    queries = np.array([[1, 0.5], [0.5, 1]])
    keys = np.array([[1, 0], [0, 1], [1, 1]])

    class Encoder:
        def encode(self, texts):
            return np.stack([dict(zip("abxyz", [*queries, *keys], strict=True))[t] for t in texts])

    find = retrieval.among_many
    assert find(Encoder(), ["a", "b"], ["x", "y"], ["z"]) == (0, 3)
    for margin in ("distance", "ratio"):
        assert find(Encoder(), ["a", "b"], ["x", "y"], ["z"], margin=margin, neighbors=2) == (1, 3)
        there, back = retrieval.retrieval(
            Encoder(), ["a", "b"], ["x", "y"], margin=margin, neighbors=2
        )
        assert there == back == 1


def test_margins_that_do_not_fit_are_named():
    x = np.eye(3)
    with pytest.raises(ValueError, match=r"neighbors must be in 1..2, got 3"):
        retrieval.nearest(x, x[:2], margin="ratio", neighbors=3)
    with pytest.raises(ValueError, match="margin must be one of absolute, distance, ratio, got 4"):
        retrieval.nearest(x, x, margin=4)
    with pytest.raises(ValueError, match='margin must be "distance" .* got "ratio"'):
        retrieval.nearest(x, -x, margin="ratio", neighbors=3)


def test_equal_sentences_are_equally_right():
    eye = np.eye(3)
    keys = np.stack([eye[0], eye[0], eye[1]])
    assert retrieval.precision_at_1(eye[[0, 0, 1]], keys, ["a", "a", "b"], ["a", "a", "b"]) == 1
    precision = retrieval.precision_at_1(eye[[0, 0, 1]], keys, [0, 1, 2], [0, 1, 2])
    assert precision == pytest.approx(2 / 3)


def test_transfer_is_measured_on_other_languages():
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], [20, 15, 15])
    x = rng.normal(size=(50, 4)) * 0.1 + np.eye(4)[np.unique(y, return_inverse=True)[1]]
    tests = {"same": (x, y), "noise": (rng.normal(size=(50, 4)), y)}
    scores = retrieval.zero_shot(x, y, tests)
    assert scores["same"] == 1 and scores["noise"] < 0.7
    assert scores["majority"] == pytest.approx(0.4)
