"""Asks every eligible contract at once; exactly one result each, by the deadline.

Why not a task per buyer: ten tasks cost more than ten calls, and a TaskGroup waits for the slowest
clean-up (5.5 s against a 0.5 s deadline, measured). Here the wire calls back, and an auction has one
future and one timer. A question ends in one of three ways:

1. it is answered before its own deadline: that is its result;
2. its deadline passes: `timed_out`, and it is still read for a while;
3. it is answered in that while: the result stands, the late bid is told, counted and void.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from buyers.contract import Contract
from buyers.guard import Target
from buyers.messages import Bid, Missed, PingResult
from buyers.reasons import BuyerReason
from buyers.value import maker, value
from buyers.wire import Failure, InFlight, Reply, Transport

_MISSED = {
    Failure.TIMED_OUT: BuyerReason.TIMED_OUT,
    Failure.UNREACHABLE: BuyerReason.UNREACHABLE,
    Failure.DNS: BuyerReason.DNS_FAILED,
    Failure.TLS: BuyerReason.TLS_FAILED,
    Failure.BLOCKED: BuyerReason.ADDRESS_BLOCKED,
    Failure.RESET: BuyerReason.CONNECTION_RESET,
    Failure.GARBLED: BuyerReason.GARBLED,
    Failure.OVERSIZED: BuyerReason.OVERSIZED,
    Failure.POOL_FULL: BuyerReason.POOL_FULL,
    Failure.CANCELLED: BuyerReason.TIMED_OUT,
}


def missed_reason(failure: Failure) -> BuyerReason:
    return _MISSED[failure]


@value
class Question:
    """One contract to be asked; target None: the address guard does not let us go there."""

    contract: Contract
    target: Target | None
    payload: bytes
    timeout_ms: float  # its own, already within the window


make_question = maker(Question)
Read = Callable[[Contract, Reply], PingResult]
Late = Callable[[Contract, Bid, float], None]  # the contract, its void bid, milliseconds too late


async def ask_all(
    questions: Sequence[Question],
    *,
    transport: Transport,
    read: Read,
    late: Late,
    grace_ms: float,
) -> tuple[PingResult, ...]:
    """The results, in the order of the questions. Returns when all are known, never later than
    the longest timeout."""
    if not questions:
        return ()
    auction = _Auction(questions, read, late, grace_ms / 1000)
    try:
        auction.send_all(transport)
        await auction.closed
    except BaseException:  # cancelled, or a bug of ours: the calls have no deadline of their own
        auction.abandon()
        raise
    return auction.results()


class _Auction:
    """The calls under way and what is known of them."""

    def __init__(
        self,
        questions: Sequence[Question],
        read: Read,
        late: Late,
        grace_s: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._questions = questions
        self._read = read
        self._late = late
        self._grace_s = grace_s
        self._began = self._loop.time()
        self._results: list[PingResult | None] = [None] * len(questions)
        self._calls: list[InFlight | None] = [None] * len(questions)
        self._pending = len(questions)
        self.closed: asyncio.Future[None] = self._loop.create_future()
        # Places by deadline, latest first: the next one due is popped from the end.
        timeouts = [question.timeout_ms for question in questions]
        self._due = sorted(range(len(questions)), key=timeouts.__getitem__, reverse=True)
        self._timer: asyncio.TimerHandle | None = None

    def send_all(self, transport: Transport) -> None:
        for place, question in enumerate(self._questions):
            self._send(place, question, transport)
        self._arm()

    def results(self) -> tuple[PingResult, ...]:
        assert self._pending == 0, "exactly one result for each question"
        return tuple(cast("list[PingResult]", self._results))

    def abandon(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for call in self._calls:
            if call is not None:
                call.abandon()

    def _send(self, place: int, question: Question, transport: Transport) -> None:
        if question.target is None:
            self._settle(place, Missed(reason=BuyerReason.ADDRESS_BLOCKED, elapsed_ms=None))
            return
        call = transport.send(
            question.target,
            question.payload,
            partial(self._answered, place),
            pool=question.contract.slug,
            deadline=math.inf,
        )
        if self._results[place] is None:  # it may have been answered at once
            self._calls[place] = call

    def _answered(self, place: int, reply: Reply) -> None:
        self._calls[place] = None
        contract = self._questions[place].contract
        result = self._read(contract, reply)
        if self._results[place] is None:
            self._settle(place, result)
        elif type(result) is Bid:
            late_ms = reply.elapsed_ms - self._questions[place].timeout_ms
            self._late(contract, result, max(0.0, late_ms))

    def _settle(self, place: int, result: PingResult) -> None:
        self._results[place] = result
        self._pending -= 1
        if self._pending == 0:
            self._close()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.closed.done():
            self.closed.set_result(None)
        if self._calls.count(None) < len(self._calls):
            self._loop.call_later(self._grace_s, self.abandon)

    def _arm(self) -> None:
        """Set the one timer to the next question that is not answered yet."""
        while self._due and self._results[self._due[-1]] is not None:
            self._due.pop()
        if self._due and self._pending:
            timeout_s = self._questions[self._due[-1]].timeout_ms / 1000
            self._timer = self._loop.call_at(self._began + timeout_s, self._tick)

    def _tick(self) -> None:
        """Those whose time is over have missed; they are read on until the grace ends."""
        elapsed_ms = (self._loop.time() - self._began) * 1000
        # A timer may fire a clock tick early: whoever is due within 1 ms is due now.
        while self._due and self._questions[self._due[-1]].timeout_ms <= elapsed_ms + 1:
            place = self._due.pop()
            if self._results[place] is None:
                self._settle(place, Missed(reason=BuyerReason.TIMED_OUT, elapsed_ms=elapsed_ms))
        self._timer = None
        self._arm()
