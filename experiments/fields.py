"""Configurations with checked fields: the annotation of a field contains its bounds.

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
    """Conditions on a value, or on every entry of a tuple. A string names another field.

    Attributes:
        at_least: inclusive lower bound.
        above: exclusive lower bound.
        at_most: inclusive upper bound.
        below: exclusive upper bound.
        among: allowed values; empty for any.
        empty: whether a tuple may be empty.
        containing: an entry that a tuple must have.
        multiple_of: a divisor of the value.
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
        """Raises ValueError unless the value satisfies the conditions; None always does."""
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
    """A configuration. Subclasses become frozen dataclasses, and the bounds in types are checked.

    A tuple has at least one entry, unless its type contains :data:`EMPTY` or its default is empty.
    A tuple type without dots fixes the number of entries.
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
        """Raises ValueError if fields contradict each other; subclasses override it."""

    @property
    def seeds(self) -> np.ndarray:
        """Seeds of the repetitions, ``[S]``: ``num_seeds`` consecutive numbers from ``seed`` on."""
        return self.seed + np.arange(self.num_seeds)


class Options(Settings):
    """Options of the command line that all experiments share.

    Attributes:
        out: folder for results; runs/PAPER/PRESET by default.
        smoke: runs a test of the code that ends in seconds, without claims.
        resume: folder of an interrupted run to resume; a run also resumes checkpoints in --out.
        fresh: starts a new run even if --out contains checkpoints.
        on_divergence: whether a run with values that are not finite stops or continues.
        track: programs that also get the log, see :mod:`experiments.tracking`.
    """

    out: pathlib.Path
    smoke: bool = False
    resume: pathlib.Path | None = None
    fresh: bool = False
    on_divergence: Literal["stop", "continue"] = "stop"
    track: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio", "live"], ...] = ()


def _among(value: Any, allowed: Collection[Any]) -> bool:
    return value in allowed


def _bounds(kind: Any) -> Iterator[Bound]:
    """Yields all bounds in a type; a Literal counts as one."""
    if isinstance(kind, Bound):
        yield kind
    elif typing.get_origin(kind) is typing.Literal:
        yield Bound(among=typing.get_args(kind))
    else:
        for part in typing.get_args(kind):
            yield from _bounds(part)
