"""Checks of the parts of an algorithm: functions, optimizers, types and random keys."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def functions(**values: Any) -> None:
    """Raises TypeError unless several arguments, given by name, are callable.

    Example:
        >>> functions(loss=0.5)
        Traceback (most recent call last):
        TypeError: loss must be a function, got float
    """
    for name, value in values.items():
        if not callable(value):
            raise TypeError(f"{name} must be a function, got {type(value).__name__}")


def scalar_function(name: str, function: Any, *args: Any) -> None:
    """Raises TypeError unless a function returns a number for these arguments.

    The function is traced, not executed.

    Example:
        >>> scalar_function("weigh", lambda delay: lambda x: x, 3)
        Traceback (most recent call last):
        TypeError: weigh must return a number, got the function <lambda> itself
    """
    functions(**{name: function})

    wrong: list[str] = []

    # the result is inspected inside of the trace: eval_shape itself fails on a function or None
    # with a message that does not name the argument
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
    """Raises TypeError unless several arguments, given by name, are instances of a type.

    The usual error is a factory that was not called, for example ``period=max``.

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
    """Describes a value for an error message: the name of a function, else the type.

    Example:
        >>> described(max), described(0.5)
        ('the function max itself', 'float')
    """
    named = callable(value) and not isinstance(value, type) and hasattr(value, "__name__")
    return f"the function {value.__name__} itself" if named else type(value).__name__


def optimizers(**values: Any) -> None:
    """Raises TypeError unless several arguments, given by name, are optimizers of optax.

    Example:
        >>> optimizers(optimizer=0.1)
        Traceback (most recent call last):
        TypeError: optimizer must be an optax.GradientTransformation, got float
    """
    for name, value in values.items():
        # By fields, not by type: users' optimizers may have any type with init and update. Mixers
        # and rules have these fields too, but are not optimizers.
        fine = all(callable(getattr(value, field, None)) for field in ("init", "update"))
        if not fine or type(value).__module__.startswith("jcollab."):
            raise TypeError(
                f"{name} must be an optax.GradientTransformation, got {described(value)}"
            )


def key(name: str, value: Any) -> None:
    """Raises TypeError unless a value is a random key of JAX, or an array of them.

    Example:
        >>> key("key", 0)
        Traceback (most recent call last):
        TypeError: key must be a random key such as jax.random.key(0), got 0
    """
    dtype = getattr(value, "dtype", None)
    # an old-style key is a uint32 array whose last axis is the size of the key: 2 for threefry,
    # 4 for rbg
    old = dtype == np.uint32 and np.ndim(value) > 0 and np.shape(value)[-1] in (2, 4)
    if dtype is None or not (old or jnp.issubdtype(dtype, jax.dtypes.prng_key)):
        raise TypeError(f"{name} must be a random key such as jax.random.key(0), got {value!r}")
