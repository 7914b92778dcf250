"""Checks of the parts of an algorithm, by their kind."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def functions(**values: Any) -> None:
    """TypeError for a value, by name, that cannot be called."""
    for name, value in values.items():
        if not callable(value):
            raise TypeError(f"{name} must be a function, got {type(value).__name__}")


def scalar_function(name: str, function: Any, *args: Any) -> None:
    """TypeError unless a function, called so, returns a number; it is traced for that.

    Example:
        >>> scalar_function("weigh", lambda delay: lambda x: x, 3)
        Traceback (most recent call last):
        TypeError: weigh must return a number, got the function <lambda> itself
    """
    functions(**{name: function})

    wrong: list[str] = []

    def look(*args: Any) -> None:
        value = function(*args)
        if np.shape(value):
            wrong.append(f"shape {list(np.shape(value))}")
        elif callable(value) or value is None:
            wrong.append(described(value))

    jax.eval_shape(look, *args)
    if wrong:
        raise TypeError(f"{name} must return a number, got {wrong[0]}")


def kind(wanted: type, **values: Any) -> None:
    """TypeError for a part, by name, of another kind, a factory that was not called included.

    Example:
        >>> kind(int, period=max)
        Traceback (most recent call last):
        TypeError: period must be an int, got the function max itself
    """
    for name, value in values.items():
        if not isinstance(value, wanted):
            article = "an" if wanted.__name__[0] in "AEIOaeio" else "a"
            raise TypeError(f"{name} must be {article} {wanted.__name__}, got {described(value)}")


def described(value: Any) -> str:
    """What an error calls a part of the wrong kind: its type, or the function that it is."""
    named = callable(value) and not isinstance(value, type) and hasattr(value, "__name__")
    return f"the function {value.__name__} itself" if named else type(value).__name__


def optimizers(**values: Any) -> None:
    """TypeError for an optimizer, by name, that is none of optax's kind, or another part.

    Example:
        >>> optimizers(optimizer=0.1)
        Traceback (most recent call last):
        TypeError: optimizer must be an optax.GradientTransformation, got float
    """
    for name, value in values.items():
        fine = all(callable(getattr(value, field, None)) for field in ("init", "update"))
        if not fine or type(value).__module__.startswith("jcollab."):
            raise TypeError(
                f"{name} must be an optax.GradientTransformation, got {described(value)}"
            )


def key(name: str, value: Any) -> None:
    """TypeError unless it is a random key of JAX, or several.

    Example:
        >>> key("key", 0)
        Traceback (most recent call last):
        TypeError: key must be a random key such as jax.random.key(0), got 0
    """
    dtype = getattr(value, "dtype", None)
    old = dtype == np.uint32 and np.ndim(value) > 0 and np.shape(value)[-1] in (2, 4)
    if dtype is None or not (old or jnp.issubdtype(dtype, jax.dtypes.prng_key)):
        raise TypeError(f"{name} must be a random key such as jax.random.key(0), got {value!r}")
