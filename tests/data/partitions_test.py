import itertools
import time

import numpy as np
import pytest

import jcollab as jc
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
        jd.stratified(LABELS, 16),
        jd.dirichlet_sizes(len(LABELS), 16, 0.1),
        jd.by_time(np.random.default_rng(0).uniform(size=len(LABELS)), 16),
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


def test_stratified_parts_have_the_proportions_of_the_whole():
    parts = jd.stratified(LABELS, 7, seed=3)
    counts = np.stack([np.bincount(LABELS[part], minlength=10) for part in parts])
    assert np.ptp(counts, 0).max() <= 1 and np.ptp(counts.sum(1)) <= 1
    other = jd.stratified(LABELS, 7, seed=4)
    assert any((a != b).any() for a, b in zip(parts, other, strict=True))


def test_sizes_are_those_of_a_dirichlet_draw():
    sizes = np.array(
        [[len(p) for p in jd.dirichlet_sizes(1000, 5, 0.7, seed=s)] for s in range(400)]
    )
    assert (sizes.sum(1) == 1000).all() and sizes.min() >= 1
    # a coordinate of Dirichlet(a, ..., a) has mean 1/n and variance (n - 1) / (n^2 (n a + 1))
    share = (sizes - 1) / 995
    np.testing.assert_allclose(share.mean(0), 0.2, atol=0.03)
    np.testing.assert_allclose(share.var(), 4 / 25 / 4.5, rtol=0.1)
    least = [len(p) for p in jd.dirichlet_sizes(100, 5, 0.01, min_size=10)]
    assert min(least) == 10 and max(least) == 60


def test_blocks_of_time_are_consecutive():
    times = np.array(["2026-03-01", "2026-01-01", "2026-02-01", "2026-01-01"], "datetime64[D]")
    assert [p.tolist() for p in jd.by_time(times, 2)] == [[1, 3], [2, 0]]
    values = np.random.default_rng(0).integers(0, 50, 200)
    parts = jd.by_time(values, 9)
    assert all(values[a].max() <= values[b].min() for a, b in itertools.pairwise(parts))
    for wrong, error, message in (
        ([1.0, np.nan], ValueError, "times must be known, got nan at index 1"),
        (np.array(["NaT", "2026-01-01"], "datetime64[D]"), ValueError, "known, got NaT at index 0"),
        (["a", "b"], TypeError, "times must be numbers or datetime64, got <U1"),
        ([[1.0, 2.0]], ValueError, r"times must have shape \[N\], got \[1, 2\]"),
        ([1.0], ValueError, "at least the number of parts, 2, got 1"),
    ):
        with pytest.raises(error, match=message):
            jd.by_time(wrong, 2)


def test_heterogeneity_is_measured_as_it_is_defined():
    labels = np.array([0, 0, 1, 1, 2, 2])
    single = jd.heterogeneity([[0, 1], [2, 3], [4, 5]], labels)
    assert single == {
        "label_entropy": 0.0,
        "total_variation": pytest.approx(2 / 3),
        "size_variation": 0.0,
    }
    mixed = jd.heterogeneity([[0, 2, 4], [1]], labels)
    p = np.array([2, 1, 1]) / 4  # of the examples that clients have
    distances = [abs(np.ones(3) / 3 - p).sum() / 2, abs(np.eye(3)[0] - p).sum() / 2]
    assert mixed["label_entropy"] == pytest.approx(np.log(3) / 2)
    assert mixed["total_variation"] == pytest.approx(np.mean(distances))
    assert mixed["size_variation"] == pytest.approx(0.5)
    # closest to the whole: stratified, then iid, then Dirichlet parts by their concentration
    kinds = [jd.stratified(LABELS, 10), jd.iid(len(LABELS), 10)]
    kinds += [jd.dirichlet(LABELS, 10, alpha) for alpha in (10.0, 1.0, 0.1, 0.01)]
    measured = [jd.heterogeneity(parts, LABELS) for parts in kinds]
    distances = [m["total_variation"] for m in measured]
    assert distances == sorted(distances) and distances[0] < 0.02 and distances[-1] > 0.75
    entropies = [m["label_entropy"] for m in measured]
    assert entropies == sorted(entropies, reverse=True)
    for parts, message in (
        ([], "parts must have at least one client, got none"),
        ([[0], []], r"parts\[1\] must have at least one example, got none"),
        ([[6]], r"parts\[0\] must be"),
    ):
        with pytest.raises(ValueError, match=message):
            jd.heterogeneity(parts, labels)
        with pytest.raises(ValueError, match=message):
            jc.plots.partition(parts, labels)


def test_a_partition_is_drawn_as_circles(tmp_path):
    kinds = {"one": jd.iid(len(LABELS), 10), "two": jd.dirichlet(LABELS, 10, 0.1)}
    figure = jc.plots.partition(kinds, LABELS)
    jc.plots.save(figure, tmp_path / "parts.png")
    assert [ax.get_title() for ax in figure.axes] == ["one", "two"]
    for ax, parts in zip(figure.axes, kinds.values(), strict=True):
        offsets = ax.collections[0].get_offsets()
        have = {(i, label) for i, part in enumerate(parts) for label in LABELS[part]}
        assert {tuple(map(int, place)) for place in offsets} == have
