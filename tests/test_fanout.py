"""The fan-out in simulated time: exact milliseconds, exactly one result each, nothing left behind."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buyers.contract import Contract
from buyers.dialects import standard_v1
from buyers.guard import Target
from buyers.messages import Bid, Invalid, Missed, NoBid, PingResult
from buyers.reasons import BuyerReason
from buyers.wire import Failure
from exchange.fanout import Question, ask_all, missed_reason
from tests.making import a_contract
from tests.virtual import Deadlock, Says, ScriptedTransport, now_ms, pass_ms, run

TARGET: Any = Target.__new__(Target)  # the script does not look at it
WINDOW_MS = 500
GRACE_MS = 500


def bids(after_ms: float, dollars: int = 5) -> Says:
    return Says(after_ms, body=b'{"bid":%d}' % dollars)


def declines(after_ms: float) -> Says:
    return Says(after_ms, status=204)


def fails(after_ms: float, failure: Failure) -> Says:
    return Says(after_ms, status=None, failure=failure)


SILENT = Says(None)


@dataclass
class Outcome:
    """What came of one auction."""

    results: tuple[PingResult, ...]
    closed_ms: float
    transport: ScriptedTransport
    late: list[tuple[str, float]] = field(default_factory=list)  # (contract, ms too late)
    broke: list[Exception] = field(default_factory=list)

    def words(self) -> list[str]:
        return [
            str(result.reason) if isinstance(result, Missed | Invalid) else type(result).__name__
            for result in self.results
        ]

    def abandoned(self) -> dict[str, float]:
        return {
            slug: call.abandoned_ms
            for slug, call in self.transport.calls.items()
            if call.abandoned_ms is not None
        }


def asked(*rows: tuple[Any, ...], blocked: Sequence[str] = ()) -> tuple[list[Contract], Question]:
    """The contracts to ask, and their questions: rows of (who, …, its own timeout if it has one)."""
    timeouts = {row[0]: row[2] if len(row) > 2 else WINDOW_MS for row in rows}

    def question(contract: Contract) -> tuple[Target | None, bytes, float]:
        slug = contract.slug
        return None if slug in blocked else TARGET, slug.encode(), timeouts[slug]

    return [a_contract(row[0]) for row in rows], question


def auction(
    *rows: tuple[str, Says] | tuple[str, Says, float],
    grace_ms: float = GRACE_MS,
    read_by: Any = standard_v1.read_bid,
    blocked: Sequence[str] = (),
) -> Outcome:
    """Rows of (who, what it does, its own timeout if shorter than the window)."""

    async def hold() -> Outcome:
        outcome = Outcome((), 0, ScriptedTransport({row[0]: row[1] for row in rows}))
        outcome.results = await ask_all(
            *asked(*rows, blocked=blocked),
            transport=outcome.transport,
            ping_id="ping_1",
            read=read_by,
            broke=outcome.broke.append,
            late=lambda contract, _bid, ms: outcome.late.append((contract.slug, round(ms, 6))),
            grace_ms=grace_ms,
        )
        outcome.closed_ms = now_ms()
        await pass_ms(2 * WINDOW_MS + grace_ms)
        return outcome

    outcome = run(hold())
    assert len(rows) == len(outcome.results), "exactly one result each"
    for call in outcome.transport.calls.values():
        assert call.answered_ms is not None or call.abandoned_ms is not None, "nothing left open"
    return outcome


def test_a_silent_buyer_costs_the_window_and_no_more() -> None:
    """The auction closes at the window with the bids it has."""
    outcome = auction(("ann", bids(120)), ("bob", SILENT))

    assert 500 == outcome.closed_ms
    assert ["Bid", "timed_out"] == outcome.words()


def test_an_auction_closes_with_the_last_answer() -> None:
    """Nobody waits for the window when everyone has answered."""
    outcome = auction(("ann", bids(120)), ("bob", declines(180)), ("cyd", bids(90)))

    assert 180 == outcome.closed_ms
    assert ["Bid", "NoBid", "Bid"] == outcome.words()
    assert {} == outcome.abandoned()


def test_a_failure_is_an_answer() -> None:
    """A refused connection is known at once and is not waited for."""
    outcome = auction(
        ("ann", fails(3, Failure.UNREACHABLE)),
        ("bob", fails(7, Failure.OVERSIZED)),
        ("cyd", Says(5, body=b"<html>")),
        ("dan", Says(6, status=500)),
    )

    assert 7 == outcome.closed_ms
    assert ["unreachable", "oversized", "garbled", "buyer_http_error"] == outcome.words()


def test_every_failure_of_the_wire_has_its_reason() -> None:
    """None is forgotten, and only a call that we ended ourselves shares a reason."""
    reasons = {failure: missed_reason(failure) for failure in Failure}

    assert len(reasons) - 1 == len(set(reasons.values()))
    assert BuyerReason.TIMED_OUT == reasons[Failure.CANCELLED]


def test_a_buyers_own_timeout_ends_its_turn_before_the_window() -> None:
    """Bob's 100 ms are over; the auction goes on for ann, and bob's answer is void."""
    outcome = auction(("ann", bids(300)), ("bob", bids(150), 100))

    assert 300 == outcome.closed_ms
    assert ["Bid", "timed_out"] == outcome.words()
    assert [("bob", 50)] == outcome.late


def test_the_longest_timeout_is_the_latest_close() -> None:
    """With nobody else left to wait for, the window is not sat out."""
    outcome = auction(("ann", SILENT, 200), ("bob", SILENT, 100), ("cyd", SILENT, 150))

    assert 200 == outcome.closed_ms
    assert ["timed_out"] * 3 == outcome.words()
    assert [200, 100, 150] == [round(result.elapsed_ms or 0, 6) for result in outcome.results]


def test_a_bid_within_the_grace_is_told_and_void() -> None:
    """It comes 80 ms after the close, is counted, and changes nothing."""
    outcome = auction(("ann", bids(120)), ("bob", bids(580, 99)))

    assert 500 == outcome.closed_ms
    assert ["Bid", "timed_out"] == outcome.words()
    assert [("bob", 80)] == outcome.late
    assert {} == outcome.abandoned()


def test_a_late_no_bid_is_not_told() -> None:
    """Only a void bid is worth a note: it shows what a longer window would earn."""
    outcome = auction(("ann", bids(120)), ("bob", declines(580)), ("cyd", Says(590, status=500)))

    assert [] == outcome.late
    assert {} == outcome.abandoned()


def test_a_call_is_abandoned_when_the_grace_ends() -> None:
    """500 ms after the close the connection is given up; a bid at 1,001 ms is never read."""
    outcome = auction(("ann", bids(120)), ("bob", bids(1001)), ("cyd", SILENT))

    assert {"bob": 1000, "cyd": 1000} == outcome.abandoned()
    assert [] == outcome.late


def test_the_grace_runs_from_the_close_not_from_each_timeout() -> None:
    """Bob's turn ended at 100 ms, the auction at 300: bob is read until 800."""
    outcome = auction(("ann", bids(300)), ("bob", SILENT, 100))

    assert {"bob": 800} == outcome.abandoned()


def test_without_grace_the_calls_end_with_the_auction() -> None:
    """late_grace_ms may be 0."""
    outcome = auction(("ann", bids(120)), ("bob", bids(510)), grace_ms=0)

    assert {"bob": 500} == outcome.abandoned()
    assert [] == outcome.late


def test_results_stand_in_the_order_of_the_questions() -> None:
    """Whoever answers first."""
    outcome = auction(("ann", bids(300, 1)), ("bob", bids(100, 2)), ("cyd", bids(200, 3)))

    prices = [result.price_micros for result in outcome.results if isinstance(result, Bid)]
    assert [1_000_000, 2_000_000, 3_000_000] == prices


def test_an_endpoint_that_may_not_be_called_is_missed_and_never_sent() -> None:
    """The guard said no: no call, no elapsed time, and nobody waits."""
    outcome = auction(("ann", SILENT), ("bob", bids(40)), blocked=["ann"])

    assert 40 == outcome.closed_ms
    assert Missed(reason=BuyerReason.ADDRESS_BLOCKED, elapsed_ms=None) == outcome.results[0]
    assert ["bob"] == list(outcome.transport.calls)


def test_no_questions_are_answered_at_once() -> None:
    """Nobody eligible, nothing to wait for."""
    assert (0, ()) == (auction().closed_ms, auction().results)


def test_everybody_blocked_is_answered_at_once() -> None:
    """No timer is set for calls that were never sent."""
    outcome = auction(("ann", SILENT), ("bob", SILENT), blocked=["ann", "bob"])

    assert (0, ["address_blocked"] * 2) == (outcome.closed_ms, outcome.words())


def test_an_answer_within_send_counts() -> None:
    """A full pool answers before `send` returns; the auction neither hangs nor counts it twice."""
    full = fails(0, Failure.POOL_FULL)
    outcome = auction(("ann", full), ("bob", bids(30)), ("cyd", full))

    assert (30, ["pool_full", "Bid", "pool_full"]) == (outcome.closed_ms, outcome.words())
    only = auction(("ann", full), ("bob", full))
    assert (0, ["pool_full"] * 2) == (only.closed_ms, only.words())


def test_each_buyer_gets_its_own_payload() -> None:
    """Nobody reads another buyer's question."""
    outcome = auction(("ann", bids(1)), ("bob", bids(1)))

    assert {"ann": b"ann", "bob": b"bob"} == outcome.transport.payloads


def test_a_fault_of_ours_in_one_reading_costs_that_bid_only() -> None:
    """It is `call_broke`, and told loudly; a late answer that breaks costs nothing at all."""

    def reads(*answer: Any) -> PingResult:
        if answer[-1].slug in {"bob", "dan"}:
            raise ZeroDivisionError
        return standard_v1.read_bid(*answer)

    outcome = auction(("ann", bids(120)), ("bob", bids(90)), ("dan", bids(110), 100), read_by=reads)

    assert (120, ["Bid", "call_broke", "timed_out"]) == (outcome.closed_ms, outcome.words())
    assert [ZeroDivisionError] * 2 == [type(error) for error in outcome.broke]
    assert [] == outcome.late


def test_answers_are_read_together_and_long_ones_as_they_come() -> None:
    """When the time is over nothing is left to read that takes any."""
    read_ms: dict[str, float] = {}

    def reads(*answer: Any) -> PingResult:
        read_ms[answer[-1].slug] = now_ms()
        return standard_v1.read_bid(*answer)

    long = Says(90, body=b'{"bid":5,"bid_id":"%b"}' % (b"x" * 2000))
    outcome = auction(("ann", bids(20)), ("bob", long), ("cyd", bids(120)), read_by=reads)

    assert {"ann": 120, "bob": 90, "cyd": 120} == read_ms
    assert (120, ["Bid", "garbled", "Bid"]) == (outcome.closed_ms, outcome.words())


def test_a_cancelled_auction_abandons_every_call() -> None:
    """Nothing is read for nobody, and the timer does not fire later."""

    async def hold() -> dict[str, float | None]:
        transport = ScriptedTransport({"ann": bids(120), "bob": SILENT, "cyd": bids(300)})
        asking = asyncio.ensure_future(
            ask_all(
                *asked(*[(slug,) for slug in transport.script]),
                transport=transport,
                ping_id="ping_1",
                read=standard_v1.read_bid,
                broke=lambda _error: pytest.fail("nothing broke"),
                late=lambda *_: pytest.fail("nobody is late"),
                grace_ms=GRACE_MS,
            )
        )
        await pass_ms(200)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await pass_ms(2000)
        return {slug: call.abandoned_ms for slug, call in transport.calls.items()}

    assert {"ann": None, "bob": 200, "cyd": 200} == run(hold())


def test_a_transport_that_raises_leaves_no_call_behind() -> None:
    """A bug of ours ends the auction, and the calls already sent, which have no deadline."""

    class Breaks(ScriptedTransport):
        def send(self, *args: Any, **more: Any) -> Any:
            if "bob" in args:
                raise ZeroDivisionError
            return super().send(*args, **more)

    async def hold() -> float | None:
        transport = Breaks({"ann": SILENT})
        with pytest.raises(ZeroDivisionError):
            await ask_all(
                *asked(("ann",), ("bob",)),
                transport=transport,
                ping_id="ping_1",
                read=standard_v1.read_bid,
                broke=lambda _error: pytest.fail("nothing broke"),
                late=lambda *_: None,
                grace_ms=GRACE_MS,
            )
        return transport.calls["ann"].abandoned_ms

    assert 0 == run(hold())


def test_the_virtual_clock_tells_a_deadlock() -> None:
    """What would hang for ever fails at once."""

    async def hang() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock):
        run(hang())


moments = st.sampled_from([0, 1, 50, 99, 100, 200, 350, 480, 620, 910, 1400])
behaviours = st.one_of(
    st.just(SILENT),
    st.builds(bids, moments),
    st.builds(declines, moments),
    st.builds(fails, moments, st.sampled_from(list(Failure))),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(behaviours, st.sampled_from([75, 150, 400, 500])), max_size=6))
def test_any_market_closes_when_the_last_is_known(rows: list[tuple[Says, float]]) -> None:
    """At each one's answer or timeout, whichever is first; results and late bids follow."""
    outcome = auction(*((f"b{n}", says, timeout) for n, (says, timeout) in enumerate(rows)))

    never = float("inf")
    answers = [never if says.after_ms is None else says.after_ms for says, _ in rows]
    known = [min(at, timeout) for at, (_, timeout) in zip(answers, rows, strict=True)]
    closed_ms = max(known, default=0)
    assert closed_ms == outcome.closed_ms
    for n, (says, timeout) in enumerate(rows):
        result, in_time = outcome.results[n], answers[n] < timeout
        is_bid = says.status == 200
        assert in_time == (result.elapsed_ms == answers[n]), result
        assert isinstance(result, Bid) is (in_time and is_bid)
        assert isinstance(result, NoBid) is (in_time and says.status == 204)
        is_late = is_bid and timeout < answers[n] < closed_ms + GRACE_MS
        assert is_late is ((f"b{n}", answers[n] - timeout) in outcome.late)
    given_up = [f"b{n}" for n, at in enumerate(answers) if at > closed_ms + GRACE_MS]
    assert dict.fromkeys(given_up, closed_ms + GRACE_MS) == outcome.abandoned()
