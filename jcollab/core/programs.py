"""Compiled programs of functions, which are kept as long as the functions are, and no longer."""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Hashable
from typing import Any

# by the identity of the owner: of two equal models, the program of one must not use the other one,
# which may be gone when a new shape is traced
_PROGRAMS: dict[int, dict] = {}


def program(
    function: Callable, form: Hashable, build: Callable[[Callable[[], Callable]], Any]
) -> Any:
    """What ``build`` has made for a function, for example by ``jax.jit``.

    As a static argument of ``jax.jit``, a function would stay in memory with all that it closes
    over. Here a function and its programs are freed when its last user is gone.

    Args:
        function: the function; its programs belong to its identity, those of a method to the
            object.
        form: which of the programs of the function.
        build: ``build(get) -> program``, where ``get()`` gives the function while it is alive. It
            must not refer to the function in another way.

    Example:
        >>> half = lambda x: x / 2
        >>> build = lambda get: jax.jit(lambda x: get()(x))
        >>> program(half, "plain", build) is program(half, "plain", build)
        True
    """
    owner: Any = function
    refer: Callable[[Any], Any] = weakref.ref
    if isinstance(function, types.MethodType):
        owner, form, refer = function.__self__, (function.__func__, form), weakref.WeakMethod
    try:
        known = _programs_of(owner)
    except TypeError:  # it has no weak references
        return build(lambda: function)
    if form not in known:
        known[form] = build(refer(function))
    return known[form]


def _programs_of(owner: Any) -> dict:
    """The programs of an object, which are freed with it."""
    if id(owner) not in _PROGRAMS:
        weakref.finalize(owner, _PROGRAMS.pop, id(owner), None).atexit = False
        _PROGRAMS[id(owner)] = {}
    return _PROGRAMS[id(owner)]
