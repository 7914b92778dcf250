"""Records of a run, as JSON values."""

from __future__ import annotations

import json
from typing import Any

import jax
import numpy as np

Record = dict[str, Any]


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
