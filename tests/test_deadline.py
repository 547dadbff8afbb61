"""A deadline only ever narrows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.deadline import Deadline

NARROWED = [
    # (deadline in ms from now, window in ms, what is left)
    (500, 400, 400),  # the window is shorter
    (400, 500, 400),  # a window never widens it
    (400, 400, 400),
    (400, 0, 0),
    (-5, 500, 0),  # it is over
]


@pytest.mark.parametrize(("deadline_ms", "window_ms", "left_ms"), NARROWED)
def test_the_earlier_of_deadline_and_window_counts(
    deadline_ms: float, window_ms: float, left_ms: float
) -> None:
    """Narrowed by a window from now."""
    deadline = Deadline.after(10.0, deadline_ms)

    assert left_ms == pytest.approx(deadline.narrowed(10.0, window_ms).left_ms(10.0), abs=1e-6)


def test_what_is_left_shrinks_with_the_clock_and_ends_at_zero() -> None:
    """Never a negative timeout."""
    deadline = Deadline.after(10.0, 500)

    left = [deadline.left_ms(now_s) for now_s in (10.0, 10.25, 10.5, 11.0)]
    assert [500, 250, 0, 0] == left


def test_a_tail_is_kept_back() -> None:
    """Storing and answering take their time before the deadline."""
    assert 480 == pytest.approx(Deadline.after(10.0, 500).less(20).left_ms(10.0))


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), max_size=5))
def test_no_chain_of_windows_widens_a_deadline(steps: list[tuple[float, float]]) -> None:
    """Whatever is asked of it and when."""
    deadline = Deadline(1000.0)
    for now_s, window_ms in steps:
        narrower = deadline.narrowed(now_s, window_ms).less(1)
        assert narrower.at_s <= deadline.at_s
        deadline = narrower
