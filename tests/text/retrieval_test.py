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


def test_a_margin_makes_hubs_count_less():
    rng = np.random.default_rng(1)
    queries, keys = rng.normal(size=(9, 4)), rng.normal(size=(12, 4))
    cosines = retrieval.unit(queries) @ retrieval.unit(keys).T
    scores = 2 * cosines - np.sort(cosines, 0)[-3:].mean(0)
    rows, best = retrieval.nearest(queries, keys, 2, margin=3)
    np.testing.assert_array_equal(rows, np.argsort(-scores, 1)[:, :2])
    np.testing.assert_allclose(best, np.take_along_axis(scores, rows, 1), rtol=1e-5)
    with pytest.raises(ValueError, match=r"margin must be in 0..Q=9, got 10"):
        retrieval.nearest(queries, keys, margin=10)


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
