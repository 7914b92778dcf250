"""Conversion of weights of the original PyTorch code to parameters of this library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any


def glow_from_torch(state: Mapping[str, Any]) -> PyTree:
    """Converts weights of the released code to parameters of :func:`jcollab.flows.glow`.

    The convolutions are full matrices.

    Args:
        state: arrays by name, such as ``flows.steps.0.norm.bias``, with dots or slashes; ``next.``
            follows ``flows.`` once per further level. Kernels are ``[out, in, height, width]``.
            Other names are ignored.

    Returns:
        ``{"levels": [...]}``, NumPy arrays of the given types.

    Raises:
        ValueError: if state contains no step, an array is missing, or levels differ in their
            number of steps.

    Example:
        >>> names = "norm.bias norm.logs coup.scale coup.nn.logs coup.nn.out_conv.bias".split()
        >>> names += [f"coup.nn.{n}_norm.{p}" for n in ("in", "mid") for p in ("bias", "logs")]
        >>> state = {f"flows.steps.0.{name}": np.zeros(4) for name in names}
        >>> kernels = ["conv"] + [f"coup.nn.{name}_conv" for name in ("in", "mid", "out")]
        >>> state |= {f"flows.steps.0.{name}.weight": np.zeros((4, 4, 1, 1)) for name in kernels}
        >>> params = jc.flows.glow_from_torch(state)
        >>> params["levels"][0]["conv"]["weight"].shape  # one step, four channels
        (1, 4, 4)
    """
    state = _dotted(state)
    levels: dict[int, dict[int, PyTree]] = {}
    for name in state:
        if match := re.fullmatch(r"flows\.((?:next\.)*)steps\.(\d+)\.norm\.bias", name):
            # the released code nests levels: each one contains the next one
            level, step = match[1].count("next"), int(match[2])
            levels.setdefault(level, {})[step] = _step(state, name.removesuffix("norm.bias"))
    if not levels or sorted(levels) != list(range(len(levels))):
        raise ValueError(
            f"state must have names such as flows.steps.0.norm.bias, got {sorted(state)[:5]}"
        )
    counts = {len(steps) for steps in levels.values()}
    if len(counts) > 1:
        raise ValueError(f"state must have equally many steps at every level, got {sorted(counts)}")
    return {
        "levels": [
            jax.tree.map(lambda *rows: np.stack(rows), *(steps[k] for k in sorted(steps)))
            for _, steps in sorted(levels.items())
        ]
    }


def coupling_from_torch(state: Mapping[str, Any], prefix: str = "") -> PyTree:
    """Converts weights of one coupling of Glow to parameters of :func:`jcollab.flows.coupling`.

    Args:
        state: arrays by name, ``nn.in_conv.weight`` and so on, with dots or slashes.
        prefix: of each name.

    Returns:
        ``{"net", "scale"}``, NumPy arrays of the given types.

    Raises:
        ValueError: if an array is missing.

    Example:
        >>> names = ["scale", "nn.logs", "nn.out_conv.bias"]
        >>> names += [f"nn.{n}_norm.{p}" for n in ("in", "mid") for p in ("bias", "logs")]
        >>> state = {name: np.zeros(4) for name in names}
        >>> for name in ("in", "mid", "out"):
        ...     state[f"nn.{name}_conv.weight"] = np.zeros((8, 4, 3, 3))  # [out, in, height, width]
        >>> params = jc.flows.coupling_from_torch(state)
        >>> params["net"]["kernel"].shape  # [height, width, in, out]
        (3, 3, 4, 8)
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
    """Converts weights of one block to parameters of :func:`jcollab.flows.conditional_coupling`.

    Args:
        state: arrays by name, ``subnet1.0.weight [out, in]`` and so on, with dots or slashes.
        prefix: of each name.

    Returns:
        ``{"subnet1", "subnet2"}``, NumPy arrays of the given types.

    Raises:
        ValueError: if an array is missing.

    Example:
        >>> layers = [f"subnet{i}.{layer}" for i in (1, 2) for layer in (0, 2)]
        >>> state = {f"{name}.weight": np.zeros((6, 4)) for name in layers}  # [out, in]
        >>> state |= {f"{name}.bias": np.zeros(6) for name in layers}
        >>> params = jc.flows.conditional_coupling_from_torch(state)
        >>> params["subnet1"]["0"]["kernel"].shape  # [in, out]
        (4, 6)
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
    # torch tensors are accepted without importing torch
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _kernel(weight: np.ndarray) -> np.ndarray:
    # [out, in, height, width] to [height, width, in, out]
    return weight.transpose(2, 3, 1, 0)


def _square(weight: np.ndarray) -> np.ndarray:
    return weight.reshape(weight.shape[:2])


def to_dtype(params: PyTree, dtype: Any) -> PyTree:
    """Converts parameters to jax arrays of another floating type."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)
