import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jcollab as jc
from jcollab.training import sweeps

GRID = {"lr": [0.1, 0.2, 0.4], "steps": [1, 2]}


def result(settings, key):
    noise = jax.random.normal(key)
    return {
        "validation": -((settings["lr"] - 0.2) ** 2) + 1e-3 * noise,
        "curve": settings["lr"] * jnp.arange(3) + settings["steps"],
    }


def scalar(settings, key):
    return {"validation": result(settings, key)["validation"]}


def test_a_row_for_each_run_equal_to_the_run_alone():
    table = jc.sweep(scalar, GRID, [3, 5])
    assert list(table.columns) == ["lr", "steps", "seed", "validation"] and len(table) == 12
    assert table.lr.tolist() == np.repeat([0.1, 0.2, 0.4], 4).tolist()
    assert table.steps.tolist() == [1, 1, 2, 2] * 3 and table.seed.tolist() == [3, 5] * 6
    for row in table.itertuples():
        settings = {"lr": jnp.float32(row.lr), "steps": jnp.int32(row.steps)}
        alone = scalar(settings, jax.random.key(row.seed))["validation"]
        assert row.validation == pytest.approx(float(alone), abs=1e-6)
    for chunk in (1, 5):
        again = jc.sweep(scalar, GRID, [3, 5], chunk=chunk)
        np.testing.assert_allclose(again.validation, table.validation, atol=1e-7)


def test_curves_have_a_row_for_each_step():
    table = jc.sweep(result, GRID, 1)
    assert len(table) == 18 and table.step.tolist() == [0, 1, 2] * 6
    np.testing.assert_allclose(table.curve, table.lr * table.step + table.steps, rtol=1e-6)
    assert table.validation[:3].nunique() == 1


def test_means_over_seeds_and_the_best_point():
    table = jc.sweep(scalar, GRID, 4)
    means = sweeps.summarize(table, ["lr", "steps"])
    first = table[(table.lr == table.lr[0]) & (table.steps == 1)].validation
    assert means.validation_mean[0] == pytest.approx(first.mean())
    assert means.validation_std[0] == pytest.approx(first.std())
    assert sweeps.best(table, ["lr"], "validation")["lr"] == pytest.approx(0.2)
    assert sweeps.best(table, ["lr"], "validation", maximize=False)["lr"] == pytest.approx(0.4)
    table.loc[(table.lr == 0.2) & (table.seed == 1), "validation"] = np.nan
    assert sweeps.best(table, ["lr"], "validation")["lr"] == pytest.approx(0.1)
    with pytest.raises(ValueError, match="must be measured on validation data"):
        sweeps.best(table.rename(columns={"validation": "test_accuracy"}), ["lr"], "test_accuracy")
    with pytest.raises(ValueError, match="metric must be one of lr.*got 'x'"):
        sweeps.best(table, ["lr"], "x")
    with pytest.raises(ValueError, match="must be finite for all seeds at some point"):
        sweeps.best(table.assign(validation=np.inf), ["lr"], "validation")


def test_a_sweep_over_whole_runs():
    data = jnp.arange(20.0).reshape(5, 4, 1) / 20

    def final(settings, key):
        algorithm = jc.decentralized(
            lambda p, b, k: jnp.mean((p - b) ** 2),
            optax.sgd(settings["lr"]),
            jc.gossip(jc.topology.ring(4)),
        )
        _, log = jc.run(algorithm, algorithm.init(jnp.zeros((4, 1))), jc.data.stacked(data), key)
        return {"loss": log["loss"][-1]}

    table = jc.sweep(final, {"lr": [0.1, 0.3]}, 2)
    assert len(table) == 4
    for lr, rows in table.groupby("lr"):
        alone = final({"lr": jnp.float32(lr)}, jax.random.key(0))["loss"]
        np.testing.assert_allclose(rows.loss, alone, rtol=1e-5)


def test_bad_input_is_named():
    for grid, message in (
        ({}, "grid must have at least one name"),
        ({"lr": []}, r"grid\['lr'\] must be a list of numbers"),
        ({"lr": ["a"]}, "must be a list of numbers"),
        ({"lr": [np.nan]}, "must be finite"),
        ({"seed": [1]}, "must not contain 'seed'"),
    ):
        with pytest.raises(ValueError, match=message):
            jc.sweep(scalar, grid, 2)
    for seeds in (0, [], [0.5], 2.5, [-1], [1, 2**32 + 1], [1, 1]):
        with pytest.raises((ValueError, TypeError), match="seeds must be"):
            jc.sweep(scalar, GRID, seeds)
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        jc.sweep(scalar, GRID, 2, chunk=0)
    with pytest.raises(TypeError, match="fn must be a function, got int"):
        jc.sweep(3, GRID, 2)
    with pytest.raises(TypeError, match="fn must return a dict of results"):
        jc.sweep(lambda s, k: s["lr"], GRID, 2)
    with pytest.raises(ValueError, match=r"arrays \[T\] of one length"):
        jc.sweep(lambda s, k: {"x": jnp.zeros((2, 2))}, GRID, 2)
