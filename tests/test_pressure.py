"""Refusing by delay: just as many as there are too many, and none once it is over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.pressure import LOOK_EVERY_S, Pressure, after_look

TARGET_S = 0.025


class Queue:
    """A worker that serves `capacity` pings a second; whoever waits is the delay."""

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.waiting = 0.0
        self.pressure = Pressure()
        self.served = self.offered = 0.0

    def run(self, seconds: float, offered_per_s: float) -> None:
        for _ in range(round(seconds / LOOK_EVERY_S)):
            offered = offered_per_s * LOOK_EVERY_S
            self.offered += offered
            self.waiting += offered * (1 - self.pressure.share)
            done = min(self.waiting, self.capacity * LOOK_EVERY_S)
            self.waiting -= done
            self.served += done
            self.pressure = after_look(self.pressure, self.waiting / self.capacity, TARGET_S)


@pytest.mark.parametrize("times", [1.2, 2, 4, 10])
def test_under_load_the_delay_comes_back_to_the_target(times: float) -> None:
    """At so many times what can be served the share settles at what is too much, nothing idles, and
    nobody waits much longer than the target."""
    queue = Queue(2000)
    queue.run(5, times * 2000)
    settled = queue.served
    delays = []
    for _ in range(250):
        queue.run(LOOK_EVERY_S, times * 2000)
        delays.append(queue.pressure.delay_s)

    assert queue.served - settled >= 0.95 * 2000 * 5
    assert sum(delays) / len(delays) <= 2 * TARGET_S
    assert queue.pressure.share == pytest.approx(1 - 1 / times, abs=0.15)


def test_when_it_is_over_everybody_passes_within_two_seconds() -> None:
    """A refusal without need is a sale lost."""
    queue = Queue(2000)
    queue.run(10, 8000)
    queue.run(2, 1000)

    assert queue.pressure.share < 0.01


def test_below_capacity_nobody_is_refused() -> None:
    """Full but not over: the delay stays below the target."""
    queue = Queue(2000)
    queue.run(20, 1900)

    assert queue.served == pytest.approx(queue.offered, rel=0.001)
    assert queue.pressure.share == 0


@given(
    share=st.floats(0, 0.98),
    before=st.floats(0, 10),
    delay=st.floats(0, 10),
    target=st.floats(0.001, 1),
)
def test_the_share_stays_a_share(share: float, before: float, delay: float, target: float) -> None:
    """Something always passes: or nobody would see that it is over."""
    after = after_look(Pressure(share, before), delay, target)

    assert 0 <= after.share <= 0.98
    assert after.delay_s == delay
