"""Weights of the original code, as NumPy arrays by name, in the shape of this library's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any


def glow_from_torch(state: Mapping[str, Any]) -> PyTree:
    """Parameters of :func:`jcollab.flows.glow` (full matrices) from those of the released code.

    Args:
        state: arrays by name, ``flows.steps.0.norm.bias`` or with slashes for dots; a ``next`` for
            each further level. Kernels are ``[out, in, height, width]``. What else it contains is
            ignored.

    Returns:
        ``{"levels": [...]}`` of the arrays' own type, NumPy.

    Raises:
        ValueError: if there is no step in it, or levels differ in their number of steps.
    """
    state = _dotted(state)
    levels: dict[int, dict[int, PyTree]] = {}
    for name in state:
        if match := re.fullmatch(r"flows\.((?:next\.)*)steps\.(\d+)\.norm\.bias", name):
            level, step = match[1].count("next"), int(match[2])
            levels.setdefault(level, {})[step] = _step(state, name.removesuffix("norm.bias"))
    if not levels or sorted(levels) != list(range(len(levels))):
        raise ValueError(
            f"state must have flows.steps.0.norm.bias and so on, got {sorted(state)[:5]}"
        )
    counts = {len(steps) for steps in levels.values()}
    if len(counts) > 1:
        raise ValueError(f"state must have as many steps at every level, got {sorted(counts)}")
    return {
        "levels": [
            jax.tree.map(lambda *rows: np.stack(rows), *(steps[k] for k in sorted(steps)))
            for _, steps in sorted(levels.items())
        ]
    }


def coupling_from_torch(state: Mapping[str, Any], prefix: str = "") -> PyTree:
    """``{"net", "scale"}`` of one :class:`~jcollab.flows.coupling.AffineCoupling`.

    Args:
        state: arrays by name, ``nn.in_conv.weight`` and so on, with dots or slashes.
        prefix: before each name.

    Raises:
        ValueError: if an array is missing.
    """
    state = _dotted(state)

    def norm(name: str, kernel: str) -> PyTree:
        return {
            "kernel": _kernel(_take(state, f"{prefix}nn.{kernel}.weight")),
            "bias": _take(state, f"{prefix}nn.{name}.bias").reshape(-1),
            "logs": _take(state, f"{prefix}nn.{name}.logs").reshape(-1),
        }

    net = {
        "first": norm("in_norm", "in_conv"),
        "middle": norm("mid_norm", "mid_conv"),
        "kernel": _kernel(_take(state, f"{prefix}nn.out_conv.weight")),
        "bias": _take(state, f"{prefix}nn.out_conv.bias"),
        "logs": _take(state, f"{prefix}nn.logs").reshape(-1),
    }
    return {"net": net, "scale": _take(state, f"{prefix}scale").reshape(-1)}


def conditional_coupling_from_torch(state: Mapping[str, Any], prefix: str = "") -> PyTree:
    """``{"subnet1", "subnet2"}`` of one block, see :func:`jcollab.flows.conditional_coupling`.

    Args:
        state: arrays by name, ``subnet1.0.weight [out, in]`` and so on, with dots or slashes.
        prefix: before each name.

    Raises:
        ValueError: if an array is missing.
    """
    state = _dotted(state)

    def layer(name: str) -> PyTree:
        return {
            "kernel": _take(state, f"{prefix}{name}.weight").T,
            "bias": _take(state, f"{prefix}{name}.bias"),
        }

    return {
        net: {number: layer(f"{net}.{number}") for number in ("0", "2")}
        for net in ("subnet1", "subnet2")
    }


def _step(state: Mapping[str, Any], prefix: str) -> PyTree:
    return {
        "norm": {
            "bias": _take(state, f"{prefix}norm.bias").reshape(-1),
            "logs": _take(state, f"{prefix}norm.logs").reshape(-1),
        },
        "conv": {"weight": _square(_take(state, f"{prefix}conv.weight"))},
        "coupling": coupling_from_torch(state, f"{prefix}coup."),
    }


def _dotted(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("/", "."): value for name, value in state.items()}


def _take(state: Mapping[str, Any], name: str) -> np.ndarray:
    if name not in state:
        raise ValueError(f"state must have {name}, got {sorted(state)[:5]} ...")
    value = state[name]
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _kernel(weight: np.ndarray) -> np.ndarray:
    return weight.transpose(2, 3, 1, 0)


def _square(weight: np.ndarray) -> np.ndarray:
    return weight.reshape(weight.shape[:2])


def to_dtype(params: PyTree, dtype: Any) -> PyTree:
    """The parameters as jax arrays of another floating type."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)
