"""The breaker of one endpoint: what counts, when it opens, how it is tried again."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from buyers.health import (
    SLOTS,
    Breaker,
    Rules,
    Sign,
    Standing,
    admits,
    after_call,
    after_results,
    judge_ping,
    judge_post,
    tally,
)
from buyers.messages import (
    Accepted,
    Bid,
    Invalid,
    Missed,
    NoBid,
    NotSent,
    Rejected,
    Unconfirmed,
)
from buyers.reasons import BuyerReason as R

RULES = Rules(window_s=30, results_min=20, open_at=0.7, cool_s=5, cool_max_s=300, probes=3)
CLOSED, OPEN, HALF_OPEN = Standing.CLOSED, Standing.OPEN, Standing.HALF_OPEN


def missed(reason: R, elapsed_ms: float = 400, status: int | None = None) -> Missed:
    return Missed(reason=reason, elapsed_ms=elapsed_ms, status=status)


@pytest.mark.parametrize(
    ("result", "sign"),
    [
        # The endpoint works, whatever it thinks of the lead.
        (Bid(price_micros=1, elapsed_ms=5), Sign.GOOD),
        (NoBid(elapsed_ms=5), Sign.GOOD),
        (Invalid(reason=R.BID_ABOVE_MAX, elapsed_ms=5), Sign.GOOD),
        # It does not.
        (missed(R.TIMED_OUT), Sign.BAD),  # a drip that runs into the deadline is this, too
        (missed(R.UNREACHABLE, 1), Sign.BAD),
        (missed(R.DNS_FAILED, 1), Sign.BAD),
        (missed(R.TLS_FAILED, 1), Sign.BAD),
        (missed(R.CONNECTION_RESET, 1), Sign.BAD),
        (missed(R.GARBLED, 1, 200), Sign.BAD),
        (missed(R.OVERSIZED, 1, 200), Sign.BAD),
        (missed(R.BUYER_HTTP_ERROR, 1, 500), Sign.BAD),
        (missed(R.BUYER_HTTP_ERROR, 1, 503), Sign.BAD),
        (missed(R.BUYER_HTTP_ERROR, 1, 404), Sign.BAD),
        # It works and is asked too fast.
        (missed(R.BUYER_HTTP_ERROR, 1, 429), Sign.HURRIED),
        # Our own doing.
        (missed(R.CALL_BROKE, 1), Sign.NOTHING),
        (missed(R.ADDRESS_BLOCKED, 1), Sign.NOTHING),
        (missed(R.POOL_FULL, 1), Sign.NOTHING),
    ],
)
def test_what_a_pings_result_says(result: Any, sign: Sign) -> None:
    assert sign is judge_ping(result, given_ms=400, usual_ms=400)


@pytest.mark.parametrize(
    ("given_ms", "usual_ms", "elapsed_ms", "sign"),
    [
        (400, 400, 401, Sign.BAD),
        (360, 400, 361, Sign.BAD),
        (359, 400, 360, Sign.NOTHING),  # a seller in a hurry: the buyer had no fair chance
        (30, 400, 31, Sign.NOTHING),
        (400, 400, 451, Sign.NOTHING),  # our own loop stood still: an answer may lie unread
        (400, 400, 449, Sign.BAD),
    ],
)
def test_silence_counts_only_when_there_was_time(
    given_ms: float, usual_ms: float, elapsed_ms: float, sign: Sign
) -> None:
    """A hostile seller with `max_wait_ms: 50` shall not open every buyer's breaker."""
    result = missed(R.TIMED_OUT, elapsed_ms)

    assert sign is judge_ping(result, given_ms=given_ms, usual_ms=usual_ms)


@pytest.mark.parametrize(
    ("result", "sign"),
    [
        (Accepted(), Sign.GOOD),
        (Rejected(reason=R.REJECTED), Sign.GOOD),
        (Rejected(reason=R.DUPLICATE_BUYER), Sign.GOOD),
        (Rejected(reason=R.BUYER_HTTP_4XX, note="404"), Sign.GOOD),  # a definite word
        (Rejected(reason=R.BUYER_HTTP_4XX, note="429"), Sign.HURRIED),
        (Unconfirmed(reason=R.TIMED_OUT), Sign.BAD),
        (Unconfirmed(reason=R.CONNECTION_RESET), Sign.BAD),
        (Unconfirmed(reason=R.GARBLED, status=200), Sign.BAD),
        (Unconfirmed(reason=R.NO_DEFINITE_ANSWER, status=500), Sign.BAD),
        (Unconfirmed(reason=R.NO_DEFINITE_ANSWER, status=429), Sign.HURRIED),
        (NotSent(reason=R.UNREACHABLE), Sign.BAD),
        (NotSent(reason=R.DNS_FAILED), Sign.BAD),
        (NotSent(reason=R.TLS_FAILED), Sign.BAD),
        (NotSent(reason=R.ADDRESS_BLOCKED), Sign.NOTHING),
        (NotSent(reason=R.POOL_FULL), Sign.NOTHING),
        (NotSent(reason=R.TOO_LATE), Sign.NOTHING),
    ],
)
def test_what_a_delivery_says(result: Any, sign: Sign) -> None:
    assert sign is judge_post(result)


@pytest.mark.parametrize(
    ("good", "bad", "standing"),
    [
        (0, 19, CLOSED),  # too few to conclude anything
        (0, 20, OPEN),
        (6, 14, OPEN),  # exactly 70 %
        (7, 14, CLOSED),  # a third of them came through
        (1000, 20, CLOSED),
        (20, 0, CLOSED),
    ],
)
def test_a_breaker_opens_at_a_share_of_enough_results(
    good: int, bad: int, standing: Standing
) -> None:
    breaker = after_results(Breaker(), RULES, good, 0, 100.0)

    assert standing is after_results(breaker, RULES, 0, bad, 100.0).standing


def test_old_results_do_not_count() -> None:
    """Nineteen failures half a minute ago and one now are one failure."""
    breaker = after_results(Breaker(), RULES, 0, 19, 100.0)
    later = after_results(breaker, RULES, 0, 1, 131.0)

    assert (0, 19) == tally(breaker, RULES, 120.0)
    assert (CLOSED, (0, 1)) == (later.standing, tally(later, RULES, 131.0))
    assert len(later.slots) <= SLOTS


def opened(times: int = 1) -> tuple[Breaker, float]:
    """A breaker that opened so often in a row, and when it did last."""
    now_s = 1000.0
    breaker = after_results(Breaker(since_s=999.0), RULES, 0, 20, now_s)
    for _ in range(times - 1):
        now_s = breaker.retry_s
        breaker = after_results(after_call(breaker, RULES, now_s), RULES, 0, 1, now_s)
    return breaker, now_s


@pytest.mark.parametrize(
    ("times", "cool_s"), [(1, 5), (2, 10), (3, 20), (6, 160), (7, 300), (8, 300), (40, 300)]
)
def test_each_cool_down_is_twice_the_last_up_to_a_bound(times: int, cool_s: float) -> None:
    breaker, now_s = opened(times)

    assert (OPEN, cool_s) == (breaker.standing, breaker.retry_s - now_s)
    assert not admits(breaker, RULES, breaker.retry_s - 0.001)
    assert admits(breaker, RULES, breaker.retry_s)


def test_so_many_successful_probes_close_it() -> None:
    """Three at a time, three successes; what opened it is forgotten."""
    breaker, _ = opened()
    now_s = breaker.retry_s
    for _ in range(3):
        assert admits(breaker, RULES, now_s)
        breaker = after_call(breaker, RULES, now_s)
    assert not admits(breaker, RULES, now_s)

    breaker = after_results(breaker, RULES, 2, 0, now_s + 0.1)
    assert (HALF_OPEN, 2) == (breaker.standing, breaker.proofs)
    breaker = after_results(breaker, RULES, 1, 0, now_s + 0.1)

    assert (CLOSED, (0, 0)) == (breaker.standing, tally(breaker, RULES, now_s + 0.1))


def test_one_failed_probe_opens_it_again() -> None:
    """However many succeeded before."""
    breaker, _ = opened()
    breaker = after_call(breaker, RULES, breaker.retry_s)
    breaker = after_results(breaker, RULES, 2, 1, breaker.retry_s)

    assert (OPEN, 2) == (breaker.standing, breaker.openings)


def test_probes_that_are_lost_are_made_up_for() -> None:
    """An award that was not granted brings no word of the endpoint."""
    breaker, _ = opened()
    now_s = breaker.retry_s
    for _ in range(3):
        breaker = after_call(breaker, RULES, now_s)

    assert not admits(breaker, RULES, now_s + 4.999)
    assert admits(breaker, RULES, now_s + 5)
    assert 1 == after_call(breaker, RULES, now_s + 5).probes


@pytest.mark.parametrize(("well_s", "cool_s"), [(299.0, 20.0), (300.0, 5.0)])
def test_only_a_healthy_spell_resets_the_cool_down(well_s: float, cool_s: float) -> None:
    """An endpoint that comes and goes is left alone for longer and longer."""
    breaker, _ = opened(2)
    closed_s = breaker.retry_s
    breaker = after_results(after_call(breaker, RULES, closed_s), RULES, 3, 0, closed_s)
    now_s = closed_s + well_s

    again = after_results(breaker, RULES, 0, 20, now_s)

    assert (OPEN, cool_s) == (again.standing, again.retry_s - now_s)


def test_late_results_change_nothing_while_it_is_open() -> None:
    """They answer what was asked before."""
    breaker, now_s = opened()

    assert breaker is after_results(breaker, RULES, 50, 50, now_s + 1)


class AnyEndpoint(RuleBasedStateMachine):
    """Calls, answers and time in any order; probes may be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.breaker = Breaker()
        self.calls: list[float] = []  # admitted while not closed since the last closing
        self.shut_s: float | None = None  # since when every call was refused

    @rule(seconds=st.floats(0.0, 400.0))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def asked(self) -> None:
        if not admits(self.breaker, RULES, self.now_s):
            self.shut_s = self.now_s if self.shut_s is None else self.shut_s
            assert self.now_s - self.shut_s <= RULES.cool_max_s, "shut for ever"
            return
        self.shut_s = None
        if self.breaker.standing is not CLOSED:
            self.calls.append(self.now_s)
        self.breaker = after_call(self.breaker, RULES, self.now_s)

    @rule(good=st.integers(0, 40), bad=st.integers(0, 40))
    def results(self, good: int, bad: int) -> None:
        before = self.breaker
        self.breaker = after_results(before, RULES, good, bad, self.now_s)
        if before.standing is not OPEN and self.breaker.standing is OPEN:
            self.shut_s = None
        if before.standing is not self.breaker.standing:
            self.calls.clear()

    @precondition(lambda self: self.breaker.standing is HALF_OPEN)
    @rule()
    def a_failure_always_reopens(self) -> None:
        self.breaker = after_results(self.breaker, RULES, 0, 1, self.now_s)
        self.calls.clear()
        assert OPEN is self.breaker.standing

    @invariant()
    def probes_are_few(self) -> None:
        """Without a success, at most `probes` go out in any cool-down's time; a success lets the
        next one go, and the third closes it."""
        assert self.breaker.probes <= RULES.probes
        recent = [at for at in self.calls if at > self.now_s - RULES.cool_s]
        assert len(recent) <= 2 * RULES.probes + self.breaker.proofs

    @invariant()
    def numbers_are_bounded(self) -> None:
        assert len(self.breaker.slots) <= SLOTS
        assert self.breaker.proofs < RULES.probes
        if self.breaker.standing is OPEN:
            assert self.breaker.retry_s <= self.breaker.since_s + RULES.cool_max_s


TestAnyEndpoint = AnyEndpoint.TestCase
TestAnyEndpoint.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


@given(
    results=st.lists(st.tuples(st.floats(0.0, 4.0), st.booleans()), max_size=120),
)
@settings(deadline=None)
def test_the_window_agrees_with_a_list_of_results(results: list[tuple[float, bool]]) -> None:
    """The naive oracle: keep every result; count those of the last window, to a tenth of it."""
    never = Rules(window_s=30, results_min=10**9, open_at=1.0, cool_s=5, cool_max_s=300, probes=3)
    breaker, now_s, kept = Breaker(), 0.0, []
    for gap_s, is_good in results:
        now_s += gap_s
        kept.append((now_s, is_good))
        breaker = after_results(breaker, never, int(is_good), int(not is_good), now_s)

        oldest = int(now_s / 3) - SLOTS
        live = [good for at_s, good in kept if int(at_s / 3) > oldest]
        assert (live.count(True), live.count(False)) == tally(breaker, never, now_s)
