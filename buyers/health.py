"""A breaker for one endpoint: one that fails is left alone for a while, then tried with a few calls.

    closed ──── too many of the last results are failures ───▶ open
    open ────── its cool-down is over ───────────────────────▶ half_open
    half_open ─ so many successes ───────────────────────────▶ closed
    half_open ─ one failure ─────────────────────────────────▶ open, for twice as long

Which result counts as what:

1. any answer that can be read is a success: a bid, a no-bid, a bid that is unusable, a lead rejected;
2. no answer, half an answer, an unreadable or oversized one, a 5xx or any other unexpected status is
   a failure; an answer that drips in until the deadline is `timed_out` like any other silence;
3. a 429 says that the endpoint works and is asked too fast: no failure here, one in the throttle;
4. what is our doing (address guard, full pool, a bug, too little time given) counts as nothing.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from buyers.messages import Accepted, Missed, NotSent, PingResult, PostResult, Rejected
from buyers.reasons import BuyerReason

SLOTS: Final = 10  # parts of the window: a result leaves it a tenth of a window early at most
_OURS: Final = frozenset(
    {
        BuyerReason.ADDRESS_BLOCKED,
        BuyerReason.POOL_FULL,
        BuyerReason.CALL_BROKE,
        BuyerReason.TOO_LATE,
        BuyerReason.INTERRUPTED,
    }
)
_TOO_MANY: Final = 429
_SHORT: Final = 0.9  # with less than this part of the usual time, silence says nothing of a buyer
_STALLED_MS: Final = 50.0  # a timer that fires so late was held up by us, and so was the reading


class Sign(StrEnum):
    """What one result says of the endpoint."""

    GOOD = "good"
    HURRIED = "hurried"  # 429: it works, and is asked too fast
    BAD = "bad"
    NOTHING = "nothing"


class Standing(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When a breaker opens and how it is tried; the same for every endpoint."""

    window_s: float  # results older than this are forgotten
    results_min: int  # with fewer results in the window nothing is concluded
    open_at: float  # 0 to 1: opens at this share of failures
    spread_min: int = 1  # in so many tenths of the window there must be failures
    cool_s: float  # the first cool-down; each further one is twice as long
    cool_max_s: float  # and never longer than this
    probes: int  # half-open: calls at a time, and successes that close it


class Slot(NamedTuple):
    """The results of one tenth of a window."""

    number: int
    good: int
    bad: int


class Breaker(NamedTuple):
    """One endpoint's breaker. Seconds are of the clock that `now_s` is of."""

    standing: Standing = Standing.CLOSED
    since_s: float = 0.0
    retry_s: float = 0.0  # open: when it may be tried; half-open: when lost probes are made up for
    openings: int = 0  # without a healthy spell between them: each doubles the cool-down
    probes: int = 0  # half-open: calls let through and not heard of
    proofs: int = 0  # half-open: successes so far
    slots: tuple[Slot, ...] = ()  # newest first; while open, what opened it


def judge_ping(result: PingResult, *, given_ms: float, usual_ms: float) -> Sign:
    """What a ping's result says. `given_ms` is the time this buyer had, `usual_ms` what he has when
    the seller is in no hurry: a seller who hurries must not make buyers look dead."""
    if not isinstance(result, Missed):
        return Sign.GOOD
    if result.reason in _OURS:
        return Sign.NOTHING
    if result.status == _TOO_MANY:
        return Sign.HURRIED
    if result.reason is BuyerReason.TIMED_OUT:
        stalled = result.elapsed_ms is not None and result.elapsed_ms > given_ms + _STALLED_MS
        if stalled or given_ms < usual_ms * _SHORT:
            return Sign.NOTHING
    return Sign.BAD


def judge_post(result: PostResult) -> Sign:
    """What a delivery says: any definite word is a success, whether the lead was taken or not."""
    if isinstance(result, Accepted):
        return Sign.GOOD
    if isinstance(result, Rejected):
        return Sign.HURRIED if result.note == str(_TOO_MANY) else Sign.GOOD
    if result.reason in _OURS:
        return Sign.NOTHING
    if not isinstance(result, NotSent) and result.status == _TOO_MANY:
        return Sign.HURRIED
    return Sign.BAD


def admits(breaker: Breaker, rules: Rules, now_s: float) -> bool:
    """Whether a call may go out now. Open and half-open alike let one through when `retry_s` is
    past, so that no breaker stays shut for ever, whatever becomes of its probes."""
    if breaker.standing is Standing.CLOSED or now_s >= breaker.retry_s:
        return True
    return breaker.standing is Standing.HALF_OPEN and breaker.probes < rules.probes


def after_call(breaker: Breaker, rules: Rules, now_s: float) -> Breaker:
    """A call that was admitted goes out. In a half-open breaker it is a probe; those that are not
    heard of within a cool-down are given up, and as many may go out again."""
    match breaker.standing:
        case Standing.CLOSED:
            return breaker
        case Standing.OPEN:
            return breaker._replace(
                standing=Standing.HALF_OPEN, since_s=now_s, retry_s=now_s + rules.cool_s,
                probes=1, proofs=0,
            )  # fmt: skip
        case Standing.HALF_OPEN if now_s >= breaker.retry_s:
            return breaker._replace(retry_s=now_s + rules.cool_s, probes=1)
        case Standing.HALF_OPEN:
            return breaker._replace(probes=breaker.probes + 1)


def after_results(breaker: Breaker, rules: Rules, good: int, bad: int, now_s: float) -> Breaker:
    """So many successes, then so many failures came in. While open they change nothing: they answer
    what was asked before."""
    match breaker.standing:
        case Standing.OPEN:
            return breaker
        case Standing.HALF_OPEN:
            return _tried(breaker, rules, good, bad, now_s)
        case Standing.CLOSED:
            counted = breaker._replace(slots=_counted(breaker.slots, rules, good, bad, now_s))
            goods, bads = tally(counted, rules, now_s)
            results = goods + bads
            enough = results >= rules.results_min and bads >= rules.open_at * results
            if bad and enough and _spread(counted, rules, now_s) >= rules.spread_min:
                return _opened(counted, rules, now_s)
            return counted


def tally(breaker: Breaker, rules: Rules, now_s: float) -> tuple[int, int]:
    """Successes and failures within the window; of an open breaker those that opened it."""
    live = _live(breaker, rules, now_s)
    return sum(slot.good for slot in live), sum(slot.bad for slot in live)


def _spread(breaker: Breaker, rules: Rules, now_s: float) -> int:
    """In how many tenths of the window there was a failure. A burst that is too much for us, or for
    the buyer, fails hundreds of calls within a second and says nothing of the next minute."""
    return sum(slot.bad > 0 for slot in _live(breaker, rules, now_s))


def _live(breaker: Breaker, rules: Rules, now_s: float) -> list[Slot]:
    closed = breaker.standing is Standing.CLOSED
    oldest = _number(rules, now_s) - SLOTS if closed else -1
    return [slot for slot in breaker.slots if slot.number > oldest]


def _tried(breaker: Breaker, rules: Rules, good: int, bad: int, now_s: float) -> Breaker:
    if bad:
        return _opened(breaker, rules, now_s)
    proofs = breaker.proofs + good
    if proofs >= rules.probes:
        # The failures that opened it are history; how often it opened is not, for a while.
        return Breaker(since_s=now_s, openings=breaker.openings)
    return breaker._replace(proofs=proofs, probes=max(0, breaker.probes - good))


def _opened(breaker: Breaker, rules: Rules, now_s: float) -> Breaker:
    """Open for twice as long as the last time, unless it had been well for the longest cool-down."""
    was_well = breaker.standing is Standing.CLOSED and now_s - breaker.since_s >= rules.cool_max_s
    openings = 1 if was_well else breaker.openings + 1
    cool_s = min(rules.cool_max_s, rules.cool_s * 2.0 ** min(openings - 1, 30))
    return breaker._replace(
        standing=Standing.OPEN, since_s=now_s, retry_s=now_s + cool_s, openings=openings,
        probes=0, proofs=0,
    )  # fmt: skip


def _counted(
    slots: tuple[Slot, ...], rules: Rules, good: int, bad: int, now_s: float
) -> tuple[Slot, ...]:
    number = _number(rules, now_s)
    if slots and slots[0].number >= number:
        newest, older = slots[0], slots[1:]
        return (Slot(newest.number, newest.good + good, newest.bad + bad), *older)
    live = [slot for slot in slots if slot.number > number - SLOTS]
    return (Slot(number, good, bad), *live)


def _number(rules: Rules, now_s: float) -> int:
    return int(now_s * SLOTS / rules.window_s)
