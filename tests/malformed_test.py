"""Input that makes no sense is refused with a ValueError or TypeError that names it.

Each case is a call with one argument left open, its name, and what must not be accepted for it;
values are drawn by hypothesis. Nothing here may compile, and an error from inside of jax is a
failure.
"""

import traceback

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.malformed import kinds, ranges

CASES = ranges.CASES | kinds.CASES


@pytest.mark.parametrize("name", CASES)
@settings(
    max_examples=10, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(draw=st.data())
def test_nonsense_is_refused_by_name(name, draw):
    call, argument, values = CASES[name]
    value = draw.draw(values)
    with pytest.raises((ValueError, TypeError)) as caught:
        call(value)
    message, frames = str(caught.value), traceback.extract_tb(caught.value.__traceback__)
    assert any(word in message for word in argument.split("|")), f"{value!r}: {message}"
    # the error is ours, not one of jax or networkx on the way
    raised = frames[-1].filename
    assert "/jcollab/" in raised, f"{value!r} passed until {raised}: {message}"
