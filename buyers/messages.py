"""The words on the wire between the exchange and one buyer, as values."""

from dataclasses import dataclass
from typing import Any

import orjson

from buyers.reasons import BuyerReason
from buyers.value import maker, value


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """The question, alike for everyone asked: it holds no personal data."""

    ping_id: str
    vertical: str
    sub_id: str | None
    bid_valid_s: int  # how long the seller may take to post
    test: bool
    fields: dict[str, Any] | orjson.Fragment  # ping-stage fields only, or their JSON


@value(kw_only=False)
class Bid:
    """The buyer would pay this for the lead."""

    price_micros: int
    elapsed_ms: float
    bid_id: str | None = None  # the buyer's own name for it, sent back in the post
    expires_in_s: int | None = None  # None: as long as the quote


@value
class NoBid:
    """The buyer does not want this lead."""

    note: str | None = None  # the buyer's own words, at most 200 characters
    elapsed_ms: float


@value
class Invalid:
    """The buyer bid, and the bid cannot be used."""

    reason: BuyerReason
    elapsed_ms: float


@value
class Missed:
    """Nobody answered, or nothing that could be read. elapsed_ms None: it was never sent."""

    reason: BuyerReason
    elapsed_ms: float | None
    status: int | None = None  # the HTTP status, where one was read


PingResult = Bid | NoBid | Invalid | Missed
make_bid = maker(Bid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One delivery of a full lead. This is the only message that holds a person."""

    attempt_id: str  # the webhook-id, the same in every re-send
    lead_id: str
    ping_id: str
    bid_id: str | None
    price_micros: int
    currency: str
    exclusive: bool  # nobody else gets the lead
    shares: int  # else: at most so many buyers get it, this one included
    test: bool
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The buyer has the lead and owes the price."""

    buyer_ref: str | None = None
    redirect_url: str | None = None
    price_said_micros: int | None = None  # a price in the answer that differs from the booking
    reason: BuyerReason | None = None  # who told us, where it was not the post's answer
    elapsed_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The buyer definitely does not take the lead."""

    reason: BuyerReason
    note: str | None = None  # the buyer's own words, at most 200 characters
    elapsed_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unconfirmed:
    """The lead may have arrived and nothing definite was said: sold or not, nobody else gets it."""

    reason: BuyerReason
    status: int | None = None
    elapsed_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """Not one byte of the lead left for this buyer."""

    reason: BuyerReason
    elapsed_ms: float | None = None


PostResult = Accepted | Rejected | Unconfirmed | NotSent
