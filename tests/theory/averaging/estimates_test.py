import numpy as np

from jcollab.theory import averaging
from tests.theory.averaging.cases import close

rng = np.random.default_rng(0)


def test_estimates():
    samples = rng.normal(2.0, 3.0, size=(5, 8))
    close(averaging.variance_of_mean(samples), samples.var(1, ddof=1) / 8)
    mask = np.arange(8) < np.array([2, 8, 3, 5, 4])[:, None]
    expected = [row[keep].var(ddof=1) / keep.sum() for row, keep in zip(samples, mask, strict=True)]
    close(averaging.variance_of_mean(samples, mask), expected)
    # unbiased: ddof of 1 and not 0
    means = averaging.variance_of_mean(rng.normal(size=(200_000, 3))).mean()
    close(means, 1 / 3, atol=5e-3)
    counts = np.array([2.0, 8, 3, 5, 4])
    expected = [np.average(np.delete(samples, i, 0), 0, np.delete(counts, i)) for i in range(5)]
    close(averaging.others_mean(samples, counts), expected)
    close(averaging.others_mean({"a": samples})["a"][0], samples[1:].mean(0))
    v = rng.exponential(size=5)
    expected = [
        np.sum(np.delete(counts**2 * v, i)) / np.delete(counts, i).sum() ** 2 for i in range(5)
    ]
    close(averaging.others_variance(v, counts), expected)
    close(averaging.others_variance(np.full(5, 2.0)), 0.5)
    close(averaging.squared_distance({"a": np.ones(3), "b": 2.0}, {"a": np.zeros(3), "b": 0.0}), 7)
