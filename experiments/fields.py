"""Configurations whose fields have ranges: the type of a field has its bounds.

::

    class Config(Settings):
        \"\"\"Which methods are compared, on which data.\"\"\"

        n: Count = 16  # clients
        rates: tuple[Positive, ...] = (0.1, 0.3)
        methods: tuple[Annotated[str, Bound(among=METHODS)], ...] = ("FedAvg",)
        network: Literal["cnn", "mlp"] = "mlp"
        rounds: tuple[Count, Count] = (100, 200)
"""

import dataclasses
import operator
import pathlib
import typing
from collections.abc import Collection, Iterator
from math import isfinite
from typing import Annotated, Any, Literal

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Bound:
    """What a value, or every entry of a tuple, must be.

    Attributes:
        at_least: smallest value; of this and the next three, a text is the name of another field.
        above: values must be larger.
        at_most: largest value.
        below: values must be smaller.
        among: all values that are allowed; empty for any.
        empty: whether a tuple may have no entries.
        containing: an entry that a tuple must have.
        multiple_of: a number, or the name of a field, that divides the value.
    """

    at_least: float | str | None = None
    above: float | str | None = None
    at_most: float | str | None = None
    below: float | str | None = None
    among: Collection[Any] = ()
    empty: bool = False
    containing: Any = None
    multiple_of: int | str | None = None

    def check(self, name: str, value: Any) -> None:
        """ValueError with the field, its value and what is allowed; None is allowed."""
        ends = (
            ("at least", self.at_least, operator.ge),
            ("above", self.above, operator.gt),
            ("at most", self.at_most, operator.le),
            ("below", self.below, operator.lt),
            ("a multiple of", self.multiple_of, lambda value, factor: value % factor == 0),
        )
        rules = {f"{words} {end:g}": (holds, end) for words, end, holds in ends if end is not None}
        if self.among:
            rules[f"among {', '.join(map(str, self.among))}"] = (_among, self.among)
        values = value if isinstance(value, tuple) else () if value is None else (value,)
        if value == () and not self.empty:
            raise ValueError(f"{name} must have at least one value, got none")
        if self.containing is not None and self.containing not in values:
            raise ValueError(f"{name} must contain {self.containing}, got {value!r}")
        if not all(holds(one, end) for one in values for holds, end in rules.values()):
            raise ValueError(f"{name} must be {' and '.join(rules)}, got {value!r}")
        if any(isinstance(one, float) and not isfinite(one) for one in values):
            raise ValueError(f"{name} must be finite, got {value!r}")


ENDS = ("at_least", "above", "at_most", "below", "multiple_of")
Count = Annotated[int, Bound(at_least=1)]
Natural = Annotated[int, Bound(at_least=0)]
Positive = Annotated[float, Bound(above=0)]
NonNegative = Annotated[float, Bound(at_least=0)]
BelowOne = Annotated[float, Bound(at_least=0, below=1)]
Share = Annotated[float, Bound(above=0, at_most=1)]
Fraction = Annotated[float, Bound(above=0, below=1)]
Probability = Annotated[float, Bound(at_least=0, at_most=1)]
Plural = Annotated[int, Bound(at_least=2)]
EMPTY = Bound(empty=True)


@typing.dataclass_transform(frozen_default=True)
class Settings:
    """A configuration. Subclasses are frozen dataclasses, whose fields are checked by their types.

    A tuple has at least one entry, unless its type has :data:`EMPTY` or its default is empty; one
    whose type has no dots has as many entries as that.
    """

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(frozen=True)(cls)

    def __post_init__(self) -> None:
        kinds = typing.get_type_hints(type(self), include_extras=True)
        for field in dataclasses.fields(self):
            name, value, kind = field.name, getattr(self, field.name), kinds[field.name]
            rules = [*_bounds(kind)]
            known = {"empty": field.default == () or any(rule.empty for rule in rules)}
            for rule in rules or [Bound()]:
                others = {end: getattr(rule, end) for end in ENDS}
                others = {end: getattr(self, v) for end, v in others.items() if isinstance(v, str)}
                dataclasses.replace(rule, **known | others).check(name, value)
            sizes = typing.get_args(kind) if typing.get_origin(kind) is tuple else (...,)
            if ... not in sizes and len(value) != len(sizes):
                raise ValueError(f"{name} must be {len(sizes)} values, got {value!r}")
        self._check()

    def _check(self) -> None:
        """ValueError for fields that do not fit together; for subclasses with such fields."""

    @property
    def seeds(self) -> np.ndarray:
        """Of the repetitions, ``[S]``: ``num_seeds`` of them from ``seed`` on."""
        return self.seed + np.arange(self.num_seeds)


class Options(Settings):
    """How to run, whatever the experiment.

    Attributes:
        out: folder for results; runs/PAPER/PRESET by default.
        smoke: a trial of the machinery that ends in seconds; computes no claims.
        resume: folder of a run that was killed or interrupted, to go on with; a run whose --out
            holds one goes on as well.
        fresh: starts anew whatever --out holds.
        on_divergence: whether a run that is not finite any more ends, with the round, or goes on.
        tensorboard: also writes event files into OUT/tensorboard.
    """

    out: pathlib.Path
    smoke: bool = False
    resume: pathlib.Path | None = None
    fresh: bool = False
    on_divergence: Literal["stop", "continue"] = "stop"
    tensorboard: bool = False


def _among(value: Any, allowed: Collection[Any]) -> bool:
    return value in allowed


def _bounds(kind: Any) -> Iterator[Bound]:
    """All bounds in a type; a Literal is one."""
    if isinstance(kind, Bound):
        yield kind
    elif typing.get_origin(kind) is typing.Literal:
        yield Bound(among=typing.get_args(kind))
    else:
        for part in typing.get_args(kind):
            yield from _bounds(part)
