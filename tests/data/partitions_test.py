import time

import numpy as np
import pytest

from jcollab import data as jd

LABELS = jd.digits("train").y


@pytest.mark.parametrize(
    "parts",
    [
        jd.iid(len(LABELS), 16),
        jd.by_label(LABELS, 16),
        jd.by_label(LABELS, 16, shards_per_client=2),
        jd.by_size(len(LABELS), [1, 2, 3, 10]),
        jd.dirichlet(LABELS, 16, 0.01),
        jd.dirichlet(LABELS, 16, 1.0),
        jd.dirichlet(LABELS, 3, 100.0),
    ],
)
def test_partitions_deal_every_example_once(parts):
    assert sorted(np.concatenate(parts)) == list(range(len(LABELS)))
    assert min(map(len, parts)) > 0


def test_dirichlet_goes_from_one_label_to_all():
    def labels_of(alpha):
        parts = jd.dirichlet(LABELS, 16, alpha)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        shares = [np.bincount(LABELS[p], minlength=10) / len(p) for p in parts]
        return 1 / np.mean([np.sum(s**2) for s in shares])  # effective number of labels

    assert labels_of(0.01) < 2 < labels_of(0.3) < 6 < labels_of(100.0)
    again = [jd.dirichlet(LABELS, 16, 0.1, seed=5) for _ in range(2)]
    assert all((a == b).all() for a, b in zip(*again, strict=True))


def test_by_size_and_by_label_sizes():
    assert list(map(len, jd.by_size(100, [1, 1, 2]))) == [25, 25, 50]
    one_label = jd.by_label(np.repeat(np.arange(4), 5), 4)
    assert [set(p) for p in one_label] == [set(range(5 * i, 5 * i + 5)) for i in range(4)]


def test_wrong_partitions_are_named():
    with pytest.raises(ValueError, match="alpha must be finite and positive, got 0"):
        jd.dirichlet(LABELS, 4, 0)
    with pytest.raises(ValueError, match="alpha must be finite and positive, got nan"):
        jd.dirichlet(LABELS, 4, float("nan"))
    with pytest.raises(ValueError, match="at least the number of parts, 5, got 3"):
        jd.iid(3, 5)
    with pytest.raises(ValueError, match="at least one example, got none for client 0"):
        jd.by_size(10, [1e-6, 1])
    with pytest.raises(ValueError, match="fractions must be positive numbers"):
        jd.by_size(10, [0, 1])
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        jd.dirichlet(LABELS, 0, 1.0)
    with pytest.raises(TypeError, match="labels must be integers, got float64"):
        jd.dirichlet(LABELS / 2, 4, 1.0)
    with pytest.raises(TypeError, match="labels must be integers, got <U1"):
        jd.by_label(["a", "b"], 2)
    with pytest.raises(ValueError, match=r"labels must have shape \[N\], got \[1437, 1\]"):
        jd.by_label(LABELS[:, None], 2)
    with pytest.raises(ValueError, match="labels must be at least 0"):
        jd.by_label(LABELS - 1, 2)
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'valid'"):
        jd.load("digits", "valid")


def test_a_partition_that_cannot_be_drawn_is_refused_at_once():
    start = time.process_time()
    with pytest.raises(ValueError, match="no draw in 10000 gave each of 10 clients half the mean"):
        jd.dirichlet(np.arange(1000) % 2, 10, 0.1)
    assert time.process_time() - start < 1
