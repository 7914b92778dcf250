"""Records of a run, as JSON values."""

from __future__ import annotations

import json
from typing import Any

import jax
import numpy as np

Record = dict[str, Any]
ROUND = "round"


def plain(value: Any) -> Any:
    """Converts a value to JSON values: arrays to lists, numbers that are not finite to None."""
    # JSON has neither NaN nor infinity; files with them could not be read by other programs
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        value = np.asarray(value).tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def check_json(name: str, value: dict[str, Any]) -> None:
    """Raises TypeError unless JSON can represent the values of a dictionary."""
    try:
        json.dumps(plain(value))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a dictionary of JSON values, got {error}") from None


def scalars(record: Record) -> dict[str, float]:
    """Returns the numbers of a record by path, without its round.

    A list has one path per entry, a dictionary one per name. Values without a number are left out.

    Example:
        >>> scalars({"round": 3, "loss": [0.5, 1.0], "test": {"accuracy": 0.75}, "norm": None})
        {'loss/0': 0.5, 'loss/1': 1.0, 'test/accuracy': 0.75}
    """
    own = {name: value for name, value in record.items() if name != ROUND}
    return {path: number for name, value in own.items() for path, number in _paths(name, value)}


def _paths(name: str, value: Any) -> list[tuple[str, float]]:
    if isinstance(value, (int, float)):
        return [(name, float(value))]
    if isinstance(value, (list, dict)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [pair for key, item in items for pair in _paths(f"{name}/{key}", item)]
    return []
