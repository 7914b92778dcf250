"""What experiments share: claims, checks of fields, tables of rows, loops that can be stopped."""

import dataclasses
import json
import threading
from typing import Annotated, Literal

import numpy as np
import pytest
from rich.progress import Progress

import jcollab as jc
from experiments import contract, drawing
from experiments.contract import Claim, Context
from experiments.fields import EMPTY, Bound, Count, Positive, Settings


@pytest.mark.parametrize(
    ("make", "bounds", "low", "edge", "high", "expected"),
    [
        (contract.at_least, (2.0,), False, True, True, ">= 2 (paper 3)"),
        (contract.above, (2.0,), False, False, True, "> 2 (paper 3)"),
        (contract.at_most, (2.0,), True, True, False, "<= 2 (paper 3)"),
        (contract.below, (2.0,), True, False, False, "< 2 (paper 3)"),
        (contract.between, (2.0, 2.5), False, True, False, "2 to 2.5 (paper 3)"),
    ],
)
def test_claims_of_numbers(make, bounds, low, edge, high, expected):
    for value, holds in ((1.9, low), (2.0, edge), (2.6, high), (np.nan, False)):
        claim = make("it is so", np.float32(value), *bounds, note="paper 3")
        assert claim.holds is holds and claim.expected == expected
        assert type(claim.measured) is float
    assert "(" not in make("it is so", 1.0, *bounds).expected


def test_claims_of_relative_deviations():
    assert contract.within("c", -0.004, 0.01) == Claim("c", "within 1%", "-0.40%", True)
    far = contract.within("c", 0.02, 0.01, 21.9, note="of 21.5")
    assert far == Claim("c", "within 1% (of 21.5)", 21.9, False)


ROWS = [
    {"method": "a", "rate": 0.1, "seed": 0, "accuracy": 0.5, "note": "x"},
    {"method": "a", "rate": 0.1, "seed": 1, "accuracy": 0.7, "note": "y"},
    {"method": "b", "rate": 0.1, "seed": 0, "accuracy": 0.9, "note": "z"},
    {"method": "b", "rate": 0.1, "seed": 1, "accuracy": None, "note": "z"},
]


def test_means_over_seeds():
    first, second = contract.averages(ROWS, "method")
    assert first == {"method": "a", "rate": pytest.approx(0.1), "accuracy": pytest.approx(0.6)}
    assert second["accuracy"] is None and "note" not in second
    (line,) = contract.averages(ROWS[:2], "method", std="accuracy")
    assert line["std"] == pytest.approx(0.1)


def test_rows_become_columns_and_wide_tables():
    rates, seeds = contract.columns(ROWS, "rate seed")
    assert rates.tolist() == [0.1] * 4 and seeds.tolist() == [0, 1, 0, 1]
    assert contract.pivot(ROWS, "method", "seed", "accuracy") == [
        {"method": "a", "seed 0": 0.5, "seed 1": 0.7},
        {"method": "b", "seed 0": 0.9, "seed 1": None},
    ]
    assert contract.pivot(ROWS[:3], "seed", "method", "note")[0] == {"seed": 0, "a": "x", "b": "z"}


def test_choices_are_checked_from_their_types():
    class Config(Settings):
        one: Literal["a", "b"] = "a"
        several: tuple[Literal["a", "b"], ...] = ("a",)
        other: int = 3

    assert Config() == Config("a", ("a",), 3)
    with pytest.raises(ValueError, match="one must be among a, b, got 'c'"):
        Config(one="c")
    with pytest.raises(ValueError, match=r"several must be among a, b, got \('a', 'c'\)"):
        Config(several=("a", "c"))


def test_bounds_are_checked_from_types():
    class Base(Settings):
        n: Count | None = 3
        rates: tuple[Positive, Positive] = (0.5, 1.0)
        num_seeds: Count = 2
        seed: int = 4

    class Config(Base):
        sampled: Annotated[int, Bound(at_most="n")] = 3
        delays: Annotated[tuple[int, ...], Bound(containing=0)] = (0, 1)
        optional: Annotated[tuple[int, ...], EMPTY] = (1,)
        nothing: tuple[int, ...] = ()

    assert Config(sampled=2, delays=(0,), optional=()).seeds.tolist() == [4, 5]
    assert Base(n=None).n is None
    for fields, message in (
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"rates": (0.5, 0.0)}, r"rates must be above 0, got \(0.5, 0.0\)"),
        ({"rates": (0.5,)}, r"rates must be 2 values, got \(0.5,\)"),
        ({"sampled": 4}, "sampled must be at most 3, got 4"),
        ({"delays": ()}, "delays must have at least one value, got none"),
        ({"delays": (1,)}, r"delays must contain 0, got \(1,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            Config(**fields)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().n = 4


def test_a_graph_is_kept_for_the_report(tmp_path):
    context = Context(tmp_path, None, smoke=True)
    context.graph("chain", jc.topology.chain(3))
    context.graph("placed", jc.topology.ring(3), [[0, 0], [1, 0], [0, 1.23456]])
    graphs = json.loads((tmp_path / "graphs.json").read_text())
    assert graphs["chain"]["edges"] == [[0, 1], [1, 2]]
    assert np.shape(graphs["chain"]["positions"]) == (3, 2)
    assert graphs["placed"]["positions"][2] == [0, 1.2346]


def test_cases_have_a_bar(tmp_path):
    with Progress(disable=True) as progress:
        context = Context(tmp_path, progress, smoke=True)
        assert list(context.cases("ab", description="letters")) == ["a", "b"]
        (task,) = progress.tasks
        assert (task.description, task.completed, task.total) == ("letters", 2, 2)


def test_curves_are_drawn_in_panels():
    curve = {"round": np.arange(3), "loss": np.array([[3.0, 2.0, 1.0], [3.0, 1.0, 1.0]])}
    figure = drawing.draw_curves({"left": {"a": curve, "b": curve}, "right": {"a": curve}}, "loss")
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("left", "right")
    assert [len(left.lines), len(right.lines)] == [2, 1]
    np.testing.assert_array_equal(left.lines[0].get_ydata(), [3.0, 1.5, 1.0])


def test_cases_end_when_the_run_is_stopped(tmp_path):
    context = Context(tmp_path, None, smoke=True, stop=threading.Event())
    seen = []
    for case in context.cases("ab", (1, 2)):
        seen.append(case)
        if case == ("a", 2):
            context.stop.set()
    assert seen == [("a", 1), ("a", 2)] and list(context.cases("ab")) == []


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (0, {"at_least": 1}, "x must be at least 1, got 0"),
        (float("nan"), {"above": 0}, "x must be above 0, got nan"),
        ((0.5, 1.0), {"at_least": 0, "below": 1}, r"x must be at least 0 and below 1, got \(0.5"),
        (2, {"at_most": 1}, "x must be at most 1, got 2"),
        ("c", {"among": ("a", "b")}, "x must be among a, b, got 'c'"),
        ((), {"at_least": 1}, "x must have at least one value, got none"),
        (3, {"multiple_of": 2}, "x must be a multiple of 2, got 3"),
    ],
)
def test_fields_out_of_range_are_refused(value, bounds, message):
    with pytest.raises(ValueError, match=message):
        Bound(**bounds).check("x", value)


def test_fields_in_range_pass():
    Bound(at_least=1).check("n", 1)
    Bound(at_least=1).check("none", None)
    Bound(above=0, at_most=1).check("rates", (0.1, 1.0))
    Bound(at_least=1, empty=True).check("empty", ())
    Bound(multiple_of=2).check("even", 4)
