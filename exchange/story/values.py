"""A ping and its lead as one value, and its parts. Money is micros."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from exchange.reasons import REASONS
from exchange.store.rows import AttemptState, CallbackRow, ErasureRow, ReturnRow

Record = Mapping[str, Any]


class Fate(StrEnum):
    """What an auction held for one contract, the best first."""

    WON = "won"
    OUTBID = "outbid"
    BELOW_FLOOR = "below_floor"
    INVALID = "invalid"
    NO_BID = "no_bid"
    MISSED = "missed"
    SKIPPED = "skipped"

    @property
    def has_bid(self) -> bool:
        return self in {Fate.WON, Fate.OUTBID, Fate.BELOW_FLOOR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One contract and what the auction held for it. Money is micros; None: not known, or not told."""

    contract: str
    fate: Fate
    buyer: str | None = None
    version: int | None = None  # of the contract that was asked
    is_fixed: bool = False  # stood with its price: nobody was asked
    ms: float | None = None  # from the sending to the answer
    limit_ms: float | None = None  # its own time, if it was shorter than the window
    bid_micros: int | None = None
    rank_micros: int | None = None  # what it was ranked by: the bid after its adjustment
    rank: int | None = None  # 1 is the best
    pay_micros: int | None = None
    net_micros: int | None = None  # what the seller would get
    reason: str | None = None
    detail: str | None = None  # the condition that failed, the buyer's own words, the HTTP status
    late_ms: int | None = None  # a bid that came so long after the end of its time: void
    late_micros: int | None = None

    @property
    def is_asked(self) -> bool:
        return self.fate is not Fate.SKIPPED and not self.is_fixed

    @property
    def is_as_bid(self) -> bool:
        """Nothing was adjusted."""
        return self.rank_micros == self.bid_micros

    @property
    def why(self) -> str:
        """A sentence; empty for who won."""
        return in_words(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One post of the lead: what was promised, what was said, how it stands."""

    number: int  # in the order of the awards, from 1
    id: UUID
    state: AttemptState
    contract: str | None  # None: not told to a seller
    buyer: str | None
    tier: str | None
    price_micros: int | None
    payout_micros: int | None
    version: int | None = None
    bid_id: str | None = None
    slot: int = 0
    shares: int = 1
    tries: int = 0
    began_at: datetime | None = None  # None: a test's, which the books do not know
    settled_at: datetime | None = None
    next_try_at: datetime | None = None
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str | None:
        return self.said.get("reason")

    @property
    def took_ms(self) -> float | None:
        """From the intent to the booking; for a test what its answer took."""
        if self.began_at is None or self.settled_at is None:
            return self.said.get("elapsed_ms")
        return (self.settled_at - self.began_at) / timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """A transfer, with what each account has gained or lost by this lead so far."""

    kind: str
    at: datetime
    amount_micros: int
    debit: str  # from; as "acme available", "house margin"
    credit: str
    debit_micros: int  # running effect of this lead on the account
    credit_micros: int
    attempt: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    at: datetime
    name: str
    detail: str = ""
    gap_ms: float = 0.0  # since the one before


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """What only the books know. Empty for a store that keeps none of it."""

    buyers: Mapping[UUID, str] = field(default_factory=dict)  # of attempts
    next_tries: Mapping[UUID, datetime | None] = field(default_factory=dict)
    transfers: Sequence[Record] = ()
    returns: Sequence[ReturnRow] = ()
    limits: Mapping[tuple[str, int], int] = field(
        default_factory=dict
    )  # of contracts' versions, ms
    erasure: ErasureRow | None = None
    callback: CallbackRow | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Everything there is to tell. Money is micros; what a viewer may not see is None or empty."""

    ping_id: str
    vertical: str
    currency: str
    test: bool
    seller: str | None
    catalogue: int | None
    one_step: bool
    received_at: datetime
    expires_at: datetime
    window_ms: float
    elapsed_ms: float
    floor_micros: int | None
    sub_id: str | None
    external_id: str | None
    fields: Mapping[str, Any]  # of the ping
    ping_answer: Mapping[str, Any]
    asked: int
    answered: int
    bids: int
    contenders: tuple[Contender, ...]  # the best first, those skipped last
    lead_id: str | None = None
    state: str | None = None  # of the lead
    reason: str | None = None  # why it is unsold
    min_price_micros: int | None = None
    created_at: datetime | None = None
    closed_at: datetime | None = None
    answer: Mapping[str, Any] | None = None  # what the seller was told
    deliveries: tuple[Delivery, ...] = ()
    skipped: tuple[Contender, ...] = ()  # at the post
    movements: tuple[Movement, ...] = ()
    returns: tuple[ReturnRow, ...] = ()
    erasure: ErasureRow | None = None  # None: nobody asked for it
    callback: CallbackRow | None = None  # None: none was ever owed, or it is forgotten
    events: tuple[Event, ...] = ()

    @property
    def sold(self) -> tuple[Delivery, ...]:
        return tuple(one for one in self.deliveries if one.state is AttemptState.ACCEPTED)

    @property
    def price_micros(self) -> int | None:
        """What its buyers pay; None when nobody bought it, or the viewer may not know."""
        return _sum(one.price_micros for one in self.sold)

    @property
    def payout_micros(self) -> int | None:
        return _sum(one.payout_micros for one in self.sold)

    @property
    def margin_micros(self) -> int | None:
        price, payout = self.price_micros, self.payout_micros
        return None if price is None or payout is None else price - payout

    @property
    def outcome(self) -> str:
        """Of the lead; of a ping that was not posted what its seller was told."""
        if self.state == "open":
            return "pending"
        return self.state or str(self.ping_answer.get("outcome", "no_bid"))

    @property
    def why_not(self) -> str | None:
        return self.reason if self.lead_id else self.ping_answer.get("reason")


def _sum(amounts: Iterable[int | None]) -> int | None:
    known = [one for one in amounts if one is not None]
    return sum(known) if known else None


def heard_of(one: CallbackRow) -> str:
    """What was heard of the last try of a callback; empty before the first."""
    if one.last_at is None:
        return ""
    said = (
        f"HTTP {one.last_status}" if one.last_status else (one.last_reason or "").replace("_", " ")
    )
    return f"{said}, try {one.tries}" if one.tries else said


def in_words(reason: str | None) -> str:
    """The catalogue's sentence of a reason; the reason itself if the catalogue has lost it."""
    if reason is None:
        return ""
    return REASONS[reason].text if reason in REASONS else reason
