"""What the experiments on optimal averaging are made of."""

import numpy as np
import pytest

import jcollab as jc
from experiments.optimal_averaging import models, multi_node, parabola, plug_in, population
from jcollab.theory import averaging


def test_groups_see_labels_of_their_own():
    config = models.Config(n=6, minority=2, examples=300, imbalance=4.0)
    train, test = jc.data.load("digits"), jc.data.load("digits", "test")
    groups = models.make_groups(config, train, test, 3, seed=1)
    assert groups.minority.sum() == 2 and groups.sizes.sum() == 300
    assert 3 <= groups.sizes.max() / groups.sizes.min() <= 5
    first, second = groups.labels
    np.testing.assert_array_equal(first, test.y)
    assert len(np.unique(first[first != second])) == 3
    # an example's label is the one that its holder's group gives it
    names = dict(zip(first, second, strict=True))
    rows = {image.tobytes(): label for image, label in zip(train.x, train.y, strict=True)}
    for part, other in zip(groups.parts, groups.minority, strict=True):
        for i in part:
            true = rows[groups.train.x[i].tobytes()]
            assert groups.train.y[i] == (names[true] if other else true)
    again = models.make_groups(config, train, test, 3, seed=1)
    np.testing.assert_array_equal(again.train.y, groups.train.y)
    with pytest.raises(ValueError, match="examples must give each client at least 2, got 1 from 6"):
        small = models.Config(n=6, minority=2, examples=6, imbalance=1.0)
        models.make_groups(small, train, test, 3, seed=1)


def test_draws_have_the_moments_of_the_theory():
    config = parabola.Config(repetitions=50_000)
    own, others = parabola.draw(config)
    np.testing.assert_array_equal(own, parabola.draw(config)[0])
    assert abs(own.mean()) < 0.01 and abs(others.mean()) < 0.01
    np.testing.assert_allclose(own.var(), 1 / 10, rtol=0.05)
    np.testing.assert_allclose(others.var(), 1 / 90, rtol=0.05)


def test_the_band_is_where_all_rules_lose():
    rows = [
        {"global_variance": 0.1, "bias": float(i)} | dict.fromkeys(averaging.RULES, value)
        for i, value in enumerate((0.5, 1.2, 1.1))
    ]
    rows[2]["naive"] = 0.9
    assert plug_in.losing(rows, 0.1).tolist() == [1.0]
    assert plug_in.losing(rows, 0.5).size == 0


def test_methods_of_many_nodes_are_averages():
    config = multi_node.Config()
    for biases in multi_node.patterns(config).values():
        assert biases[0] == 0 and sorted(abs(biases[1:])) == sorted(config.biases)
        for weights in multi_node.all_weights(np.array(config.variances), biases).values():
            np.testing.assert_allclose(weights.sum(), 1)


def test_bad_configurations_are_named():
    for kind, message, fields in (
        (parabola.Config, "repetitions must be at least 1, got 0", {"repetitions": 0}),
        (parabola.Config, "biases must have at least one value", {"biases": ()}),
        (plug_in.Config, "num_biases must be at least 2, got 1", {"num_biases": 1}),
        (plug_in.Config, "global_variances must be at least 0", {"global_variances": (-1.0,)}),
        (population.Config, "n must be at least 2, got 1", {"n": 1}),
        (population.Config, "spreads must be at least 0", {"spreads": (-0.1,)}),
        (multi_node.Config, "biases must be those of the 3 others", {"biases": (0.1,)}),
        (
            multi_node.Config,
            "variances must be at least 1e-06",
            {"variances": (0.1, 0.1, 0.1, 0)},
        ),
        (models.Config, "minority must be at least 1 and below 20, got 20", {"minority": 20}),
        (models.Config, "shifted must not be 1", {"shifted": (1,)}),
        (models.Config, "trained must be among FedAvg", {"trained": ("SCAFFOLD",)}),
        (models.Config, "learning_rate must be above 0", {"learning_rate": 0.0}),
    ):
        with pytest.raises(ValueError, match=message):
            kind(**fields)
