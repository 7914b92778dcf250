"""A cache of compiled programs that lives as long as the functions they were compiled from."""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Hashable
from typing import Any

from jcollab import layout

# The key is the identity of the owner, not its value. Two models may be equal; if they shared a
# program, it would refer to the first one, which may be freed when a new shape is traced.
_PROGRAMS: dict[int, dict] = {}


def program(
    function: Callable, form: Hashable, build: Callable[[Callable[[], Callable]], Any]
) -> Any:
    """Returns the program of a function, which is built at the first call and then cached.

    The function and its programs are freed when the last reference to the function is gone. A
    static argument of ``jax.jit`` would stay in memory instead, with all arrays that it closes
    over.

    Args:
        function: the function. Programs are cached by its identity; those of a bound method by the
            identity of the object.
        form: hashable key that distinguishes the programs of one function.
        build: ``build(get) -> program``, for example with ``jax.jit``, where ``get()`` returns the
            function while it is alive. The program must not refer to the function otherwise.

    Example:
        >>> half = lambda x: x / 2
        >>> build = lambda get: jax.jit(lambda x: get()(x))
        >>> program(half, "plain", build) is program(half, "plain", build)
        True
    """
    owner: Any = function
    refer: Callable[[Any], Any] = weakref.ref
    # A bound method is a new object at every access, and dies at once: its object is the owner.
    if isinstance(function, types.MethodType):
        owner, form, refer = function.__self__, (function.__func__, form), weakref.WeakMethod
    try:
        known = _programs_of(owner)
    except TypeError:  # the type has no weak references (for example __slots__): no cache
        return build(lambda: function)
    # the options differ inside of jit, where a program becomes part of another one
    key = form, bool(layout.compiler_options())
    if key not in known:
        known[key] = build(refer(function))
    return known[key]


def _programs_of(owner: Any) -> dict:
    """Returns the programs of an object, which are freed with it."""
    # The finalizer removes the entry before the identity can be given to another object. At exit
    # it has no work: the interpreter frees everything.
    if id(owner) not in _PROGRAMS:
        weakref.finalize(owner, _PROGRAMS.pop, id(owner), None).atexit = False
        _PROGRAMS[id(owner)] = {}
    return _PROGRAMS[id(owner)]
