"""What the experiments on optimal averaging are made of."""

import numpy as np
import pandas as pd
import pytest

import jcollab as jc
from experiments.optimal_averaging import (
    _natural,
    batters,
    james_stein,
    models,
    multi_node,
    parabola,
    plug_in,
    population,
    schools,
)
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


def test_known_and_held_out_pupils():
    every = schools.pupils(schools.Config(table="synthetic"))
    sizes = np.bincount(every.school)
    for most in (1, 5, 100):
        known, held_out = schools.split(every, most, np.random.default_rng(0))
        np.testing.assert_array_equal(np.bincount(known.school), np.minimum(most, sizes // 2))
        both = np.concatenate([known.score, held_out.score])
        np.testing.assert_array_equal(np.sort(both), np.sort(every.score))
    again = schools.split(every, 5, np.random.default_rng(0)).known
    other = schools.split(every, 5, np.random.default_rng(1)).known
    assert (again.score != other.score).any() and (again.school == other.school).all()
    # the slope of a regression with a constant for each school
    design = np.column_stack([every.school[:, None] == np.arange(12), every.covariate])
    slope = np.linalg.lstsq(design.astype(float), every.score, rcond=None)[0][-1]
    assert schools.within_slope(every) == pytest.approx(slope)


def test_the_mixed_model_shrinks_as_its_variances_say():
    """With equal sizes, BLUP is a plug-in weight for all, from variances by REML."""
    rng = np.random.default_rng(3)
    school = np.repeat(np.arange(40), 6)
    score = 5 + 0.8 * rng.normal(size=40)[school] + rng.normal(size=240)
    known = schools.Pupils(school, score, np.zeros(240))
    predicted = schools.blup(
        known, schools.Pupils(np.arange(40), np.zeros(40), np.zeros(40)), False
    )
    local, _ = schools.means(school, score)
    within = ((score - local[school]) ** 2).sum() / (240 - 40) / 6
    a = within / local.var(ddof=1)  # REML for balanced data is the analysis of variance
    np.testing.assert_allclose(predicted, a * local.mean() + (1 - a) * local, rtol=1e-3)
    # and close to the shared weights
    for name in _natural.SHARED:
        shared, _ = _natural.estimates(local, within)[name]
        np.testing.assert_allclose(shared, predicted, atol=0.03)


def test_tables_are_read_from_a_folder_or_named(tmp_path):
    with pytest.raises(ValueError, match=r"data must be a folder with mathachieve.csv.gz"):
        schools.pupils(schools.Config())
    with pytest.raises(ValueError, match=r"data must be a folder with efron_morris.csv.gz"):
        batters.batters(batters.Config(data=str(tmp_path)))
    table = {"School": ["b", "a", "b", "c"], "MathAch": [1.0, 2.0, 3.0, 4.0], "SES": 0.5}
    pd.DataFrame(table).to_csv(tmp_path / "mathachieve.csv.gz", index=False)
    read = schools.pupils(schools.Config(data=str(tmp_path)))
    # schools of a single pupil have nobody to hold out
    assert read.school.tolist() == [0, 0] and read.score.tolist() == [1.0, 3.0]


def test_intervals_cover_the_mean():
    config, rng = schools.Config(), np.random.default_rng(0)
    gains = rng.normal(1.0, 2.0, 400)
    draws = rng.integers(400, size=(4000, 400))
    mean, low, high = schools.interval(gains, draws, config)
    assert mean == pytest.approx(gains.mean())
    half = 1.96 * gains.std() / 20
    np.testing.assert_allclose([low, high], [mean - half, mean + half], atol=0.02)


def test_estimates_of_every_method_lie_between_a_client_and_the_others():
    local = np.random.default_rng(0).normal(size=9)
    others = averaging.others_mean(local)
    for name, (estimate, weight) in _natural.estimates(local, 0.5).items():
        np.testing.assert_allclose(estimate, local + weight * (others - local), atol=1e-5)
        assert (weight >= 0).all() and (weight <= 1).all()
        assert (name == "alone") == (not weight.any())


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
        (james_stein.Config, "dimensions must be at least 3", {"dimensions": (2, 3)}),
        (schools.Config, "pupils must be at least 1", {"pupils": (0,)}),
        (schools.Config, "table must be among", {"table": "x"}),
        (models.Config, "minority must be at least 1 and below 20, got 20", {"minority": 20}),
        (models.Config, "shifted must not be 1", {"shifted": (1,)}),
        (models.Config, "trained must be among FedAvg", {"trained": ("SCAFFOLD",)}),
        (models.Config, "learning_rate must be above 0", {"learning_rate": 0.0}),
    ):
        with pytest.raises(ValueError, match=message):
            kind(**fields)
