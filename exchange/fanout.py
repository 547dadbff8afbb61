"""Asks every eligible contract at once; exactly one result each, by the deadline.

Why not a task per buyer: ten tasks cost more than ten calls, and a TaskGroup waits for the slowest
clean-up (5.5 s against a 0.5 s deadline, measured). Here the wire calls back, and an auction has one
future and one timer. A question ends in one of three ways:

1. it is answered before its own deadline: that is its result;
2. its deadline passes: `timed_out`, and it is still read for a while;
3. it is answered in that while: the result stands, the late bid is told, counted and void.

All questions are made before the first is sent, and answers are read when the last is in: what is done
for every buyer costs a tenth less where it is done for one after the other, and not in turns with the
kernel's work, which puts all of it out of the processor's nearest cache.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, cast

from buyers.contract import Contract
from buyers.guard import Target
from buyers.messages import Bid, Missed, PingResult
from buyers.reasons import BuyerReason
from buyers.wire import Failure, InFlight, Transport

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


# Of a contract to be asked: where, with what request, and its own milliseconds, already within the
# window. Where None: the address guard does not let us go there.
Question = Callable[[Contract], tuple[Target | None, bytes, float]]
# Of a complete answer: status, body, milliseconds, the ping it should be about, and whose it is.
Read = Callable[[int, bytes, float, str, Contract], PingResult]
_Answer = tuple[int | None, bytes, Failure | None, float]  # as it came: status, body, failure, ms
_SHORT: Final = 256  # bytes of an answer that take no time worth speaking of, whatever they say
Late = Callable[[Contract, Bid, float], None]  # the contract, its void bid, milliseconds too late


async def ask_all(
    contracts: Sequence[Contract],
    question: Question,
    *,
    transport: Transport,
    ping_id: str,
    read: Read,
    broke: Callable[[Exception], None],
    late: Late,
    grace_ms: float,
) -> tuple[PingResult, ...]:
    """The results, in the order of the contracts. Returns when all are known, never later than
    the longest timeout.

    What `read` raises is told to `broke`: a fault of ours in one dialect must not cost everybody the
    auction.
    """
    if not contracts:
        return ()
    auction = _Auction(contracts, ping_id, read, broke, late, grace_ms / 1000)
    try:
        auction.send_all([question(contract) for contract in contracts], transport)
        await auction.closed
    except BaseException:  # cancelled, or a bug of ours: the calls have no deadline of their own
        auction.abandon()
        raise
    return auction.results()


class _Auction:
    """The calls under way and what is known of them."""

    __slots__ = (
        "_answers", "_began", "_broke", "_calls", "_contracts", "_due", "_grace_s", "_late", "_loop",
        "_pending", "_ping_id", "_read", "_timeouts_ms", "_timer", "closed",
    )  # fmt: skip

    def __init__(
        self,
        contracts: Sequence[Contract],
        ping_id: str,
        read: Read,
        broke: Callable[[Exception], None],
        late: Late,
        grace_s: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._contracts = contracts
        self._ping_id = ping_id
        self._read = read
        self._broke = broke
        self._late = late
        self._grace_s = grace_s
        self._began = self._loop.time()
        self._answers: list[_Answer | PingResult | None] = [None] * len(contracts)
        self._calls: list[InFlight | None] = [None] * len(contracts)
        self._pending = len(contracts)
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._timeouts_ms: list[float] = []
        self._due: list[
            int
        ] = []  # places by deadline, latest first: the next is popped from the end
        self._timer: asyncio.TimerHandle | None = None

    def send_all(
        self, questions: Sequence[tuple[Target | None, bytes, float]], transport: Transport
    ) -> None:
        send, answered, contracts = transport.send, self._answered, self._contracts
        self._timeouts_ms = timeouts_ms = [timeout_ms for _, _, timeout_ms in questions]
        self._due = sorted(range(len(timeouts_ms)), key=timeouts_ms.__getitem__, reverse=True)
        for place, (target, payload, _) in enumerate(questions):
            if target is None:
                self._miss(place, BuyerReason.ADDRESS_BLOCKED, None)
                continue
            call = send(target, payload, answered, contracts[place].slug, math.inf, place)
            if self._answers[place] is None:  # it may have been answered at once
                self._calls[place] = call
        self._arm()

    def results(self) -> tuple[PingResult, ...]:
        assert self._pending == 0, "exactly one result for each question"
        answers = cast("list[_Answer | PingResult]", self._answers)
        return tuple(self._read_all(zip(self._contracts, answers, strict=True)))

    def _read_all(self, told: Iterable[tuple[Contract, _Answer | PingResult]]) -> list[PingResult]:
        read, ping_id = self._read, self._ping_id
        results: list[PingResult] = []
        for contract, answer in told:
            if not isinstance(answer, tuple):
                results.append(answer)
                continue
            status, body, failure, elapsed_ms = answer
            if failure is not None or status is None:
                reason = missed_reason(failure or Failure.GARBLED)
                results.append(Missed(reason=reason, elapsed_ms=elapsed_ms, status=status))
                continue
            try:
                results.append(read(status, body, elapsed_ms, ping_id, contract))
            except Exception as error:  # noqa: BLE001 - told loudly; the other buyers' results stand
                self._broke(error)
                results.append(Missed(reason=BuyerReason.CALL_BROKE, elapsed_ms=elapsed_ms))
        return results

    def abandon(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for call in self._calls:
            if call is not None:
                call.abandon()

    def _answered(
        self,
        place: int,
        status: int | None,
        body: bytes,
        failure: Failure | None,
        _written: bool,
        elapsed_ms: float,
    ) -> None:
        self._calls[place] = None
        answer = status, body, failure, elapsed_ms
        if self._answers[place] is not None or len(body) > _SHORT:
            self._read_now(place, answer)
            return
        self._settle(place, answer)

    def _read_now(self, place: int, answer: _Answer) -> None:
        """A late answer, or one so long that to read it when the time is over would cost some."""
        contract = self._contracts[place]
        (result,) = self._read_all([(contract, answer)])
        if self._answers[place] is None:
            self._settle(place, result)
        elif type(result) is Bid:
            late_ms = result.elapsed_ms - self._timeouts_ms[place]
            self._late(contract, result, max(0.0, late_ms))

    def _miss(self, place: int, reason: BuyerReason, elapsed_ms: float | None) -> None:
        self._settle(place, Missed(reason=reason, elapsed_ms=elapsed_ms))

    def _settle(self, place: int, answer: _Answer | PingResult) -> None:
        self._answers[place] = answer
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
        while self._due and self._answers[self._due[-1]] is not None:
            self._due.pop()
        if self._due and self._pending:
            timeout_s = self._timeouts_ms[self._due[-1]] / 1000
            self._timer = self._loop.call_at(self._began + timeout_s, self._tick)

    def _tick(self) -> None:
        """Those whose time is over have missed; they are read on until the grace ends."""
        elapsed_ms = (self._loop.time() - self._began) * 1000
        # A timer may fire a clock tick early: whoever is due within 1 ms is due now.
        while self._due and self._timeouts_ms[self._due[-1]] <= elapsed_ms + 1:
            place = self._due.pop()
            if self._answers[place] is None:
                self._miss(place, BuyerReason.TIMED_OUT, elapsed_ms)
        self._timer = None
        self._arm()
