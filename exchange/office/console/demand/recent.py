"""What the last pings say of one contract, and how many of them a set of filters would have let in. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil
from typing import Any, Final

from exchange.eligibility import Compiled, first_failing
from exchange.erasure import ERASED

Receipt = Mapping[str, Any]
COARSE: Final = 10  # pings: what a buyer's preview is rounded down to


@dataclass(frozen=True, slots=True)
class Answered:
    """One ping as this contract had it."""

    at: datetime
    ping_id: str
    result: str  # bid, no_bid, invalid, missed, fixed, skipped
    reason: str | None
    price_micros: int | None
    ms: float | None
    won: bool
    test: bool


@dataclass(frozen=True, slots=True)
class Recent:
    """Of the last pings of the contract's vertical. Tests are listed, and counted nowhere."""

    looked: int  # pings of the vertical that were looked at
    asked: int
    bids: int
    won: int
    times_ms: tuple[float, ...]  # of those that answered, ascending
    reasons: tuple[tuple[str, int], ...]  # why it was skipped, missed or lost; most frequent first
    answers: tuple[Answered, ...]  # newest first

    def quantile_ms(self, share: float) -> float | None:
        """The least time that so many of the answers were within; None: nobody answered."""
        if not self.times_ms:
            return None
        return self.times_ms[max(0, ceil(share * len(self.times_ms)) - 1)]


def recent_of(slug: str, vertical: str, pings: Iterable[tuple[datetime, Receipt]]) -> Recent:
    """`pings` newest first, of any vertical."""
    of_vertical = [(at, one) for at, one in pings if one.get("vertical") == vertical]
    answers = [found for at, one in of_vertical if (found := _answered(slug, at, one))]
    real = [one for one in answers if not one.test]
    asked = [one for one in real if one.result in {"bid", "no_bid", "invalid", "missed"}]
    reasons = Counter(one.reason for one in real if one.reason)
    return Recent(
        looked=sum(not one.get("test") for _, one in of_vertical),
        asked=len(asked),
        bids=sum(one.result == "bid" for one in asked),
        won=sum(one.won for one in real),
        times_ms=tuple(sorted(o.ms for o in asked if o.ms is not None and o.result != "missed")),
        reasons=tuple((why.replace("_", " "), number) for why, number in reasons.most_common()),
        answers=tuple(answers),
    )


def _answered(slug: str, at: datetime, receipt: Receipt) -> Answered | None:
    """None: the version and the fields ruled the contract out, so nothing is written of it."""
    winners = [one["contract"] for one in receipt["ranking"][: receipt.get("winning", 1)]]
    found: dict[str, Any] | None = _named(receipt["asked"], slug)
    if found is None:
        offer = _named([one for one in receipt["offers"] if one.get("fixed")], slug)
        found = None if offer is None else {**offer, "result": "fixed"}
    if found is None:
        skipped = _named(receipt.get("skipped", ()), slug)
        found = None if skipped is None else {**skipped, "result": "skipped"}
    if found is None:
        return None
    return Answered(
        at=at,
        ping_id=receipt["ping_id"],
        result=found["result"],
        reason=found.get("reason"),
        price_micros=found.get("price"),
        ms=found.get("ms"),
        won=slug in winners,
        test=bool(receipt.get("test")),
    )


def _named(rows: Iterable[Mapping[str, Any]], slug: str) -> dict[str, Any] | None:
    return next((dict(one) for one in rows if one["contract"] == slug), None)


@dataclass(frozen=True, slots=True)
class Matches:
    """How many of the last pings would have passed."""

    matched: int
    looked: int
    judged_later: int  # filters that read the person: they are judged at the post
    is_coarse: bool = False

    def coarse(self) -> "Matches":
        """In tens, as buyers are told: by narrowing filters nobody shall find out what one ping said.
        Nothing is left of fewer than ten."""
        return replace(self, matched=self.matched - self.matched % COARSE, is_coarse=True)

    @property
    def words(self) -> str:
        if not self.looked:
            return "No ping of this vertical came lately: nothing to compare with."
        later = (
            f" {self.judged_later} of the conditions read the person and are judged at the post."
            if self.judged_later
            else ""
        )
        count = str(self.matched)
        if self.is_coarse:
            count = f"at least {self.matched}" if self.matched else f"fewer than {COARSE}"
        return f"Matches {count} of the last {self.looked} pings of this vertical.{later}"


def matches(
    vertical: str,
    filters: Sequence[Compiled],
    known: frozenset[str],
    pings: Iterable[tuple[datetime, Receipt]],
) -> Matches:
    """`known`: the fields that a ping has; a filter that reads another one is left to the post."""
    fields = [
        one["fields"]
        for _, one in pings
        if one.get("vertical") == vertical and not one.get("test") and not one.get(ERASED)
    ]
    matched = sum(first_failing(filters, one, known.__contains__) is None for one in fields)
    later = sum(not all(map(known.__contains__, one.fields)) for one in filters)
    return Matches(matched, len(fields), later)
