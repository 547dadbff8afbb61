"""Letting in what can be served: just as many, soon all again, and no burst refused without need."""

import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.pressure import LOOK_EVERY_S, Gate, Pressure, after_look

TARGET_S = 0.025
COST_S = 0.0007  # of a ping, in four stages of which each is a turn of the loop later
REFUSAL_S = 0.00002
STAGES = 4


def let_in(gate: Gate, now_s: float, rate: float, come: int) -> int:
    """How many of so many pings come in."""
    found = 0
    for _ in range(come):
        if gate.has_room(now_s, rate):
            gate.take()
            found += 1
    return found


class Loop:
    """An event loop that reads in each turn what has come since the last, and does one stage of
    every ping under way: the more there is, the longer a turn takes."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.pressure, self.gate = Pressure(at_s=self.now_s), Gate()
        self.stages: deque[tuple[int, float]] = deque([(0, 0.0)] * STAGES)  # how many, since when
        self.look_at_s = self.now_s + LOOK_EVERY_S
        self.arrived = self.served = self.refused = self.answered = 0
        self.took: list[float] = []  # seconds from arrival to answer
        self.rest = 0.0

    def run(self, seconds: float, per_s: float) -> None:
        until_s = self.now_s + seconds
        turn_s = 0.001
        while self.now_s < until_s:
            self.rest += per_s * turn_s
            come, self.rest = int(self.rest), self.rest % 1
            turn_s = self.turn(come, turn_s)

    def turn(self, come: int, since_s: float) -> float:
        """`come` pings, on average half of the last turn ago; returns how long this one takes."""
        under_way = sum(count for count, _ in self.stages)
        passed = let_in(self.gate, self.now_s, self.pressure.rate, come)
        while passed < come and under_way + passed < self.pressure.free:
            self.gate.take()
            passed += 1
        self.arrived += come
        self.refused += come - passed
        done, began_s = self.stages.pop()
        self.stages.appendleft((passed, self.now_s - since_s / 2))
        under_way = sum(count for count, _ in self.stages)
        turn_s = max(0.001, under_way * COST_S / STAGES + (come - passed) * REFUSAL_S)
        self.now_s += turn_s
        self.served += done
        self.answered += done
        self.took += [self.now_s - began_s] * done
        if self.now_s >= self.look_at_s:
            self.pressure = after_look(
                self.pressure,
                now_s=self.now_s,
                answered=self.answered,
                waits_s=self.now_s - self.look_at_s,
                target_s=TARGET_S,
            )
            self.answered, self.look_at_s = 0, self.now_s + LOOK_EVERY_S
        return turn_s


@pytest.mark.parametrize("times", [1.1, 1.5, 2, 4, 8])
def test_under_load_what_can_be_served_is_served_in_time(times: float) -> None:
    """After a calm at half of it, so many times as much as there can be: nine tenths of what is left
    beside the refusals is served, and nearly all of that within a second."""
    loop = Loop()
    loop.run(5, 0.5 / COST_S)
    loop.served, loop.took = 0, []
    loop.run(10, times / COST_S)

    left = 1 - (times - 1) * REFUSAL_S / COST_S
    assert loop.served >= 0.9 * left * 10 / COST_S
    assert sum(one <= 1.0 for one in loop.took) >= 0.98 * len(loop.took)
    assert sorted(loop.took)[len(loop.took) // 2] <= 0.3


def test_when_it_is_over_everybody_passes_within_two_seconds() -> None:
    """A refusal without need is a sale lost."""
    loop = Loop()
    loop.run(10, 4 / COST_S)
    loop.run(2, 0.8 / COST_S)
    loop.refused = 0
    loop.run(10, 0.8 / COST_S)

    assert 0 == loop.refused


def test_below_capacity_nobody_is_refused() -> None:
    """Full, but not over."""
    loop = Loop()
    loop.run(20, 0.95 / COST_S)

    assert 0 == loop.refused


def test_a_burst_that_can_be_served_is() -> None:
    """Three hundred at once, out of nothing."""
    loop = Loop()
    loop.run(1, 0)
    loop.turn(300, 0.001)

    assert 0 == loop.refused


def test_a_gate_lets_in_its_rate_and_a_tenth_of_a_second_of_it_at_once() -> None:
    """Whatever was not used before is gone."""
    gate = Gate()
    assert 20 == let_in(gate, 5.0, 200, 50)
    assert 5 == let_in(gate, 5.03125, 200, 5)
    assert 1 == let_in(gate, 5.03125, 200, 50)
    assert 20 == let_in(gate, 9.0, 200, 50)
    assert 400 == let_in(gate, 10.0, math.inf, 500)
    assert 400 == let_in(gate, 10.001, math.inf, 500)


def test_who_is_late_for_others_sake_goes_on() -> None:
    """Somebody else has the core every other 60 ms: what is refused helps nobody."""
    pressure, gate, now_s, passed = Pressure(), Gate(), 1000.0, 0
    for _ in range(300):
        now_s += 0.08
        let = let_in(gate, now_s, pressure.rate, 24)  # three hundred a second
        passed += let
        pressure = after_look(pressure, now_s=now_s, answered=let, waits_s=0.06, target_s=TARGET_S)

    assert passed >= 0.3 * 300 * 24


def test_a_moment_is_no_queue() -> None:
    """A loop that stopped once for 90 ms, in a busy hour, refuses nobody for it."""
    before = Pressure(answered=900.0, at_s=7.0)
    after = after_look(before, now_s=7.09, answered=60, waits_s=0.07, target_s=TARGET_S)
    assert math.inf == after.rate
    after = after_look(after, now_s=7.11, answered=60, waits_s=0.0, target_s=TARGET_S)
    assert (math.inf, None) == (after.rate, after.above_since_s)


def test_who_has_shown_nothing_yet_is_trusted() -> None:
    """A slow first second is no measure of what can be served."""
    after = after_look(Pressure(at_s=7.0), now_s=7.5, answered=1, waits_s=0.5, target_s=TARGET_S)

    assert 500 == after.rate


@given(
    rate=st.floats(20, 1e6) | st.just(math.inf), answered=st.integers(0, 10_000), lately=st.floats(0, 1e5),
    waits=st.floats(0, 100), passed=st.floats(0, 100), target=st.floats(0.001, 1),
)  # fmt: skip
def test_something_always_passes(
    rate: float, answered: int, lately: float, waits: float, passed: float, target: float
) -> None:
    """Or nobody would see that it is over. More than before is let in only when nothing waits."""
    after = after_look(
        Pressure(rate, lately, lately, None, 7.0), now_s=7.0 + passed, answered=answered, waits_s=waits, target_s=target
    )  # fmt: skip

    assert after.rate >= 20
    assert after.rate <= rate or waits <= target
