import json

import jax
import numpy as np

from jcollab import text
from tests import REFERENCE

RECORDED = json.loads((REFERENCE / "x2static" / "loss_small.json").read_text())


def test_drop_probability_equals_the_recorded_one():
    expected = RECORDED["rejection"]
    drop = text.drop_probability(np.array(expected["counts"]), expected["t"])
    np.testing.assert_allclose(drop, expected["prob"], atol=1e-9)
    twice = text.drop_probability(2 * np.array(expected["counts"]), expected["t"])
    np.testing.assert_allclose(twice, drop, atol=1e-12)
    assert (np.diff(drop) <= 0).all() and (drop >= 0).all() and (drop < 1).all()


def test_vocabulary_counts_and_draws():
    texts = [["b", "a", "b", "c"], ["c", "b", "d"]]
    vocabulary = text.build_vocabulary(texts, min_count=1, max_size=3)
    assert vocabulary.words == ("b", "c", "a") and vocabulary.counts.tolist() == [3, 2, 1]
    assert vocabulary.index(["d", "a", "b"]).tolist() == [-1, 2, 0]
    shares = text.negative_shares(np.array([9, 4, 1]))
    np.testing.assert_allclose(shares, [3 / 6, 2 / 6, 1 / 6])
    drawn = np.asarray(text.draw(text.alias(shares), jax.random.key(0), (20_000,)))
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), shares, atol=0.015)
